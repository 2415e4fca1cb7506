"""What a result says about where it was measured: hardware, versions, commit, load."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("corecur", "torch", "numpy", "keras", "jax", "tensorflow", "tensorflow-cpu", "lightning")
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "sve")
_ROOT = Path(__file__).resolve().parents[1]


def describe() -> dict[str, Any]:
    """Everything above, as it is now."""
    processor = _processor()
    flags = set(processor.get("flags", processor.get("Features", "")).split())
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": len(_git("status", "--porcelain", "src").splitlines()),
        "processor": processor.get("model name", platform.processor()),
        "family_model_stepping": " ".join(processor.get(key, "?") for key in ("cpu family", "model", "stepping")),
        "instructions": [name for name in _INSTRUCTIONS if name in flags],
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.release()} {' '.join(platform.libc_ver())}",
        "versions": {"python": platform.python_version()} | _versions(),
        "torch_build": _torch_build(),
        "settings": {
            key: value for key, value in os.environ.items() if key.startswith(("OMP_", "MKL_", "KMP_", "MALLOC_"))
        },
    }


def _processor() -> dict[str, str]:
    """What Linux says of the first core."""
    table = Path("/proc/cpuinfo")
    if not table.exists():
        return {}
    first = table.read_text("utf-8").split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _versions() -> dict[str, str]:
    installed = {str(found.name).lower() for found in metadata.distributions()}
    return {name: metadata.version(name) for name in _PACKAGES if name in installed}


def _torch_build() -> list[str]:
    """The compiler and the libraries of products that torch was built with."""
    script = "import torch; print(torch.__config__.show())"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    wanted = ("GCC", "Clang", "MKL", "OpenMP", "CPU capability", "LAPACK")
    return [line.strip(" -") for line in shown.splitlines() if any(word in line[:40] for word in wanted)]


def _git(*arguments: str) -> str:
    found = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else "unknown"
