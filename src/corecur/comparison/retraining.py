"""The runs of a comparison trained again: with other seeds on the same splits, or on the folds of their training data.

Each training is a run in a folder of its own; one that is complete is not trained again, one that was stopped or killed
goes on from its checkpoint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corecur import interruption, runtime
from corecur.comparison.candidates import home_of, short_names
from corecur.comparison.fold_splits import FoldSplit, folds_of, pool_of
from corecur.data.decoding import Progress
from corecur.data.fingerprint import source_hash
from corecur.engine.callback import Callback, Logs
from corecur.errors import ConfigError, Stopped
from corecur.learners.learner import Learner
from corecur.learners.outcome import Tell, silence
from corecur.learners.run_request import RunRequest, recipe_in
from corecur.learners.tasks import TASKS
from corecur.run_folder import RunFolder, check_writable, read_config

#: So many trainings of each run, or folds, and no more.
MOST_TIMES = 100
# Of a request, what says nothing about what a training comes to.
_BESIDE = ("seed", "split_seed", "save_every", "device", "baseline", "source", "threads")


@dataclass(frozen=True)
class Way:
    """A run whose recipe is trained again: its name, what its folder says, and what it was asked for."""

    name: str
    path: Path
    config: dict[str, Any]
    request: RunRequest
    task: str

    @property
    def split_seed(self) -> int:
        """What draws its splits."""
        return self.request.seed if self.request.split_seed is None else self.request.split_seed

    def learner(self, *, seed: int, split_seed: int, device: str) -> Learner[Any, Any, Any]:
        """A learner with its settings and another seed."""
        asked = self.request
        return TASKS[self.task].learner(
            seed=seed, split_seed=split_seed, device=asked.device if device == "auto" else device,
            precision=asked.precision, threads=asked.threads, **asked.settings,
        )  # fmt: skip


@dataclass(frozen=True)
class Retrained:
    """The runs of one way to train, in the order of their ``labels``; of folds also their mean ``ratio`` of sizes.

    ``pool`` is what the folds were cut from.
    """

    way: Way
    runs: tuple[Path, ...]
    labels: tuple[str, ...]
    ratio: float | None = None
    pool: Any = None


@dataclass(frozen=True)
class Trainings:
    """How and where the trainings are run, and who hears of them; ``again`` is the call that goes on with them.

    ``needs_test`` says that their own test splits are what they are compared on.
    """

    out: Path
    needs_test: bool = True
    device: str = "auto"
    again: str = "the same call"
    progress: Progress | None = None
    tell: Tell = silence
    verbose: bool = False


def open_ways(paths: Sequence[Path]) -> list[Way]:
    """The runs that are to be trained again; ConfigError or RunError where one cannot be."""
    if len(paths) < 2:
        raise ConfigError("a comparison takes two runs or more", got=f"{len(paths)}", do="corecur compare RUN RUN")
    homes = [home_of(path) for path in paths]
    names = short_names([home or path for home, path in zip(homes, paths, strict=True)])
    found = []
    for name, path, home in zip(names, paths, homes, strict=True):
        if home is None:
            raise ConfigError(
                "this is a model file alone: it keeps no recipe and no source to train again with", where=path,
                do="give the run folder it came from, or compare without --seeds and --folds",
            )  # fmt: skip
        found.append(_way(name, home))
    if len({way.task for way in found}) > 1:
        tasks = "; ".join(f"{way.name}: {way.task}" for way in found)
        raise ConfigError("runs for different tasks cannot be compared", got=tasks, do="compare runs for one task")
    keys = [_key(way) for way in found]
    for place, key in enumerate(keys):
        if key in keys[:place]:
            one, two = found[keys.index(key)].name, found[place].name
            raise ConfigError(
                "these runs differ in nothing but their seed: trained again they are the same", got=f"{one}; {two}",
                do="give one of them, and a run with another recipe",
            )  # fmt: skip
    return found


def _way(name: str, home: Path) -> Way:
    config = read_config(home)
    request, task = RunRequest.in_config(config, where=home), config.get("task")
    if not isinstance(task, str) or task not in TASKS:
        raise ConfigError("this run is for a task that is not known here", where=home, got=repr(task))
    recipe_in(config, task=task, where=home)
    if request.source is None:
        raise ConfigError(
            "the data of this run were given as values in Python, or are a fold: they are not on disk", where=home,
            expected="a run on a source that can be read again",
            do="train on files, or compare the runs as they are, without --seeds and --folds",
        )  # fmt: skip
    return Way(name, home, config, request, task)


def _key(way: Way, *more: object) -> str:
    """What decides about a training but its seed and machine, in 8 digits."""
    asked = {name: value for name, value in way.request.model_dump(mode="json").items() if name not in _BESIDE}
    known = [asked, *(way.config.get(name) for name in ("task", "recipe", "reading")), *more, way.request.source]
    return hashlib.blake2b(json.dumps(known, sort_keys=True, default=str).encode(), digest_size=4).hexdigest()


def with_seeds(ways: Sequence[Way], count: int, trainings: Trainings) -> list[Retrained]:
    """Each way trained with ``count`` seeds, the same for all, on the splits of its run.

    The seeds are the smallest that none of the runs had: a run may be what it is for its seed.
    """
    seeds, found = _fresh_seeds(ways, count), []
    for way in ways:
        check_writable(trainings.out, way.request.source)
        result = way.config.get("result")
        if trainings.needs_test and isinstance(result, dict) and result.get("test") is None:
            raise _untested(way)
    for place, way in enumerate(ways):
        reader = way.learner(seed=seeds[0], split_seed=way.split_seed, device=trainings.device)
        given = {"validation": way.request.validation, "test": way.request.test}
        _use(way)
        data = reader.read(way.request.source, skip_bad=way.request.skip_bad, progress=trainings.progress, **given)
        if trainings.needs_test and not data.test and way.task != "text-generation":
            raise _untested(way)
        folder = trainings.out / f"{way.path.name}-{_key(way, way.split_seed, source_hash(data, data.test))}"
        runs = []
        for number, seed in enumerate(seeds):
            learner = way.learner(seed=seed, split_seed=way.split_seed, device=trainings.device)
            changed = {"seed": seed, "split_seed": way.split_seed, "baseline": "none"}
            said = f"[{place * count + number + 1} of {len(ways) * count}] {way.name}, seed {seed}"
            job = _Job(way, learner, folder / f"seed-{seed}", changed, given, said)
            runs.append(_trained(job, data, trainings))
        found.append(Retrained(way, tuple(runs), tuple(f"seed {seed}" for seed in seeds)))
    return found


def _untested(way: Way) -> ConfigError:
    return ConfigError(
        "this run has no test split: nothing says how well its trainings do", where=way.path,
        do="name the data to compare on: --on SOURCE, or compare with --folds",
    )  # fmt: skip


def with_folds(ways: Sequence[Way], count: int, trainings: Trainings) -> list[Retrained]:
    """Each way trained on all folds but one, for each of ``count``; the folds are the same for all.

    A training has a seed of its own for each fold, so that what the seeds do is in the differences. The splits are
    those of the first run.
    """
    _check_one_source(ways)
    seeds, found = _fresh_seeds(ways, count), []
    split_seed = ways[0].split_seed
    for way in ways:
        check_writable(trainings.out, way.request.source)
    for place, way in enumerate(ways):
        _use(way)
        reader = way.learner(seed=seeds[0], split_seed=split_seed, device=trainings.device)
        pool = pool_of(reader, way.request, progress=trainings.progress)
        horizon = int(way.config["recipe"].get("horizon", 1))
        key = _key(way, split_seed, source_hash(pool, pool.test))
        folder, runs, ratios = trainings.out / f"{way.path.name}-{key}", [], []
        for number, fold in enumerate(folds_of(reader, pool, count, request=way.request, horizon=horizon)):
            learner = way.learner(seed=seeds[number], split_seed=split_seed, device=trainings.device)
            changed = {"seed": seeds[number], "split_seed": split_seed, "baseline": "none", "source": None}
            said = f"[{place * count + number + 1} of {len(ways) * count}] {way.name}, fold {number + 1}"
            place_ = folder / f"fold-{number + 1}-of-{count}-seed-{seeds[number]}"
            job = _Job(way, learner, place_, changed, _no_more_splits(fold), said)
            runs.append(_trained(job, fold.data, trainings))
            ratios.append(fold.ratio)
        labels = tuple(f"fold {number + 1}" for number in range(count))
        found.append(Retrained(way, tuple(runs), labels, sum(ratios) / count, None if place else pool))
    return found


def _no_more_splits(fold: FoldSplit) -> dict[str, Any]:
    """What ``fit`` is told, so that it draws no split from the fold's data."""
    is_table = isinstance(fold.data.test, tuple)
    return {"validation": None if is_table or fold.data.validation else 0, "test": None}


