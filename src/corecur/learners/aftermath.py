"""What comes after a training and changes no weight: calibration, test, simple models beside it, card and report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corecur.engine.callback import Logs
from corecur.engine.callbacks import EarlyStopping
from corecur.learners.fit_result import FitResult
from corecur.learners.outcome import Tell
from corecur.learners.simple_models import Kind, baseline_section, compete
from corecur.report.page import Section

if TYPE_CHECKING:
    from corecur.learners.learner import Learner


def finish(learner: Learner[Any, Any, Any], data: Any, result: FitResult, beside: Kind, tell: Tell) -> None:
    """Fit the calibration on the validation split, test, and set simple models beside the result."""
    result.calibration = learner.calibrate(data)
    if result.calibration is not None:
        tell(result.calibration.sentence())
    result.test = learner.test(data)
    doubts = learner.doubts(data, result.test)
    result.findings += tuple(doubts)
    for finding in doubts:
        tell(f"! {finding}")
    contest = None if result.test is None or beside == "none" else learner.contest(data, result.test)
    if contest is not None:
        result.baselines, left_out = compete(contest, beside, train_seconds=result.train_seconds)
        for note in left_out:
            tell(note)


def all_sections(
    learner: Learner[Any, Any, Any], data: Any, result: FitResult, config: Mapping[str, Any]
) -> list[Section]:
    """The sections of the report, the simple models after the result, and explanations of a few answers."""
    from corecur.learners.explanation_section import with_explanations  # it knows every learner

    sections = [*learner.report(data, result, config)]
    beside = [baseline_section(result.baselines)] if result.baselines else []
    return [*with_explanations([*sections[:1], *beside, *sections[1:]], learner, data, result, config)]


def model_card(learner: Learner[Any, Any, Any], data: Any, result: FitResult, command: str) -> str:
    """``card.md``: what the model is, where it comes from and what it can do."""
    facts = {name: value for name, value in learner.facts(data).items() if isinstance(value, (str, int, float, list))}
    lines = [
        f"# {learner.title.capitalize()}: {Path(data.origin).resolve().name or data.origin}",
        "",
        f"- task: {learner.task}",
        *(f"- {name}: {', '.join(map(str, v)) if isinstance(v, list) else v}" for name, v in facts.items()),
        f"- trained {time.strftime('%Y-%m-%d')}",
        f"- {result.test.sentence()}" if result.test is not None else "- not tested",
        *(f"- {baseline.sentence()}" for baseline in result.baselines),
    ]
    return "\n".join([*lines, f"- command: `{command}`"] if command else lines) + "\n"


def kept_results(history: Sequence[Logs], stopping: EarlyStopping | None) -> Logs:
    """What the validation said of the weights that a training leaves: those of its last epoch, or the best restored.

    >>> kept_results([{"loss": 2.0, "val_loss": 1.0}, {"loss": 1.0, "val_loss": 0.5}], None)
    {'epoch': 2, 'val_loss': 0.5}
    """
    if not history:
        return {}
    restored = stopping is not None and (stopping.stopped_epoch is not None or not stopping.only_when_stopped)
    kept = stopping.best_epoch if stopping is not None and restored and stopping.restore_best_weights else -1
    return {"epoch": (kept if kept >= 0 else len(history) - 1) + 1} | {
        name: value for name, value in history[kept].items() if name.startswith("val_")
    }
