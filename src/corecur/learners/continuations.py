"""What a text generator is asked to go on from, and its answers."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from corecur.data.text.text_files import TextReader
from corecur.errors import DataError


@dataclasses.dataclass(frozen=True)
class Continuation:
    """How a text goes on: the prompt, what was written after it, and what unknown tokens of the prompt were read as.

    >>> Continuation("prompt 1", "RO", "MEO", {}).as_json()["text"]
    'MEO'
    """

    name: str
    prompt: str
    text: str
    replaced: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """The answer as JSON values."""
        return {"name": self.name, "prompt": self.prompt, "text": self.text, "replaced": self.replaced}


def read_prompts(source: Any, reader: TextReader) -> list[tuple[str, str]]:
    """Name and text of each prompt: of a text, a list of texts, or files (``Path``), which hold one on each line.

    ``Path("-")`` is standard input. Raises DataError.

    >>> read_prompts(["ROMEO:", "O"], TextReader())
    [('prompt 1', 'ROMEO:'), ('prompt 2', 'O')]
    """
    if isinstance(source, (str, Path)):
        source = [source]
    if not isinstance(source, (list, tuple)) or not source:
        raise DataError("there is no prompt here", got=repr(source)[:60], expected="a text, or a list of texts")
    found: list[tuple[str, str]] = []
    for number, entry in enumerate(source, 1):
        if isinstance(entry, Path):
            found += _lines_of(entry, reader)
        else:
            found.append((f"prompt {number}", entry))
    return found


def _lines_of(path: Path, reader: TextReader) -> list[tuple[str, str]]:
    text = sys.stdin.read() if str(path) == "-" else reader.read(path) or ""
    return [(f"{path.name}:{number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
