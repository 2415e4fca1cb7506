"""``import``: how long ``import corecur`` takes beside ``import torch`` alone, each in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from bench.contender import Case, Contender


class FreshImport:
    """A new interpreter that imports one module and ends."""

    def __init__(self, module: str) -> None:
        self.module = module

    def prove(self) -> Sequence[float]:
        self.run()  # an import that fails would be fast; this also compiles what has no bytecode yet
        return []

    def run(self) -> int:
        subprocess.run([sys.executable, "-c", f"import {self.module}"], check=True)
        return 1


def cases() -> list[Case]:
    """The one case of this job."""
    contenders = tuple(
        Contender(f"import {module}", "bench.importing:FreshImport", {"module": module})
        for module in ("torch", "corecur")
    )
    return [Case("import", "import in a fresh interpreter", "import", contenders, judged="import corecur", target=1.5)]
