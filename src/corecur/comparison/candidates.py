"""The models that are compared: opened, named, with their answers to a test."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corecur.bundle.layout import MANIFEST
from corecur.data.decoding import Progress
from corecur.errors import ConfigError, DataError
from corecur.learners.answer_record import AnswerRecord, read_record
from corecur.learners.learner import Learner
from corecur.learners.run_request import RunRequest
from corecur.learners.tasks import load_learner
from corecur.run_folder import ANSWERS, find_bundle, read_config

#: More models on one page are no longer a comparison.
MOST_MODELS = 40
# What two runs may differ in and still be repeats of each other.
_NOT_ASKED = ("seed", "split_seed", "baseline", "threads", "device", "save_every", "deterministic")


@dataclass(frozen=True)
class Candidate:
    """One model: what people call it, its learner, its answers to the test, and what is known of its training."""

    name: str
    path: Path
    bundle: Path
    learner: Learner[Any, Any, Any]
    record: AnswerRecord
    config: Mapping[str, Any]
    run: Path | None = None

    @property
    def parameters(self) -> int:
        """Numbers in its network."""
        return sum(parameter.numel() for parameter in self.learner.network.parameters())

    @property
    def size(self) -> int:
        """Bytes of the model file."""
        if self.bundle.is_file():
            return self.bundle.stat().st_size
        return sum(file.stat().st_size for file in self.bundle.rglob("*") if file.is_file())

    @property
    def train_seconds(self) -> float | None:
        """How long it was trained, where its run says so."""
        result = self.config.get("result")
        seconds = result.get("train_seconds") if isinstance(result, dict) else None
        return float(seconds) if isinstance(seconds, (int, float)) else None

    @property
    def seed(self) -> Any:
        """The seed of its training, where its run says so."""
        return self.config.get("seed")

    @property
    def way(self) -> str | None:
        """What it was trained on and how, but for the seed: equal for repeats of one training; None if not known."""
        request = self.config.get("request")
        if not isinstance(request, dict) or request.get("source") is None:
            return None
        asked = {name: value for name, value in request.items() if name not in _NOT_ASKED}
        known = {name: self.config.get(name) for name in ("task", "recipe", "reading")}
        return json.dumps([asked, known], sort_keys=True, default=str)


def open_candidates(
    paths: Sequence[str | os.PathLike[str]],
    *,
    on: str | None = None,
    names: Sequence[str] = (),
    skip_bad: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> list[Candidate]:
    """The models of runs and bundles; with ``on`` tested on that source, else with what their runs kept of their tests.

    ``names`` are what people call them, by default the ends of their paths; with them there may be any number.

    Raises ConfigError for one model only, the same one twice, models for different tasks, and a model whose test
    nobody kept; RunError and BundleError where one cannot be opened.
    """
    found = [Path(path) for path in paths]
    if not names:
        _check_number(found)
    homes = [home_of(path) for path in found]
    bundles = [find_bundle(path) for path in found]
    learners = [load_learner(bundle, device=device) for bundle in bundles]
    names = names or short_names([run or path for run, path in zip(homes, found, strict=True)])
    _check_tasks(learners, names)
    opened = []
    for name, path, home, bundle, learner in zip(names, found, homes, bundles, learners, strict=True):
        config = {} if home is None else read_config(home)
        record = _kept(home, path) if on is None else learner.examine(on, skip_bad=skip_bad, progress=progress)
        opened.append(Candidate(name, path, bundle, learner, record, config, home))
    return opened


def _check_number(paths: Sequence[Path]) -> None:
    if len(paths) < 2:
        raise ConfigError(
            "a comparison takes two models or more",
            got=f"{len(paths)}" + "".join(f": {path}" for path in paths),
            do="corecur compare RUN RUN, or BUNDLE BUNDLE --on SOURCE; to test one alone: corecur evaluate",
        )
    if len(paths) > MOST_MODELS:
        raise ConfigError("these are too many models for one comparison", got=len(paths), expected=f"{MOST_MODELS}")
    places = Counter(find_bundle(path).resolve() for path in paths)
    twice = next((path for path, count in places.items() if count > 1), None)
    if twice is not None:
        raise ConfigError("the same model is named twice", where=twice, do="name each model once")


def home_of(path: Path) -> Path | None:
    """The run folder a path is, or whose bundle it is; None for a model file alone.

    >>> home_of(Path("cats.corecur")) is None
    True
    """
    if path.is_dir() and (path / "config.json").is_file() and not (path / MANIFEST).exists():
        return path
    above = path.resolve().parent
    return above if path.resolve().name == "bundle" and (above / "config.json").is_file() else None


def _check_tasks(learners: Sequence[Learner[Any, Any, Any]], names: Sequence[str]) -> None:
    tasks = [learner.task for learner in learners]
    if len(set(tasks)) > 1:
        raise ConfigError(
            "models for different tasks cannot be compared",
            got="; ".join(f"{name}: {task}" for name, task in zip(names, tasks, strict=True)),
            do="compare models for one task",
        )


def _kept(run: Path | None, path: Path) -> AnswerRecord:
    if run is None:
        raise ConfigError(
            "this is a model file alone: nothing here says how it did on a test",
            where=path,
            do="name the data to compare on: --on SOURCE, or give the run folder it came from",
        )
    record = read_record(run / ANSWERS)
    if record is None:
        raise ConfigError(
            "this run has kept no answers to a test",
            where=run,
            got="a run without a test split, or of an older version",
            do="name the data to compare on: --on SOURCE",
        )
    return record


def short_names(paths: Sequence[Path]) -> list[str]:
    """What people call each of some paths: as much of its end as tells it from the others.

    >>> short_names([Path("runs/a/bundle"), Path("runs/b/bundle"), Path("cats.corecur")])
    ['a/bundle', 'b/bundle', 'cats.corecur']
    >>> short_names([Path("runs/a")] * 2)
    ['a', 'a']
    """
    parts = [path.resolve().parts for path in paths]
    found = []
    for own in parts:
        depth = 1
        while depth < len(own) and sum(other[-depth:] == own[-depth:] for other in set(parts)) > 1:
            depth += 1
        found.append("/".join(own[-depth:]))
    return found


def tested_part(candidate: Candidate) -> Any:
    """The data a run was tested on, read again as it read them; None where they are not at hand or too many.

    The caller compares their contents with the record: files may have changed since.
    """
    request = candidate.config.get("request")
    if not isinstance(request, dict) or request.get("source") is None:
        return None
    asked = RunRequest.in_config(candidate.config, where=candidate.path)
    kind = type(candidate.learner)
    reader = kind(seed=asked.seed, split_seed=asked.split_seed, **asked.settings)
    try:
        data = reader.read(asked.source, validation=asked.validation, test=asked.test, skip_bad=asked.skip_bad)
    except (DataError, ConfigError):  # moved or changed: then nothing is shown of it
        return None
    return data.test
