"""The trials of a study as plain rows: what each was, what came of it, and which of them is best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from corecur.report.charts import percent
from corecur.tuning.open_study import StudyRequest
from corecur.tuning.search_space import label_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class TrialRow:
    """One trial. ``end`` is how it ended: done, pruned, refused or failed; None while it runs or waits.

    ``settings`` are those that differ from the default recipe's choice; trial 0 has none.
    """

    number: int
    end: str | None
    value: float | None
    settings: dict[str, Any]
    parameters: int | None = None
    latency: float | None = None
    seconds: float | None = None
    epochs: int | None = None
    why: str = ""
    run: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The row as JSON values."""
        return asdict(self)

    def in_words(self, metric: str) -> str:
        """The row as a line for people.

        >>> TrialRow(3, "done", 0.9312, {"units": 64}, seconds=4.0).in_words("val_accuracy")
        'trial 3: validation accuracy 93.12 % · units 64 · 4.0 s'
        """
        came = f"{name_of_metric(metric)} {shown(self.value, metric)}" if self.value is not None else str(self.end)
        if self.why:
            came += f" ({self.why})"
        settings = ", ".join(f"{name} {label_of(value)}" for name, value in self.settings.items())
        took = "" if self.seconds is None else f" · {self.seconds:.1f} s"
        return f"trial {self.number}: {came} · {settings or 'the default recipe'}{took}"


def row_of(trial: FrozenTrial, request: StudyRequest) -> TrialRow:
    """A trial of the study as a row."""
    facts = trial.user_attrs
    value = None if trial.values is None or facts.get("end") != "done" else float(trial.values[0])
    return TrialRow(
        trial.number,
        facts.get("end") if trial.state.is_finished() else None,
        value,
        {name: facts.get("settings", {})[name] for name in request.space if name in facts.get("settings", {})},
        **{name: facts.get(name) for name in ("parameters", "latency", "seconds", "epochs", "run")},
        why=facts.get("why", ""),
    )


def best_of(rows: Sequence[TrialRow], sign: float) -> TrialRow | None:
    """The row of the best value; among equals the first, so that the default recipe wins a tie.

    >>> rows = [TrialRow(0, "done", 0.9, {}), TrialRow(1, "done", 0.9, {}), TrialRow(2, "done", 0.8, {})]
    >>> best_of(rows, 1.0).number, best_of(rows, -1.0).number, best_of([], 1.0)
    (0, 2, None)
    """
    done = [row for row in rows if row.value is not None]
    return max(done, key=lambda row: (sign * (row.value or 0.0), -row.number), default=None)


def front_of(rows: Sequence[TrialRow], cost: str, sign: float) -> list[TrialRow]:
    """The rows that no other beats in value at the same or a lower cost (``parameters``, ``latency``), cheapest first.

    >>> rows = [TrialRow(n, "done", v, {}, parameters=p) for n, (v, p) in enumerate([(0.9, 10), (0.8, 20), (0.95, 30)])]
    >>> [row.number for row in front_of(rows, "parameters", 1.0)]
    [0, 2]
    """
    known = [row for row in rows if row.value is not None and getattr(row, cost) is not None]
    known.sort(key=lambda row: (getattr(row, cost), -sign * (row.value or 0.0), row.number))
    front: list[TrialRow] = []
    for row in known:
        if not front or sign * (row.value or 0.0) > sign * (front[-1].value or 0.0):
            front.append(row)
    return front


def shown(value: float | None, metric: str) -> str:
    """A validation value as people write it.

    >>> shown(0.5, "val_accuracy"), shown(0.51234, "val_loss"), shown(None, "val_loss")
    ('50.00 %', '0.5123', '–')
    """
    if value is None:
        return "–"
    return f"{value:.4g}" if metric == "val_loss" else percent(value, 2)


def name_of_metric(metric: str) -> str:
    """What people call a metric.

    >>> name_of_metric("val_f1")
    'validation F1'
    """
    return f"validation {metric.removeprefix('val_').replace('f1', 'F1')}"
