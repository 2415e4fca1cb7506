"""A search space: which settings of a recipe are tried, and which values of each.

Written as people write it: ``1e-4..1e-2`` is a range, ``16,32,64`` are choices, ``32x64,64x128`` choices of a setting
that has several values. The first setting is the one that matters most.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from corecur.errors import ConfigError, nearest
from corecur.learners.settings import checked_settings

# Ends this far apart are searched on a logarithmic scale.
_LOGARITHMIC = 10.0
_MOST_POINTS = 10_000
_DIGITS = 3


class Range(BaseModel):
    """Every number from ``low`` to ``high``, both included; ``log`` gives each power of ten the same room.

    >>> Range(low=1e-4, high=1e-2, log=True).points(3)
    [0.0001, 0.001, 0.01]
    >>> Range(low=1, high=4, whole=True).points(9)
    [1, 2, 3, 4]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float
    high: float
    whole: bool = False
    log: bool = False

    def points(self, count: int) -> list[float]:
        """So many values, evenly spread over the scale; of whole numbers each once."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        steps = [low + (high - low) * place / max(1, count - 1) for place in range(count)]
        values = (self.setting(math.exp(step) if self.log else step) for step in steps)
        return list(dict.fromkeys(values))

    def setting(self, value: float) -> float:
        """A value as a setting: whole, or with three digits, which is how people read and write it."""
        if self.whole:
            return round(value)
        return min(self.high, max(self.low, float(f"{value:.{_DIGITS}g}")))

    def holds(self, value: object) -> bool:
        """Whether a setting lies in the range."""
        return isinstance(value, (int, float)) and not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        low, high = (int(end) if self.whole else end for end in (self.low, self.high))
        return f"{low:g} to {high:g}" + (" (log)" if self.log else "")


class Choice(BaseModel):
    """One of some values.

    >>> Choice(values=((32, 64), (64, 128))).labels
    ('32x64', '64x128')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: tuple[Any, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The values as people write them."""
        return tuple(label_of(value) for value in self.values)

    def setting(self, label: str) -> Any:
        """The value of a label."""
        return self.values[self.labels.index(label)]

    def holds(self, value: object) -> bool:
        """Whether a setting is one of the values."""
        return label_of(value) in self.labels

    def __str__(self) -> str:
        return ", ".join(self.labels)


Space = dict[str, Range | Choice]


def label_of(value: object) -> str:
    """A setting as people write it.

    >>> label_of((32, 64)), label_of(0.5), label_of("lstm")
    ('32x64', '0.5', 'lstm')
    """
    return "x".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def parse_space(
    wanted: Mapping[str, Any], model: type[BaseModel], *, defaults: Mapping[str, str], unfit: Sequence[str] = ()
) -> Space:
    """The space of settings of a recipe; a setting without values gets those of ``defaults``.

    ConfigError for a name the recipe does not have, one of ``unfit`` (which change what is measured), values it does
    not take, ends that are reversed, and for nothing at all.

    >>> class Recipe(BaseModel):
    ...     learning_rate: float = 0.1
    ...     units: int = 8
    >>> space = parse_space({"learning_rate": None, "units": "8,16"}, Recipe, defaults={"learning_rate": "0.01..1"})
    >>> space["learning_rate"].log, space["units"].values
    (True, (8, 16))
    """
    if not wanted:
        raise ConfigError("the search space is empty", expected="settings of the recipe, each with a range or choices")
    space: Space = {}
    for name, values in wanted.items():
        key = str(name).strip().replace("-", "_")
        if key not in model.model_fields:
            guess = nearest(key, model.model_fields)
            raise ConfigError(
                f"the recipe has no setting {name!r}",
                expected=", ".join(model.model_fields),
                do=f"did you mean {guess!r}?" if guess else None,
            )
        if key in unfit:
            raise ConfigError(
                f"the setting {key!r} cannot be searched: it changes what the validation measures",
                do=f"choose it yourself: --{key.replace('_', '-')} VALUE",
            )
        if values is None and key not in defaults:
            raise ConfigError(
                f"there are no usual values for {key!r}",
                expected=f"usual ones are known for {', '.join(defaults)}",
                do=f"say which: {key}=LOW..HIGH, or {key}=A,B,C",
            )
        space[key] = _dimension(key, defaults[key] if values is None else values, model)
    return space


def _dimension(name: str, values: Any, model: type[BaseModel]) -> Range | Choice:
    """A range or choices, from text, a list, a mapping with ``low`` and ``high``, or one value."""
    several = "tuple[" in str(model.model_fields[name].annotation)
    if isinstance(values, (Range, Choice)):
        return values
    if isinstance(values, Mapping):
        if not {"low", "high"} <= values.keys() <= {"low", "high", "log"}:
            raise ConfigError(f"this is no range of {name!r}", got=dict(values), expected="low, high, and log or not")
        return _range(name, values["low"], values["high"], model, log=values.get("log"))
    if isinstance(values, str) and ".." in values:
        low, _, high = values.partition("..")
        return _range(name, low.strip(), high.strip(), model)
    if isinstance(values, str):
        parts = [part.strip() for part in values.split(",")]
        values = [tuple(part.split("x")) for part in parts] if several else parts
    elif not isinstance(values, (list, tuple)):
        values = [values]
    if not values or any(value in ("", ("",)) for value in values):
        raise ConfigError(f"there are no values to search for {name!r}", expected="LOW..HIGH or A,B,C")
    checked = [getattr(checked_settings(model, {name: value}), name) for value in values]
    by_label = {label_of(value): value for value in checked}
    return Choice(values=tuple(by_label.values()))


def _range(name: str, low: Any, high: Any, model: type[BaseModel], *, log: Any = None) -> Range:
    ends = [getattr(checked_settings(model, {name: end}), name) for end in (low, high)]
    if any(isinstance(end, bool) or not isinstance(end, (int, float)) for end in ends):
        raise ConfigError(f"{name!r} is no number, and has no range", got=f"{low}..{high}", do="give choices: A,B,C")
    if ends[0] >= ends[1]:
        what = "reversed" if ends[0] > ends[1] else "the same"
        raise ConfigError(
            f"the ends of {name!r} are {what}", got=f"{low}..{high}", expected="the lower one, .., the higher one"
        )
    if log and ends[0] <= 0:
        raise ConfigError(f"{name!r} has no logarithmic scale from {low}", expected="a low end above 0")
    wide = ends[0] > 0 and ends[1] / ends[0] >= _LOGARITHMIC
    return Range(low=ends[0], high=ends[1], whole=isinstance(ends[0], int), log=wide if log is None else bool(log))


def read_space(path: Path) -> dict[str, Any]:
    """What a small YAML or JSON file says of a space: a mapping of settings to ranges and choices; ConfigError.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "space.yaml")
    ...     _ = file.write_text("learning_rate: 1e-4..1e-2\\nunits: [32, 64]")
    ...     read_space(file)
    {'learning_rate': '1e-4..1e-2', 'units': [32, 64]}
    """
    try:
        import yaml
    except ImportError as error:
        raise ConfigError("a file of settings needs PyYAML", do="pip install 'corecur[tune]'") from error
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError("the search space cannot be read", where=path, got=error.strerror) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError("the search space is no YAML", where=path, got=str(error).splitlines()[0]) from error
    if not found:
        raise ConfigError("the search space is empty", where=path, expected="lines such as learning_rate: 1e-4..1e-2")
    if not isinstance(found, dict):
        raise ConfigError(
            "the search space is no list of settings", where=path, expected="lines such as learning_rate: 1e-4..1e-2"
        )
    return found


def grid_points(space: Space, per_range: int) -> list[dict[str, Any]]:
    """Every combination, the first setting changing fastest; ranges are cut into ``per_range`` points.

    >>> space = {"rate": Range(low=1, high=3), "kind": Choice(values=("a", "b"))}
    >>> [tuple(point.values()) for point in grid_points(space, 2)]
    [(1.0, 'a'), (3.0, 'a'), (1.0, 'b'), (3.0, 'b')]
    """
    columns = {name: list(_values(dimension, per_range)) for name, dimension in space.items()}
    total = math.prod(len(values) for values in columns.values())
    if total > _MOST_POINTS:
        raise ConfigError(
            "the grid has too many points", got=f"{total:,}", expected=f"{_MOST_POINTS:,} at most",
            do="search fewer settings, or with --sampler random",
        )  # fmt: skip
    rows = itertools.product(*reversed(columns.values()))
    return [dict(zip(columns, reversed(row), strict=True)) for row in rows]


def _values(dimension: Range | Choice, per_range: int) -> Iterator[Any]:
    yield from dimension.values if isinstance(dimension, Choice) else dimension.points(per_range)
