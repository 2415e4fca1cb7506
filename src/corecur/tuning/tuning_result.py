"""What a search came to: the best trial beside the default recipe, each tested once, and how to train it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corecur.bundle.write import write_file
from corecur.errors import RunError
from corecur.finding import Finding
from corecur.learners.learner import Learner
from corecur.learners.outcome import Listing
from corecur.learners.tasks import TASKS
from corecur.tuning.open_study import OpenStudy, StudyRequest
from corecur.tuning.search_space import Choice
from corecur.tuning.trial_table import TrialRow, best_of, name_of_metric, row_of, shown

_RESULT = "result.json"
_LISTED = 10
# Below so many trials, nothing can be said of what mattered.
_FEW = 8


@dataclass
class TuneResult:
    """A search: its trials, the best of them, and what the test said of it and of the default recipe.

    ``tests`` has a row for each of the two, by the trial's number: the figures, and ``sentence``, the result in words.
    """

    folder: Path
    request: StudyRequest
    rows: list[TrialRow]
    best: TrialRow
    tests: dict[int, dict[str, Any]] = field(default_factory=dict)
    importance: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    findings: tuple[Finding, ...] = ()

    @property
    def default(self) -> TrialRow | None:
        """The trial of the default recipe, where it ran to its end."""
        return next((row for row in self.rows if row.number == 0 and row.value is not None), None)

    @property
    def bundle(self) -> Path | None:
        """The model of the best trial; None where another machine has it."""
        path = None if self.best.run is None else self.folder / self.best.run / "bundle"
        return path if path is not None and path.exists() else None

    @property
    def page(self) -> Path:
        """The search as one HTML page."""
        return self.folder / "study.html"

    @property
    def command(self) -> str:
        """The command that trains with the best settings."""
        return train_command(self.request, self.best.settings)

    def learner(self) -> Learner[Any, Any, Any]:
        """The best trial's model, ready to answer."""
        if self.bundle is None:
            raise RunError("the best model is on the machine that trained it", where=self.folder, do=self.command)
        return TASKS[self.request.task].learner.load(self.bundle, device=self.request.device)

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "task": self.request.task,
            "study": str(self.folder),
            "page": str(self.page),
            "metric": self.request.metric,
            "direction": self.request.direction,
            "best": self.best.as_json(),
            "default": None if self.default is None else self.default.as_json(),
            "bundle": None if self.bundle is None else str(self.bundle),
            "command": self.command,
            "tests": {str(number): outcome for number, outcome in self.tests.items()},
            "importance": self.importance,
            "seconds": round(self.seconds, 3),
            "findings": [found.as_json() for found in self.findings],
            "trials": [row.as_json() for row in self.rows],
        }

    def listing(self) -> Listing:
        """The best trials as a table for people."""
        done = [row for row in self.rows if row.value is not None]
        done.sort(key=lambda row: (-self.request.sign * (row.value or 0.0), row.number))
        chosen = done[:_LISTED] + [row for row in done[_LISTED:] if row.number == 0]
        names = list(self.request.space)
        header = ["trial", name_of_metric(self.request.metric), *(name.replace("_", " ") for name in names)]
        header += ["parameters", "ms", "seconds"]
        rows = [_cells(row, names, self.request.metric) for row in chosen]
        return header, rows, ends_in_words(self.rows)

    def sentences(self) -> list[str]:
        """What was found, in lines for people."""
        best, default = self.best, self.default
        name = name_of_metric(self.request.metric)
        lines = [f"best: trial {best.number}, {name} {shown(best.value, self.request.metric)}"]
        if default is not None:
            lines[0] += f" (the default recipe: {shown(default.value, self.request.metric)})"
        if default is not None and best.number == 0:
            lines[0] = f"nothing did better than the default recipe: {name} {shown(best.value, self.request.metric)}"
        for row, what in ((best, "best"), (default, "default recipe")):
            if row is not None and row.number in self.tests and (what == "best" or best.number):
                lines.append(f"{what}, tested once: {self.tests[row.number]['sentence']}")
        return lines


def _cells(row: TrialRow, names: Sequence[str], metric: str) -> list[str]:
    settings = [str(row.settings.get(name, "·")) for name in names]
    number = str(row.number) + (" (default)" if row.number == 0 else "")
    parameters = "" if row.parameters is None else f"{row.parameters:,}"
    latency = "" if row.latency is None else f"{1e3 * row.latency:.3g}"
    return [number, shown(row.value, metric), *settings, parameters, latency, f"{row.seconds or 0:.1f}"]


