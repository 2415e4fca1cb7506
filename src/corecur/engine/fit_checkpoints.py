"""The folder of checkpoints that ``Model.fit`` was given, and the state in it to go on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from corecur.engine.checkpoint import CheckpointFolder, SavedState
from corecur.engine.checkpointing import Checkpointing, Interval
from corecur.engine.complain import complain
from corecur.engine.monitor import Monitor
from corecur.errors import ConfigError, RunError
from corecur.run_lock import RunLock


class FitCheckpoints:
    """Checkpoints of one ``fit`` in a folder of the user's.

    ``resume`` is True (go on from the newest checkpoint there, RunError without one), ``"auto"`` (go on if there is
    one), a folder (True, with this folder), or False (begin; RunError where checkpoints are there already).
    """

    def __init__(self, folder: str | Path | None, *, resume: bool | str | Path, save_every: str | int) -> None:
        self.every = Interval.parse(save_every)
        if isinstance(resume, (str, Path)) and resume != "auto":
            if folder is not None and Path(folder).resolve() != Path(resume).resolve():
                raise ConfigError(
                    "a training goes on in the folder that it was kept in",
                    got=f"checkpoints={str(folder)!r}, resume={str(resume)!r}",
                    do="leave one of them out",
                )
            folder, resume = resume, True
        if resume not in (True, False, "auto"):
            raise ConfigError(
                "this says not whether to resume", got=repr(resume), expected='True, False, "auto" or a folder'
            )
        if folder is None:
            raise ConfigError("there is no folder to resume from", do='give fit(…, checkpoints="folder", resume=True)')
        self.folder = CheckpointFolder(Path(folder), tell=complain)
        self.saved = self._find(resume)

    def _find(self, resume: bool | str | Path) -> SavedState | None:
        path, there = self.folder.path, bool(self.folder.steps())
        if resume is False and there:
            raise RunError(
                "there are checkpoints of another training in this folder",
                where=path,
                do='go on with it (resume=True, or "auto"), or choose an empty folder',
            )
        if resume is True and not there:
            raise RunError(
                "there is nothing to resume here",
                where=path,
                got="a folder without a checkpoint" if path.is_dir() else "no such folder",
                do='look at the path, or pass resume="auto" to begin where there is nothing',
            )
        self._make()
        return self.folder.newest() if resume else None

    def _make(self) -> None:
        try:
            self.folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                "the folder of checkpoints cannot be made", where=self.folder.path, got=error.strerror
            ) from error

    def shuffle_seed(self, drawn: int) -> int:
        """The seed of the order of samples: that of the training that goes on, else the one drawn for a new one."""
        found = None if self.saved is None else self.saved.identity.get("shuffle_seed")
        return found if type(found) is int else drawn

    def keeper(self, *, validates: bool, **identity: Any) -> Checkpointing:
        """What keeps the training."""
        saved, self.saved = self.saved, None  # which is large
        return Checkpointing(
            self.folder,
            every=self.every,
            identity=identity,
            monitor=Monitor("val_loss") if validates else None,
            resume=saved,
            lock=RunLock(self.folder.path),
            how_to_resume=f"fit(…, checkpoints={str(self.folder.path)!r}, resume=True)",
            tell=complain,
        )