def _fresh_seeds(ways: Sequence[Way], count: int) -> list[int]:
    if not 2 <= count <= MOST_TIMES:
        raise ConfigError("a spread takes two trainings or more", got=count, expected=f"2 to {MOST_TIMES}")
    used = {way.request.seed for way in ways}
    return [seed for seed in range(count + len(used)) if seed not in used][:count]


def _check_one_source(ways: Sequence[Way]) -> None:
    first = ways[0].request
    for way in ways[1:]:
        for what in ("source", "test"):
            one, other = getattr(first, what), getattr(way.request, what)
            if one != other:
                raise ConfigError(
                    f"these runs differ in their {what}: they have no folds in common",
                    got=f"{ways[0].name}: {one}; {way.name}: {other}",
                    do="train them on the same data, or compare with --seeds",
                )


def _use(way: Way) -> None:
    if way.request.deterministic:
        runtime.use_determinism()


@dataclass(frozen=True)
class _Job:
    """One training: with what, where, what of the request is another than the run's, and what ``fit`` is given."""

    way: Way
    learner: Learner[Any, Any, Any]
    folder: Path
    changed: dict[str, Any]
    given: dict[str, Any]
    said: str

    def config(self) -> dict[str, Any]:
        """What the run's folder says before its training."""
        known = {name: self.way.config.get(name) for name in ("task", "source", "recipe", "reading")}
        request = self.way.request.model_copy(update=self.changed).model_dump(mode="json")
        return {"command": "", "request": request, "seed": self.learner.seed, **known}


