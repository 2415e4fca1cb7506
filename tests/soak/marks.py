"""What a training is doing, in a file that outlives it: whoever kills it then knows what was hit."""

from __future__ import annotations

import functools
import mmap
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SIZE = 64
# Where in a training a name of a thing that is being done stands: of the main thread, and of the thread that saves.
_MAIN, _WRITER, _STEP = 0, 24, 48
# What is told more exactly by what happens inside; inside a test there is an evaluation too, and that is no validation.
_OUTER = ("start", "training", "after training")


class Marks:
    """A few bytes of shared memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.write_bytes(b"start".ljust(_SIZE, b"\0"))
        with path.open("r+b") as file:
            self._bytes = mmap.mmap(file.fileno(), _SIZE)

    def _name(self, at: int) -> str:
        return self._bytes[at : at + 24].rstrip(b"\0").decode()

    def _set_name(self, at: int, name: str) -> None:
        self._bytes[at : at + 24] = name.encode().ljust(24, b"\0")

    @property
    def main(self) -> str:
        """What the main thread does."""
        return self._name(_MAIN)

    @property
    def writer(self) -> str:
        """What the thread that saves does; empty while it waits."""
        return self._name(_WRITER)

    @property
    def step(self) -> int:
        """The last step that was taken; 0 before the first one of this process."""
        return int(struct.unpack_from("q", self._bytes, _STEP)[0])

    def reset(self, main: str = "start") -> None:
        """As at the start of a process."""
        self._bytes[:] = main.encode().ljust(_SIZE, b"\0")

    def follow(self) -> None:
        """Mark from now on what this process does."""
        from corecur.engine.checkpoint import CheckpointFolder
        from corecur.engine.trainer import Trainer
        from corecur.learners import learner
        from corecur.learners.tasks import TASKS
        from corecur.run_folder import RunFolder

        self._mark(CheckpointFolder, "write", "save", at=_WRITER)
        self._mark(CheckpointFolder, "prune", "pruning", at=_WRITER)
        self._mark(Trainer, "fit", "training", then="after training")
        self._mark(Trainer, "evaluate", "validation")
        self._mark(learner, "write_page", "report")
        self._mark(RunFolder, "write_config", "result")
        self._mark(RunFolder, "close", "after the end")
        self._mark(learner.Learner, "save", "bundle")
        for row in TASKS.values():
            for method, name in (("read", "reading"), ("test", "test"), ("report", "report")):
                self._mark(row.learner, method, name)
        train_step = Trainer.train_step

        def counted(trainer: Any, batch: Any) -> Any:
            found = train_step(trainer, batch)
            struct.pack_into("q", self._bytes, _STEP, trainer.step)
            return found

        setattr(Trainer, "train_step", counted)  # noqa: B010 - a type checker minds an assignment

    def _mark(self, owner: Any, method: str, name: str, *, at: int = _MAIN, then: str | None = None) -> None:
        original: Callable[..., Any] = getattr(owner, method)

        @functools.wraps(original)
        def around(*args: Any, **kwargs: Any) -> Any:
            before = self._name(at)
            if at == _MAIN and before not in _OUTER:
                return original(*args, **kwargs)
            self._set_name(at, name)
            try:
                return original(*args, **kwargs)
            finally:
                self._set_name(at, before if then is None else then)

        setattr(owner, method, around)
