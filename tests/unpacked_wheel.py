"""A wheel of this source, built and unpacked in a folder of a test's own, and Python with what is in it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def build_wheel(into: Path, *, build: Path | None = None, **environment: str) -> Path:
    """The wheel; what is compiled is kept in ``build``, a folder beside it where none is given."""
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-build-isolation",
         "--no-deps", f"--config-settings=build-dir={build or into / 'build'}", "--wheel-dir", str(into), str(ROOT)],
        check=True, capture_output=True, text=True, env=os.environ | environment,
    )  # fmt: skip
    (built,) = into.glob("corecur-*.whl")
    return built


def unpacked(built: Path) -> Path:
    """A folder to import the wheel's package from."""
    with zipfile.ZipFile(built) as archive:
        archive.extractall(built.parent / "unpacked")
    return built.parent / "unpacked"


def run_python(package: Path, *words: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Python with this package and all others of this environment; -S: without what makes this source be imported."""
    paths = os.pathsep.join([str(package), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CORECUR_")}
    return subprocess.run(
        [sys.executable, "-S", *words],
        check=False, capture_output=True, text=True, cwd=cwd, env=environment | {"PYTHONPATH": paths} | more,
    )  # fmt: skip
