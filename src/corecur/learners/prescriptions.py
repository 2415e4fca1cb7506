"""What a learner offers against what the doctor found, as a command line that is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from shlex import quote
from typing import Any

from corecur.finding import Finding

#: Settings that help against a finding, in the order in which they are tried, each with the value to take from its own.
Change = tuple[str, Callable[[Any], Any]]


def _tenth(value: float) -> float:
    return float(f"{value / 10:.3g}")


def _ten_times(value: float) -> float:
    return float(f"{value * 10:.3g}")


def _half(value: int) -> int:
    return max(1, value // 2)


def _double(value: int) -> int:
    return value * 2


def _at_least(least: float) -> Callable[[float], float]:
    return lambda value: max(least, min(0.9, value + 0.2))


_CLIP: Change = ("clip", lambda value: min(1.0, float(value) / 2))
_SLOWER: Change = ("learning_rate", _tenth)
_FASTER: Change = ("learning_rate", _ten_times)

PRESCRIPTIONS: Mapping[str, tuple[Change, ...]] = {
    "exploding-gradients": (_CLIP, _SLOWER),
    "not-finite": (_CLIP, _SLOWER),
    "learning-rate-too-high": (_SLOWER,),
    "learning-rate-too-low": (_FASTER,),
    "dead-units": (_SLOWER,),
    "saturated": (_SLOWER,),
    "vanishing-gradients": (("bptt_steps", _half), ("depth", _half), ("layers", _half), ("longest", _half),
                            ("shrink", _double), ("lookback", _half)),
    "over-fitting": (("dropout", _at_least(0.5)), ("weight_decay", lambda value: max(1e-3, 10 * value)),
                     ("mixup", lambda value: max(0.2, value))),
    "under-fitting": (("units", _double), ("hidden", _double), ("widths", lambda widths: [2 * w for w in widths]),
                      ("filters", _double)),
    "majority-class": (("epochs", _double),),
    "batch-of-one": (("batch_size", lambda value: max(8, 8 * value)),),
}  # fmt: skip
#: Findings that ``--heal`` mends while the training runs.
HEALED = frozenset({"exploding-gradients", "not-finite", "learning-rate-too-high"})
_OF_THE_DATA: Mapping[str, str] = {
    "shuffled-labels": "look at samples beside their labels: were they put in order, one without the other?",
    "one-class": "look at how SOURCE names its classes; a training needs two or more",
    "constant-input": "look at the samples in the source: they are all the same",
    "unnormalised-input": "leave the scaling to the learner (--show-recipe lists scaling and normalisation)",
    "loader-bound": "let the data lie on a faster disk, or in fewer and smaller files; less augmentation",
}


def prescribed(finding: Finding, recipe: Mapping[str, Any], *, source: str | None, given: Mapping[str, Any]) -> Finding:
    """The finding with the remedy that a learner of this recipe offers; ``given`` are the settings that were asked for.

    >>> found = Finding("learning-rate-too-high", "Too high.", remedy="take a lower learning rate")
    >>> prescribed(found, {"learning_rate": 0.12}, source="digits", given={"epochs": 4}).remedy
    'corecur train digits --epochs 4 --learning-rate 0.012; or let it be healed on the way: --heal'
    """
    if finding.level == "note":
        return finding
    name, value = _change(finding.kind, recipe)
    remedy = _OF_THE_DATA.get(finding.kind, finding.remedy)
    if name:
        remedy = _command(source, {**given, name: value})
        if finding.kind in HEALED:
            remedy += "; or let it be healed on the way: --heal"
    return dataclasses.replace(finding, remedy=remedy)


def _change(kind: str, recipe: Mapping[str, Any]) -> tuple[str, Any]:
    """The first setting of the recipe that helps, with its new value."""
    for name, new in PRESCRIPTIONS.get(kind, ()):
        before = recipe.get(name)
        if isinstance(before, (int, float, list, tuple)) and not isinstance(before, bool) and before != new(before):
            return name, new(before)
    return "", None


def _command(source: str | None, settings: Mapping[str, Any]) -> str:
    shown = {key.replace("_", "-"): ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
             for key, value in settings.items() if value is not None}  # fmt: skip
    words = " ".join(f"--{key} {quote(value)}" for key, value in shown.items())
    return f"corecur train {'SOURCE' if source is None else quote(source)} {words}"
