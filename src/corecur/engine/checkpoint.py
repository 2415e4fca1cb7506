"""The checkpoints of a run on disk: each appears whole or not at all, and an old one goes when a newer one is safe.

``step-N`` folders, each with its ``COMMIT`` written last; ``latest`` and ``best`` are small files with the name of one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corecur.bundle.layout import CHECKPOINT, STATE, TENSORS
from corecur.bundle.open import open_checkpoint
from corecur.bundle.tensor_file import tensor_content
from corecur.bundle.write import as_json, exchanged, sync_folder, write_file, write_members
from corecur.engine.packing import pack, unpack
from corecur.engine.training_state import TrainingState
from corecur.errors import BundleError, RunError

_STEP = re.compile(r"step-(0|[1-9]\d{0,17})")
_LATEST, _BEST = "latest", "best"
# So many of the newest are kept, and the best beside them.
_KEPT = 2


@dataclass(frozen=True)
class SavedState:
    """A state as it stands in a checkpoint, with what is known of the training it is from."""

    state: TrainingState
    identity: Mapping[str, Any]
    environment: Mapping[str, Any]
    step: int


class CheckpointFolder:
    """The checkpoints of one training; ``tell(line)`` hears of what is damaged and passed over.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as path:
    ...     CheckpointFolder(Path(path)).steps()
    []
    """

    def __init__(self, path: Path, *, tell: Callable[[str], object] = lambda line: None) -> None:
        self.path = path
        self.tell = tell

    def steps(self) -> list[int]:
        """The steps of all complete checkpoints, in order."""
        if not self.path.is_dir():
            return []
        try:
            found = [(_STEP.fullmatch(entry.name), entry) for entry in self.path.iterdir()]
        except OSError as error:
            raise RunError("the checkpoints cannot be read", where=self.path, got=error.strerror) from error
        # A link would lead into another run.
        whole = (match for match, at in found if match and (at / CHECKPOINT.manifest).is_file() and not at.is_symlink())
        return sorted(int(match[1]) for match in whole)

    def folder(self, step: int) -> Path:
        """Where the checkpoint of a step is."""
        return self.path / f"step-{step}"

    def write(
        self, state: TrainingState, *, identity: Mapping[str, Any], environment: Mapping[str, Any], best: bool = False
    ) -> int:
        """Write a state, read what was written, name it, and remove what is no longer needed; its size in bytes.

        OSError where the disk does not take it: what was there before is untouched. RunError where a weight is not
        finite: no such state is ever kept.
        """
        lost = state.not_finite()
        if lost is not None:
            raise RunError(f"{lost} holds NaN or infinity", where=self.path)
        packed, tensors = pack(state.values)
        content = as_json({"identity": dict(identity), "environment": dict(environment), "state": packed})
        size = len(content) + sum(tensor.nbytes for tensor in tensors.values())
        self.make()
        self.check_space(size)
        target = self.folder(state.step)
        temporary = self.path / f"{target.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            temporary.mkdir()
            write_members(temporary, CHECKPOINT, {STATE: content, TENSORS: tensor_content(tensors)})
            _read(temporary, state.step)
            if not target.exists():
                os.replace(temporary, target)
            elif not exchanged(temporary, target):  # what was there is damaged, or from before a set-back
                self._remove(target)
                os.replace(temporary, target)
            sync_folder(self.path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._point(_LATEST, f"step-{self.steps()[-1]}")
        if best:
            self._point(_BEST, target.name)
        self.prune(state.step)
        return size

    def make(self) -> None:
        """Make the folder where there is none; OSError where that cannot be done."""
        if not self.path.is_dir():
            self.path.mkdir()
            sync_folder(self.path.parent)  # else a loss of power takes the folder, and all checkpoints with it

    def check_space(self, size: int) -> None:
        """OSError where the disk has no room for so many bytes."""
        if shutil.disk_usage(self.path).free < size * 1.05:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def _point(self, name: str, target: str) -> None:
        write_file(self.path / name, lambda file: file.write(target.encode() + b"\n"))

    def best(self) -> int | None:
        """The step of the best checkpoint, as ``best`` names it; None where there is none."""
        try:
            match = _STEP.fullmatch((self.path / _BEST).read_bytes()[:64].decode("ascii", "replace").strip())
        except OSError:
            return None
        return int(match[1]) if match and int(match[1]) in self.steps() else None

    def read(self, step: int) -> SavedState:
        """The checkpoint of a step; BundleError, naming the rule that is broken, where it is damaged."""
        return _read(self.folder(step), step)

    def newest(self, *, skip: int = 0) -> SavedState | None:
        """The newest checkpoint that is whole, after ``skip`` others where there are so many; None where there is none.

        BundleError where there are some, but all are damaged: a training then must not silently begin anew.
        """
        found, refused = None, None
        for step in reversed(self.steps()):
            try:
                found = self.read(step)
            except BundleError as error:
                refused = error
                self.tell(f"! checkpoint step-{step} is passed over: {error.what}")
                continue
            if skip == 0:
                break
            skip -= 1
        if found is None and refused is not None:
            raise BundleError(
                refused.code,
                "there are checkpoints, but none that can be used",
                where=self.path,
                do="look at what is said of each; to begin anew, choose another folder",
            ) from refused
        return found

    def forget_after(self, step: int) -> None:
        """Remove all checkpoints after a step: a training that was set back takes another way."""
        for later in self.steps():
            if later > step:
                self._remove(self.folder(later))

    def prune(self, newest: int) -> None:
        """Remove all before ``newest`` but the last ones and the best; what stands behind it was passed over."""
        steps = [step for step in self.steps() if step <= newest]
        kept = {*steps[-_KEPT:], self.best()}
        for step in steps:
            if step not in kept:
                self._remove(self.folder(step))

    def clean(self) -> None:
        """Remove what a killed writer left half done."""
        if self.path.is_dir():
            for entry in self.path.iterdir():
                if ".tmp-" in entry.name and entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
                elif entry.name.startswith((f".{_LATEST}.", f".{_BEST}.")):
                    entry.unlink(missing_ok=True)

    def _remove(self, folder: Path) -> None:
        """Take a checkpoint away in one step, whenever the process is killed."""
        going = folder.with_name(f"{folder.name}.tmp-old-{secrets.token_hex(4)}")
        with contextlib.suppress(OSError):
            os.replace(folder, going)
            shutil.rmtree(going, ignore_errors=True)


def _read(path: Path, step: int) -> SavedState:
    opened = open_checkpoint(path)
    content = opened.state
    if not isinstance(content, dict) or set(content) != {"identity", "environment", "state"}:
        raise BundleError("bad-state", "state.json is of no known form", where=path)
    try:
        state = TrainingState(_as_dict(unpack(content["state"], opened.tensors(opened.tensor_table))))
    except BundleError as error:
        error.add_note(f"  file:     {path}")
        raise
    if state.step != step:
        raise BundleError("bad-state", f"the checkpoint is of step {state.step}, not {step}", where=path)
    return SavedState(state, _as_dict(content["identity"]), _as_dict(content["environment"]), step)


def _as_dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BundleError("bad-state", "the checkpoint's content is of no known form")
    return value
