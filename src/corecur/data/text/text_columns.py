"""Which column of a table is the text and which the label: by name, or by what stands in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean

from corecur.data.path_table import PATH_COLUMNS
from corecur.data.pictures import SUFFIXES
from corecur.data.text.chinese_tokenizers import CJK
from corecur.data.text.labelled_lines import has_letters
from corecur.errors import ConfigError, DataError, nearest

TEXT_COLUMNS = (
    "text", "review", "sentence", "content", "comment", "body", "document", "message", "tweet", "utterance",
    "question", "review_text", "reviewtext", "comment_text", "text_a", "description", "headline", "title", "summary",
    "文本", "内容", "评论",
)  # fmt: skip
LABEL_COLUMNS = (
    "label", "class", "category", "sentiment", "target", "y", "labels", "polarity", "intent", "topic", "emotion",
    "rating", "stars", "score", "tag", "type", "标签", "类别", "情感",
)  # fmt: skip
SPLIT_COLUMNS = ("split", "subset", "partition", "fold")
_ROWS_LOOKED_AT = 2000
_WORDS = 3  # a cell of a text column has so many words on average, if no name says what the column is
_CJK = re.compile(f"[{CJK}]")

Columns = Mapping[str, Sequence[str]]


def find_text_column(columns: Columns) -> str | None:
    """The column of texts, or None: one with a known name and letters in it, else the one with the longest texts.

    >>> find_text_column({"id": ["1", "2"], "review": ["fine", "dull"]}), find_text_column({"a": ["1"], "b": ["2"]})
    ('review', None)
    """
    if _holds_paths(columns):
        return None
    folded = {name.strip().casefold(): name for name in columns}
    for known in TEXT_COLUMNS:
        if known in folded and _share_with_letters(columns[folded[known]]) >= 0.5:
            return folded[known]
    sizes = {name: _words(cells) for name, cells in columns.items() if _share_with_letters(cells) >= 0.5}
    longest = max(sizes, key=lambda name: sizes[name], default=None)
    return longest if longest is not None and sizes[longest] >= _WORDS else None


def find_label_column(columns: Columns, *, text_column: str) -> str | None:
    """The column of labels, or None: one with a known name, else the one with the fewest different values (2 or more).

    >>> find_label_column({"id": list("1234"), "kind": list("abab"), "t": list("wxyz")}, text_column="t")
    'kind'
    """
    others = {name: cells for name, cells in columns.items() if name != text_column}
    folded = {name.strip().casefold(): name for name in others}
    for known in LABEL_COLUMNS:
        if known in folded:
            return folded[known]
    distinct = {name: len(set(cells)) for name, cells in others.items() if name.strip().casefold() not in SPLIT_COLUMNS}
    few = {name: n for name, n in distinct.items() if 2 <= n <= max(2, len(others[name]) / 4) and n <= 1000}
    return min(few, key=lambda name: few[name], default=None)


def find_split_column(columns: Columns) -> str | None:
    """The column that says which split a row is of, or None.

    >>> find_split_column({"text": [], "Split": []})
    'Split'
    """
    folded = {name.strip().casefold(): name for name in columns}
    return next((folded[known] for known in SPLIT_COLUMNS[:2] if known in folded), None)


def named_column(columns: Columns, name: str, *, what: str, where: object) -> str:
    """The column that was asked for; ConfigError, with those there are, where there is none of that name.

    >>> named_column({"Text": []}, "text", what="text", where="a.csv")
    'Text'
    """
    if name in columns:
        return name
    folded = {column.strip().casefold(): column for column in columns}
    if name.strip().casefold() in folded:
        return folded[name.strip().casefold()]
    guess = nearest(name, columns)
    raise ConfigError(
        f"there is no column {name!r} for the {what}",
        where=where,
        got="columns " + ", ".join(columns),
        do=f"did you mean {guess!r}?" if guess else None,
    )


def no_column(columns: Columns, *, what: str, where: object) -> DataError:
    """The error for a table of which no column is the text or the label.

    >>> no_column({"a": []}, what="label", where="a.csv").what
    'the table has no label column'
    """
    known = TEXT_COLUMNS if what == "text" else LABEL_COLUMNS
    return DataError(
        f"the table has no {what} column",
        where=where,
        got="columns " + ", ".join(columns),
        expected="one named " + ", ".join(known[:7]) + ", …",
        do=f"name it: {what}_column='…' (--{what}-column)",
    )


def _share_with_letters(cells: Sequence[str]) -> float:
    looked_at = [cell for cell in cells[:_ROWS_LOOKED_AT] if cell and not cell.isspace()]
    return fmean(map(has_letters, looked_at)) if looked_at else 0.0


def _words(cells: Sequence[str]) -> float:
    """Words in a cell on average; Chinese has no spaces, so two of its characters count as a word."""
    looked_at = cells[:_ROWS_LOOKED_AT]
    return fmean(len(cell.split()) + len(_CJK.findall(cell)) / 2 for cell in looked_at) if looked_at else 0.0


def _holds_paths(columns: Columns) -> bool:
    """Whether this is a table of pictures: a column of paths with their suffixes."""
    for name, cells in columns.items():
        suffixes = Counter("." + cell.rpartition(".")[2].casefold() in SUFFIXES for cell in cells[:50])
        if suffixes[True] > suffixes[False] or (name.strip().casefold() in PATH_COLUMNS and suffixes[True]):
            return True
    return False
