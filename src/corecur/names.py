"""The one table type: a name finds its row, a wrong name says which one was meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from corecur.errors import unknown_name

Row = TypeVar("Row")


def fold(name: str) -> str:
    """The form in which names are compared: ``CategoricalCrossentropy`` is ``categorical_crossentropy``.

    >>> fold("Leaky_ReLU") == fold("leaky_relu") == fold("LeakyReLU")
    True
    """
    return name.replace("_", "").replace("-", "").casefold()


class Table(Mapping[str, Row], Generic[Row]):
    """A literal table of one kind of thing, found by any spelling of its name.

    >>> table = Table("loss", {"mean_squared_error": 1}, aliases={"mse": "mean_squared_error"})
    >>> table["MSE"], table["MeanSquaredError"], list(table)
    (1, 1, ['mean_squared_error'])
    """

    def __init__(self, kind: str, rows: Mapping[str, Row], aliases: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self._rows = dict(rows)
        self._spellings = {fold(name): name for name in self._rows}
        self._spellings |= {fold(alias): name for alias, name in (aliases or {}).items()}

    def __getitem__(self, name: str) -> Row:
        if isinstance(name, str) and name in self._rows:  # layers look up their equations in every call
            return self._rows[name]
        key = self._spellings.get(fold(name)) if isinstance(name, str) else None
        if key is None:
            raise unknown_name(self.kind, name, self._rows)
        return self._rows[key]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and fold(name) in self._spellings

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)
