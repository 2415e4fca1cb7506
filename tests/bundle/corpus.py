"""The attack corpus: a table of files, each made by code, with the rule that it breaks.

The ids are those of the specification: A the container, B the JSON, C the weights. E (exported files) has no rows: the
package exports nothing and reads no ONNX.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .corpus_container import CONTAINERS
from .corpus_json import JSONS
from .corpus_weights import WEIGHTS

Door = Literal["file", "network", "build", "task"]


@dataclass(frozen=True)
class Attack:
    """A spoilt file, made in a folder, and who sees it: who opens it, or builds its shapes, its network, its task."""

    id: str
    what: str
    make: Callable[[Path], Path]
    code: str
    door: Door


CORPUS: dict[str, Attack] = {row[0]: Attack(*row) for row in (*CONTAINERS, *JSONS, *WEIGHTS)}