def ends_in_words(rows: Sequence[TrialRow]) -> str:
    """How many trials ended how.

    >>> ends_in_words([TrialRow(0, "done", 0.9, {}), TrialRow(1, "pruned", None, {}), TrialRow(2, "done", 0.8, {})])
    '3 trials: 2 done, 1 pruned'
    """
    counts: dict[str, int] = {}
    for row in rows:
        end = row.end or "unfinished"
        counts[end] = counts.get(end, 0) + 1
    parts = ", ".join(f"{count} {end}" for end, count in counts.items())
    return f"{len(rows)} trial{'s' * (len(rows) != 1)}: {parts}"


def train_command(request: StudyRequest, settings: dict[str, Any]) -> str:
    """The command that trains a source with these settings as the search did."""
    words = ["corecur", "train", request.source or "SOURCE", "--task", request.task]
    for name, value in (request.settings | settings).items():
        text = ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
        words += [f"--{name.replace('_', '-')}", text]
    for name in ("validation", "test"):
        if getattr(request, name) is not None:
            words += [f"--{name}", str(getattr(request, name))]
    words += ["--seed", str(request.seed)] if request.seed else []
    words += ["--threads", str(request.threads)] if request.threads else []
    words += ["--skip-bad"] if request.skip_bad else []
    return shlex.join(words)


def conclude(book: OpenStudy, data: Any, *, seconds: float, findings: Sequence[Finding] = ()) -> TuneResult:
    """The result of a study; the best trial and the default are tested if they were not yet. RunError where none ended.

    The model that is tested is the one the trial left: what was chosen by the validation, and nothing trained again.
    """
    request = book.request
    rows = [row_of(trial, request) for trial in book.trials()]
    best = best_of(rows, request.sign)
    if best is None:
        raise RunError(
            "no trial ran to its end",
            where=book.folder,
            got=ends_in_words(rows) + "".join(f"; trial {row.number}: {row.why}" for row in rows[-1:] if row.why),
            do=_what_to_do(rows),
        )
    result = TuneResult(book.folder, request, rows, best, seconds=seconds, findings=tuple(findings))
    kept = _kept_tests(book.folder)
    wanted = dict.fromkeys([best.number, *([] if result.default is None else [0])])
    for number in wanted:
        row = rows[number]
        tested = kept.get(number) or _test(book, row, data)
        if tested is not None:
            result.tests[number] = tested
    result.importance = _importance(book, rows)
    text = json.dumps(result.as_json(), ensure_ascii=False, indent=1)
    write_file(book.folder / _RESULT, lambda file: file.write(text.encode("utf-8", "backslashreplace")))
    return result


def _what_to_do(rows: Sequence[TrialRow]) -> str:
    ends = {row.end for row in rows}
    if ends == {"refused"}:
        return "search smaller networks, or allow more with --max-parameters and --max-latency"
    if None in ends or not rows:
        return "the time is too short for one trial: give more --time, which goes on from here, or fewer --epochs"
    return "look at the reasons in study.html or --json, and search elsewhere"


def _kept_tests(folder: Path) -> dict[int, dict[str, Any]]:
    try:
        found = json.loads((folder / _RESULT).read_text("utf-8"))["tests"]
    except (OSError, ValueError, KeyError):
        return {}
    return {int(number): outcome for number, outcome in found.items()}


def _test(book: OpenStudy, row: TrialRow, data: Any) -> dict[str, Any] | None:
    path = None if row.run is None else book.folder / row.run / "bundle"
    if path is None or not path.exists():
        return None
    request = book.request
    learner = TASKS[request.task].learner.load(path, device=request.device, precision=request.precision)
    outcome = learner.test(data)
    return None if outcome is None else {**outcome.as_json(), "sentence": outcome.sentence()}


def _importance(book: OpenStudy, rows: Sequence[TrialRow]) -> dict[str, float]:
    """How much each setting explained, the most important first; nothing where there is too little to tell from."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    done = [row for row in rows if row.value is not None]
    varied = len(done) >= _FEW and len({row.value for row in done}) > 1
    tried = [name for name, kind in book.request.space.items() if not isinstance(kind, Choice) or len(kind.values) > 1]
    if not varied or len(tried) < 2:
        return {}
    found = get_param_importances(book.study, evaluator=FanovaImportanceEvaluator(seed=0), params=tried)
    return {name: round(float(share), 4) for name, share in found.items()}
