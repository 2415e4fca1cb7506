"""Texts to answer for, and the answers: a label with its probability, and which words it was read from.

N texts, K classes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from corecur.data.text.open_texts import load_unlabelled
from corecur.data.text.text_files import AUTO, decode_text
from corecur.errors import DataError
from corecur.learners.evaluation import Prediction
from corecur.learners.outcome import Listing
from corecur.report.charts import percent
from corecur.report.svg import shorten

_LONGEST_SHOWN = 60  # characters of a text in a table for people
STANDARD_INPUT = "-"


@dataclass(frozen=True)
class TextAnswer(Prediction):
    """The answer to one text, with its tokens as the network was shown them and the weight of each in the reading."""

    text: str = ""
    tokens: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The answer as JSON values; ``tokens`` are pairs of a token and its weight, the weights of sum 1."""
        return {
            "name": self.name,
            "text": self.text,
            "label": self.label,
            "probability": self.probability,
            "probabilities": self.probabilities,
            "tokens": [
                [token, round(weight, 5)] for token, weight in zip(self.tokens, self.weights, strict=True)
            ],
        }  # fmt: skip


def text_answers(
    names: Sequence[str],
    texts: Sequence[str],
    tokens: Sequence[Sequence[str]],
    probabilities: Tensor,
    weights: Sequence[Sequence[float]],
    classes: Sequence[str],
) -> list[TextAnswer]:
    """The answers for probabilities (N, K), the most probable labels first in each.

    >>> import torch
    >>> (answer,) = text_answers(["a"], ["so good"], [["so", "good"]], torch.tensor([[0.2, 0.8]]), [[0.1, 0.9]], "-+")
    >>> answer.label, answer.as_json()["tokens"]
    ('+', [['so', 0.1], ['good', 0.9]])
    """
    answers = []
    for name, text, words, row, shares in zip(names, texts, tokens, probabilities.tolist(), weights, strict=True):
        ranked = sorted(zip(classes, row, strict=True), key=lambda pair: -pair[1])
        label, probability = ranked[0]
        answers.append(TextAnswer(name, label, probability, dict(ranked), text, tuple(words), tuple(shares)))
    return answers


def texts_to_answer(
    source: Any, *, text_column: str | None = None, encoding: str = AUTO, skip_bad: bool = False
) -> tuple[list[str], list[str]]:
    """Names and texts: of a str, of several, or of paths.

    A path is a text file (one text), a table (a text a row), a folder of text files, or ``Path("-")``: standard input,
    where each line that is not blank is a text. Raises DataError for what is none of these and where there is no text.

    >>> texts_to_answer(["so good", ""])
    (['text 0', 'text 1'], ['so good', ''])
    """
    entries = [source] if isinstance(source, (str, os.PathLike)) else source
    if not isinstance(entries, (list, tuple)):
        names, texts = _values(source, text_column)
    else:
        names, texts = [], []
        for number, entry in enumerate(entries):
            found = (
                _read(Path(entry), text_column, encoding, skip_bad)
                if isinstance(entry, os.PathLike)
                else ([f"text {number}"], [_checked(entry, number)])
            )
            names += found[0]
            texts += found[1]
    if not texts:
        raise DataError("there is no text to answer for", got=repr(source)[:60], do="give a text, a file or a folder")
    return names, texts


def _values(source: Any, text_column: str | None) -> tuple[list[str], list[str]]:
    """The texts of a data frame, an array or any other sequence of Python values."""
    if not hasattr(source, "__iter__"):
        raise DataError("this is no text", got=type(source).__name__, expected="a str, a Path, or a list of them")
    part, _ = load_unlabelled(source, text_column=text_column, keep_empty=True)
    return list(part.names), list(part.texts)


def _checked(entry: Any, number: int) -> str:
    if not isinstance(entry, str):
        raise DataError("this is no text", where=f"text {number}", got=type(entry).__name__, expected="a str or a Path")
    return entry


def _read(path: Path, text_column: str | None, encoding: str, skip_bad: bool) -> tuple[list[str], list[str]]:
    if str(path) == STANDARD_INPUT:
        whole, _ = decode_text(sys.stdin.buffer.read(), encoding=encoding, where="standard input")
        lines = [(number, line) for number, line in enumerate(whole.split("\n"), 1) if line.strip()]
        return [f"line {number}" for number, _ in lines], [line for _, line in lines]
    part, _ = load_unlabelled(path, text_column=text_column, encoding=encoding, skip_bad=skip_bad, keep_empty=True)
    return list(part.names), list(part.texts)


def answers_listing(answers: Sequence[TextAnswer], *, top: int) -> Listing:
    """A table of the answers for people, each with the beginning of its text.

    >>> answers_listing([TextAnswer("a", "+", 0.75, {"+": 0.75, "-": 0.25}, "so good")], top=2)[1]
    [('so good', '+', '75.0 %', '- 25.0 %')]
    """
    rows = []
    for answer in answers:
        then = ", ".join(f"{label} {percent(share)}" for label, share in list(answer.probabilities.items())[1:top])
        shown = shorten(answer.text[: 4 * _LONGEST_SHOWN], _LONGEST_SHOWN)
        rows.append((shown, answer.label, percent(answer.probability), then)[: 3 + (top > 1)])
    return ("text", "label", "probability", "then")[: 3 + (top > 1)], rows, ""
