"""Texts and labels that come as Python values: lists, pairs of lists, a table of columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corecur.data.text.text_columns import find_label_column, find_text_column, named_column, no_column
from corecur.data.text.text_parts import GatheredTexts, TextPart
from corecur.data.text.text_tables import cell_text
from corecur.errors import DataError


def gather_values(
    source: Any,
    labels: Any = None,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    labelled: bool = True,
) -> GatheredTexts:
    """Texts with labels; (texts, labels); ((train texts, labels), (test texts, labels)); a mapping of columns or a
    data frame. Raises DataError for what is no text, and where texts and labels differ in number.

    >>> gather_values(["good", "bad"], [1, 0]).parts["train"].labels
    ['1', '0']
    """
    if labels is None and _is_pair(source) and all(_is_pair(pair) for pair in source):
        pairs = zip(("train", "test"), source, strict=True)
        return GatheredTexts("python", {split: text_part(*pair, split=split) for split, pair in pairs})
    if labels is None and _is_pair(source):
        return GatheredTexts("python", {"train": text_part(*source)})
    columns = _columns(source)
    if columns is None:
        if labels is None and labelled:
            raise DataError(
                "the texts have no labels",
                got=type(source).__name__,
                do="pass texts and labels: (texts, labels), or a path",
            )
        return GatheredTexts("python", {"train": text_part(source, labels)})
    where = type(source).__name__
    text = named_column(columns, text_column, what="text", where=where) if text_column else find_text_column(columns)
    if text is None:
        raise no_column(columns, what="text", where=where)
    label = named_column(columns, label_column, what="label", where=where) if label_column else None
    if label is None and labels is None and labelled:
        label = find_label_column(columns, text_column=text)
        if label is None:
            raise no_column(columns, what="label", where=where)
    part = text_part(columns[text], columns[label] if label is not None else labels)
    return GatheredTexts("python", {"train": part})


def text_part(texts: Any, labels: Any = None, *, split: str = "train") -> TextPart:
    """Checked texts and labels as one split.

    >>> text_part(["good", 3])
    Traceback (most recent call last):
        ...
    corecur.errors.DataError: this is no text
      where:    train[1]
      got:      int
      expected: a str
    """
    kept = [texts] if isinstance(texts, str) else list(texts)
    wrong = next((place for place, text in enumerate(kept) if not isinstance(text, str)), None)
    if wrong is not None:
        raise DataError("this is no text", where=f"{split}[{wrong}]", got=type(kept[wrong]).__name__, expected="a str")
    names = [f"{split}[{place}]" for place in range(len(kept))]
    if labels is None:
        return TextPart(kept, None, names)
    values = [cell_text(_plain(label)) for label in labels]
    if len(values) != len(kept):
        raise DataError(
            "texts and labels differ in number",
            where=split,
            got=f"{len(kept):,} texts, {len(values):,} labels",
            expected="a label for every text",
        )
    return TextPart(list(map(str, kept)), values, names)


def _plain(value: Any) -> Any:
    """A Python value of a NumPy or torch scalar."""
    return value.item() if hasattr(value, "item") else value


def _is_pair(value: Any) -> bool:
    """Whether this is (texts, labels): two sequences, and not two texts."""
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and not any(isinstance(part, (str, Mapping)) for part in value)
        and all(hasattr(part, "__len__") and hasattr(part, "__iter__") for part in value)
    )


def _columns(source: Any) -> dict[str, Sequence[str]] | None:
    """The columns of a mapping or of anything with ``columns`` and ``[name]``, as text; None for other things."""
    names = list(source) if isinstance(source, Mapping) else getattr(source, "columns", None)
    if names is None or isinstance(source, str):
        return None
    columns = {str(name): [cell_text(_plain(value)) for value in source[name]] for name in names}
    if len({len(cells) for cells in columns.values()}) > 1:
        got = ", ".join(f"{name} {len(cells)}" for name, cells in columns.items())
        raise DataError("the columns have different lengths", got=got)
    return dict(columns)
