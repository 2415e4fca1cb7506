"""Where the data for the long jobs is, and the command as a program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
# Far above any budget: a job that hangs must end.
TIMEOUT = 900


@pytest.fixture(scope="session")
def data() -> Callable[[str], Path]:
    """The folder of a data set: ``data("mnist")``, under ``$CORECUR_DATA`` or beside the project; skips without it."""
    root = Path(os.environ.get("CORECUR_DATA") or BESIDE)

    def find(name: str) -> Path:
        if not (root / name).is_dir():
            reason = f"needs the data set {name} in {root}, or in the folder that CORECUR_DATA names"
            if os.environ.get("CORECUR_REQUIRE_DATA"):
                pytest.fail(reason)
            pytest.skip(reason)
        return root / name

    return find


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., str]:
    """Runs ``corecur`` as a program in a folder of its own and returns its standard output."""

    def run(*words: object) -> str:
        line = [sys.executable, "-m", "corecur", *map(str, words)]
        result = subprocess.run(
            line, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=False, timeout=TIMEOUT
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


@pytest.fixture
def answer(program: Callable[..., str]) -> Callable[..., Any]:
    """The same with ``--json``: the value it prints."""
    return lambda *words: json.loads(program(*words, "--json"))
