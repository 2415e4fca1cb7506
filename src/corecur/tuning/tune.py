"""Search: the settings of a recipe that do best on the validation split, found within a number of trials or a time.

The controller reads the data, opens the study and works on it, alone or through workers in processes of their own; what
is kept and who works on what stands in the study's database, so that any of them may be killed at any moment.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from corecur import interruption
from corecur.bundle.write import write_file
from corecur.data.decoding import Progress
from corecur.data.fingerprint import source_hash
from corecur.engine.checkpointing import Interval
from corecur.errors import ConfigError, RunError
from corecur.finding import Finding
from corecur.learners.learner import Learner, name_of
from corecur.learners.outcome import Tell, silence
from corecur.learners.tasks import TASKS, find_task
from corecur.run_folder import check_writable
from corecur.run_lock import RunLock
from corecur.tuning.default_spaces import AIMS, SPACES, UNFIT, Aim
from corecur.tuning.open_study import OpenStudy, Pruner, Sampler, StudyRequest, open_study
from corecur.tuning.search_space import Choice, Space, grid_points, parse_space, read_space
from corecur.tuning.search_worker import work
from corecur.tuning.study_page import write_study
from corecur.tuning.study_storage import make_file, open_storage, reaching, sqlite_url
from corecur.tuning.supervision import Crew, supervise
from corecur.tuning.trial_table import TrialRow, best_of, row_of
from corecur.tuning.tuning_result import TuneResult, conclude

_TRIALS = 20
# Where a source has too few samples to hold some out by default, a search does so all the same: it must choose.
_SHARE = 0.2
# Of the time, for the test and the page.
_KEPT_BACK, _MOST_KEPT_BACK = 0.1, 5.0
# Spaces of no more points than this are gone through rather than drawn from.
_SMALL = 50
Search = Mapping[str, Any] | Sequence[str] | str | Path | None


def tune(
    source: Any,
    labels: Any = None,
    *,
    task: str = "auto",
    search: Search = None,
    trials: int | None = None,
    seconds: float | None = None,
    sampler: Sampler = "tpe",
    pruner: Pruner = "median",
    per_range: int = 5,
    max_parameters: int | None = None,
    max_latency: float | None = None,
    workers: int = 1,
    storage: str | None = None,
    out: str | Path = "runs",
    study: str | None = None,
    validation: Any = None,
    test: Any = None,
    skip_bad: bool = False,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    save_every: str = "30s",
    again: str = "",
    progress: Progress | None = None,
    tell: Tell = silence,
    began: float | None = None,
    **settings: Any,
) -> TuneResult:
    """Search the settings of a recipe on a source; the same call goes on with a search that was stopped or killed.

    ``search`` names what is searched: settings with ranges and choices (``{"learning_rate": "1e-4..1e-2"}``), names
    alone, a YAML or JSON file, or, where it is None, what the recipe's own space has. ``seconds`` is all the time it
    may take, ``max_latency`` seconds for one sample, ``settings`` hold for every trial. Raises ConfigError, DataError
    or RunError before any work where something is wrong, Stopped where SIGINT or SIGTERM ended it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = tune("digits", search={"widths": "4,4x8"}, out=folder, epochs=1, threads=1)
    >>> [row.settings for row in found.rows], found.best.value >= found.default.value
    ([{}, {'widths': [4]}, {'widths': [4, 8]}], True)
    """
    clock = time.perf_counter() if began is None else began
    _check_numbers(trials, seconds, workers, max_parameters, max_latency, per_range)
    _check_names(sampler=sampler, pruner=pruner)
    Interval.parse(save_every)
    kind = TASKS[_task(source, task)].learner
    space = _space(search, kind, settings)
    reader = kind(seed=seed, device=device, precision=precision, threads=threads, **settings)
    check_writable(Path(out), source)
    if storage is not None:
        open_storage(storage).engine.dispose()  # before a look at the data, which may take long
    data, shares, findings = _read(reader, source, labels, validation=validation, test=test, skip_bad=skip_bad,
                                   progress=progress)  # fmt: skip
    for line in (*reader.describe(data), *(f"! {finding}" for finding in (*data.findings, *findings))):
        tell(line)
    place = str(source) if labels is None and isinstance(source, (str, Path)) else None
    if workers > 1 and place is None:
        raise ConfigError("several workers read the source themselves", got="values in Python", do="give a path")
    aim = _aim(kind.task, data)
    request = StudyRequest(
        source=place, task=kind.task, data=source_hash(data), metric=aim.metric, direction=aim.direction, space=space,
        settings=settings, **shares, skip_bad=skip_bad, sampler=_sampler(sampler, space, trials), pruner=pruner,
        per_range=per_range, max_parameters=max_parameters, max_latency=max_latency, seed=seed, device=device,
        precision=precision, threads=threads if threads or workers == 1 else 1, save_every=save_every,
    )  # fmt: skip
    name = _name(study, source, place)
    folder = Path(out).resolve() / name
    url = sqlite_url(folder) if storage is None else storage
    limit = trials or (_TRIALS if seconds is None and request.sampler != "grid" else None)
    with _locked(folder):
        if storage is None:
            make_file(folder)
        with reaching(url), contextlib.closing(open_study(folder, name, url, request)) as book:
            used = SpentTime(folder, since=clock)
            until = None if seconds is None else time.time() + used.left_of(seconds)
            tell(_plan(book, limit, seconds))
            crew = Crew(url, trials=limit, until=until, again=again or "the same call", keep=used.keep)
            _run(book, data, crew, workers, _teller(book, tell))
            result = conclude(book, data, seconds=used.keep(), findings=findings)
        write_study(result)
    return result


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The study's folder, for one controller at a time; nothing is left of it where nothing was begun."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with RunLock(folder):
            yield
    except OSError as error:
        raise RunError(
            "the study's folder cannot be written", where=folder, got=error.strerror or error,
            do="make room, or choose another --out; the same command goes on",
        ) from error  # fmt: skip
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _run(book: OpenStudy, data: Any, crew: Crew, workers: int, said: Any) -> None:
    """Work on the study, here or through processes of their own."""
    interruption.hint(crew.again)
    try:
        if workers > 1:
            supervise(book, crew, workers, said)
        else:
            work(book, data, trials=crew.trials, until=crew.until, again=crew.again, tell=said, each_beat=crew.keep)
    finally:
        crew.keep()


class SpentTime:
    """How long a study has been worked on, over all calls: kept in its folder, so that a kill gives no time back.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first = SpentTime(Path(folder), since=time.perf_counter() - 30)
    ...     _ = first.keep()
    ...     SpentTime(Path(folder), since=time.perf_counter()).left_of(60) < 31
    True
    """

    def __init__(self, folder: Path, *, since: float) -> None:
        self.file = folder / "time.json"
        self.since = since
        self.before = 0.0
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            self.before = float(json.loads(self.file.read_text("utf-8"))["seconds"])

    def keep(self) -> float:
        """Write down the time so far, and say it."""
        spent = self.before + time.perf_counter() - self.since
        write_file(self.file, lambda file: file.write(json.dumps({"seconds": round(spent, 3)}).encode()))
        return spent

    def left_of(self, seconds: float) -> float:
        """What is left for trials of so many seconds in all."""
        spent = self.before + time.perf_counter() - self.since
        return seconds - spent - min(_MOST_KEPT_BACK, _KEPT_BACK * seconds)


def _check_numbers(
    trials: int | None, seconds: float | None, workers: int, parameters: int | None, latency: float | None, points: int
) -> None:
    wanted = {"trials": trials, "seconds": seconds, "workers": workers, "max_parameters": parameters,
              "max_latency": latency}  # fmt: skip
    for name, value in wanted.items():
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ConfigError(f"{name} must be positive", got=value)
    if points < 2:
        raise ConfigError("a range is cut into two points or more", got=points)


def _check_names(*, sampler: str, pruner: str) -> None:
    for what, name, known in (("sampler", sampler, get_args(Sampler)), ("pruner", pruner, get_args(Pruner))):
        if name not in known:
            raise ConfigError(f"unknown {what} {name!r}", expected=f"one of {', '.join(known)}")


def _task(source: Any, task: str) -> str:
    if task == "auto" and not isinstance(source, (str, Path)):
        raise ConfigError("values in Python do not say what they are for", do=f"give task=, one of {', '.join(TASKS)}")
    if task != "auto" and task not in TASKS:
        raise ConfigError(f"unknown task {task!r}", expected=", ".join(["auto", *TASKS]))
    return find_task(str(source)) if task == "auto" else task


def _space(search: Search, kind: type[Learner[Any, Any, Any]], settings: Mapping[str, Any]) -> Space:
    """What is searched; a setting that is given is not, unless somebody asks for both."""
    defaults = SPACES[kind.task]
    if search is None:
        wanted: dict[str, Any] = {name: None for name in defaults if name not in settings}
    elif isinstance(search, (str, Path)):
        wanted = read_space(Path(search))
    elif isinstance(search, Mapping):
        wanted = dict(search)
    else:
        wanted = dict.fromkeys(search)
    for name in wanted:
        if name in kind.reading_model.model_fields:
            raise ConfigError(f"the setting {name!r} cannot be searched: it says how the data are read")
        if name in settings:
            raise ConfigError(f"the setting {name!r} is both given and searched", do="leave one of them away")
    return parse_space(wanted, kind.recipe_model, defaults=defaults, unfit=UNFIT.get(kind.task, ()))


def _sampler(name: Sampler, space: Space, trials: int | None) -> Sampler:
    """A small space of choices is gone through point by point: drawing from it would draw the same again."""
    finite = all(isinstance(kind, Choice) for kind in space.values())
    points = math.prod(len(kind.values) for kind in space.values() if isinstance(kind, Choice))
    return "grid" if finite and points < (trials or _SMALL) else name


def _read(
    reader: Learner[Any, Any, Any], source: Any, labels: Any, *, validation: Any, test: Any, skip_bad: bool,
    progress: Progress | None,
) -> tuple[Any, dict[str, Any], tuple[Finding, ...]]:  # fmt: skip
    """The data with a validation split, how it was made, and what to say of that."""
    more: dict[str, Any] = {"test": test, "skip_bad": skip_bad, "progress": progress}
    data = reader.read(source, labels, validation=validation, **more)
    findings: tuple[Finding, ...] = ()
    if not data.validation and validation is None:
        validation = _SHARE
        data = reader.read(source, labels, validation=validation, **more)
        held = Finding(
            "no validation data",
            f"A search needs validation data: {100 * _SHARE:g} % of the training data are held out.",
            remedy="give validation data of their own, or train with all of them once the settings are found",
            level="note",
        )
        findings = (held,)
    if not data.validation:
        raise ConfigError("a search needs validation data", got=f"validation {validation}", do="give --validation 0.2")
    lasting = {name: value if isinstance(value, (int, float, str, type(None))) else str(value)
               for name, value in (("validation", validation), ("test", test))}  # fmt: skip
    return data, lasting, findings


def _aim(task: str, data: Any) -> Aim:
    """What the validation is to get best in; tags that mark no entities have no F1."""
    from corecur.learners.entities import are_entity_tags

    aim = AIMS[task]
    if aim.instead is None or are_entity_tags(data.classes):
        return aim
    return Aim(aim.instead, aim.direction)


def _name(study: str | None, source: Any, place: str | None) -> str:
    raw = study if study is not None else f"tune-{name_of(str(source)) if place is not None else 'data'}"
    name = re.sub(r"[^\w.-]+", "-", raw).strip("-.")[:80]
    if not name:
        raise ConfigError("this is no name for a study", got=raw, expected="letters and digits")
    return name


def _plan(book: OpenStudy, limit: int | None, seconds: float | None) -> str:
    request = book.request
    many = len(grid_points(request.space, request.per_range)) + 1 if request.sampler == "grid" else limit
    bounds = [f"{min(many, limit or many)} trials" if many else "", f"{seconds:g} s" if seconds else ""]
    there = len(book.trials())
    goes_on = f"; going on with {there} trial{'s' * (there != 1)}" if there else ""
    amount = "; ".join(filter(None, [request.sampler, *bounds]))
    lines = [f"search ({amount}) in {shlex.quote(str(book.folder))}{goes_on}"]
    lines += [f"  {name.replace('_', ' '):<22} {kind}" for name, kind in request.space.items()]
    return "\n".join(lines)


def _teller(book: OpenStudy, tell: Tell) -> Any:
    """Says each trial that has ended, and marks the best so far."""

    def said(row: TrialRow) -> None:
        best = best_of([row_of(trial, book.request) for trial in book.trials()], book.request.sign)
        mark = " · best so far" if best is not None and best.number == row.number else ""
        tell(row.in_words(book.request.metric) + mark)

    return said