class _Beginning(Callback):
    """Says what to do after a stop: by itself a training would name the run of this moment."""

    def __init__(self, again: str) -> None:
        self.again = again

    def on_train_begin(self, logs: Logs | None = None) -> None:
        interruption.hint(self.again)


def _trained(job: _Job, data: Any, trainings: Trainings) -> Path:
    """The run of a job, trained now unless it is complete."""
    run = _run_in(job.folder)
    if run is not None and "result" in read_config(run):
        trainings.tell(f"{job.said}: trained before")
        return run
    if run is None:
        with RunFolder.create(job.folder, job.folder.name, job.config()) as made:
            run = made.path
    asked = job.way.request
    trainings.tell(f"{job.said}: training")
    try:
        with interruption.polite():
            if interruption.wanted():
                raise Stopped("stopped on request")
            result = job.learner.fit(
                data, **job.given, seconds=asked.seconds, heal=asked.heal, skip_bad=asked.skip_bad,
                save_every=asked.save_every, baseline="none", resume=run, verbose=trainings.verbose,
                callbacks=[_Beginning(trainings.again)],
            )  # fmt: skip
    except Stopped as stopped:
        if stopped.what.startswith("stopped on request"):
            raise Stopped(
                "the comparison was stopped on request", where=job.folder, do=f"go on with: {trainings.again}"
            ) from stopped
        raise
    trainings.tell(f"{job.said}: {result.test.sentence()}" if result.test is not None else f"{job.said}: done")
    return run


def _run_in(folder: Path) -> Path | None:
    found = sorted(path.parent for path in folder.glob("*/config.json") if not path.parent.name.startswith("."))
    return found[-1] if found else None


def members_in(found: Sequence[Retrained]) -> Iterator[tuple[str, Path]]:
    """The name and the run of every training."""
    for one in found:
        for label, run in zip(one.labels, one.runs, strict=True):
            yield f"{one.way.name}, {label}", run
