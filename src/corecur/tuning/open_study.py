"""A study: what is searched and how, kept in its folder and its database, so that the same command goes on with it."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from corecur.bundle.write import write_file
from corecur.errors import ConfigError, RunError
from corecur.learners.learner import Learner
from corecur.learners.tasks import TASKS
from corecur.tuning.default_spaces import Aim
from corecur.tuning.leases import Leases
from corecur.tuning.search_space import Choice, Range
from corecur.tuning.study_storage import hidden, open_storage

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

Sampler = Literal["tpe", "random", "grid"]
Pruner = Literal["median", "halving", "hyperband", "none"]
_REQUEST = "study.json"
# What may differ from call to call: it changes how fast a study is worked on, not what it finds.
_FREE = {"threads", "save_every"}
# Trials whose validations stand before one is compared with them.
_COMPARED_WITH = 4
_TRIES, _PAUSE = 3, 1.0


class StudyRequest(BaseModel):
    """What a search was asked for; ``data`` is a hash over what was read, ``settings`` hold for every trial."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str | None
    task: str
    data: str
    metric: str
    direction: Literal["maximize", "minimize"]
    space: dict[str, Range | Choice]
    settings: dict[str, Any]
    validation: str | float | None = None
    test: str | float | None = None
    skip_bad: bool = False
    sampler: Sampler = "tpe"
    pruner: Pruner = "median"
    per_range: int = 5
    max_parameters: int | None = None
    max_latency: float | None = None
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    save_every: str = "30s"

    @property
    def aim(self) -> Aim:
        """What the validation is to get best in."""
        return Aim(self.metric, self.direction)

    @property
    def sign(self) -> float:
        """1 where more is better, -1 where less is."""
        return 1.0 if self.direction == "maximize" else -1.0

    def learner(self, more: dict[str, Any]) -> Learner[Any, Any, Any]:
        """A learner of this task with the settings that all trials share, and these."""
        return TASKS[self.task].learner(
            seed=self.seed, device=self.device, precision=self.precision, threads=self.threads,
            **self.settings | more,
        )  # fmt: skip

    def differences(self, other: StudyRequest) -> list[str]:
        """The names of what two requests differ in, so that they are not of one study.

        >>> some = {"task": "t", "data": "1", "metric": "val_loss", "direction": "minimize", "settings": {}}
        >>> one = StudyRequest(source="digits", space={"a": Range(low=1, high=2)}, **some)
        >>> one.differences(one), one.differences(one.model_copy(update={"source": "waves", "threads": 2}))
        ([], ['source'])
        """
        mine, theirs = self.model_dump(mode="json"), other.model_dump(mode="json")
        return [name for name in mine if name not in _FREE and mine[name] != theirs[name]]


@dataclass
class OpenStudy:
    """A study as one process has it open."""

    folder: Path
    request: StudyRequest
    storage: BaseStorage
    study: Study
    leases: Leases
    id: int

    def trials(self) -> list[FrozenTrial]:
        """All trials there are, in the order of their numbers."""
        return sorted(self.storage.get_all_trials(self.id, deepcopy=False), key=lambda trial: trial.number)

    def note(self, trial_id: int, **facts: Any) -> None:
        """Keep facts about a trial with it."""
        for name, value in facts.items():
            self.storage.set_trial_user_attr(trial_id, name, value)

    def close(self) -> None:
        """Give the database's connections back."""
        self.storage.remove_session()
        self.leases.engine.dispose()

    def folder_of(self, number: int) -> Path:
        """The folder that holds the run of a trial."""
        return self.folder / "trials" / f"{number:04d}"


def open_study(folder: Path, name: str, url: str, request: StudyRequest) -> OpenStudy:
    """The study of a name, made where there is none yet; ConfigError where it is of another search."""
    import optuna

    database = open_storage(url)
    storage = optuna.storages.get_storage(database)  # the one that the study itself asks
    study = _made(storage, name, request)
    book = OpenStudy(
        folder, request, storage, study, Leases(database.engine), storage.get_study_id_from_name(name)
    )  # fmt: skip
    with contextlib.ExitStack() as on_error:
        on_error.callback(book.close)
        kept = study.user_attrs.get("request")
        if kept is None:
            study.set_user_attr("request", request.model_dump(mode="json", exclude=_FREE))
        else:
            _check_same(request, kept, where=f"{name} in {hidden(url)}")
        text = json.dumps({"name": name, "request": request.model_dump(mode="json")}, indent=1)
        write_file(folder / _REQUEST, lambda file: file.write(text.encode()))
        on_error.pop_all()
    return book


def _made(storage: BaseStorage, name: str, request: StudyRequest) -> Study:
    """The study in the database; a database that is busy with what a killed process left gets a moment."""
    import optuna

    for left in reversed(range(_TRIES)):
        try:
            return optuna.create_study(
                storage=storage, study_name=name, direction=request.direction, load_if_exists=True,
                pruner=pruner_of(request),
            )  # fmt: skip
        except optuna.exceptions.StorageInternalError:
            if not left:
                raise
            time.sleep(_PAUSE)
    raise RunError("the study cannot be made", where=name)


def join_study(folder: Path, url: str) -> OpenStudy:
    """The study of a folder, as a worker opens it."""
    import optuna

    try:
        kept = json.loads((folder / _REQUEST).read_text("utf-8"))
        request, name = StudyRequest.model_validate(kept["request"]), str(kept["name"])
    except (OSError, ValueError, KeyError) as error:
        raise RunError("there is no study to work on", where=folder, got=error) from error
    database = open_storage(url)
    storage = optuna.storages.get_storage(database)
    study = optuna.load_study(storage=storage, study_name=name, pruner=pruner_of(request))
    return OpenStudy(
        folder, request, storage, study, Leases(database.engine), storage.get_study_id_from_name(name)
    )  # fmt: skip


def _check_same(request: StudyRequest, kept: Any, *, where: str) -> None:
    try:
        before = StudyRequest.model_validate(kept)
    except ValidationError as error:
        raise RunError("this study was made by another program", where=where) from error
    names = request.differences(before)
    if names:
        now, then = (what.model_dump(mode="json") for what in (request, before))
        raise ConfigError(
            "this study is of another search",
            where=where,
            got="; ".join(f"{name}: {_short(now[name])}" for name in names),
            expected="; ".join(f"{name}: {_short(then[name])}" for name in names),
            do="give the same command again to go on with it, or another name: --study NAME",
        )


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 200 else text[:197] + "…"


def pruner_of(request: StudyRequest) -> BasePruner:
    """What ends a trial early: worse than the median at the same epoch, or out of the best third of its rung."""
    from optuna import pruners

    made: dict[str, BasePruner] = {
        "median": pruners.MedianPruner(n_startup_trials=_COMPARED_WITH),
        "halving": pruners.SuccessiveHalvingPruner(),
        "hyperband": pruners.HyperbandPruner(),
        "none": pruners.NopPruner(),
    }
    return made[request.pruner]
