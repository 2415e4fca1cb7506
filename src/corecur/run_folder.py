"""The run folder: what one training leaves behind, ``runs/<time>-<name>/``.

``config.json`` (what was asked and found), ``metrics.jsonl`` (a line an epoch), ``log.txt``, ``checkpoints/``, ``lock``
while it is being written, and at the end ``bundle/`` and ``report.html``.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from types import TracebackType
from typing import Any

from corecur.bundle.layout import CHECKPOINT, MANIFEST
from corecur.bundle.write import write_file
from corecur.engine.callback import Callback, Logs
from corecur.errors import ConfigError, RunError, Stopped, nearest
from corecur.run_lock import RunLock, is_running

_CONFIG, _METRICS, _LOG, _BUNDLE, _CHECKPOINTS = "config.json", "metrics.jsonl", "log.txt", "bundle", "checkpoints"
_MOST_CONFIG_BYTES = 1 << 26
# What a writer that was killed leaves of each: a dot, the name, a dot, and eight characters of its own.
_HALF_WRITTEN = re.compile(r"\.(?:config\.json|metrics\.jsonl|report\.html|bundle)\.\w{8}")
# Of a run's name; with the time before it and a number behind it no file system finds it too long.
_MOST_CHARACTERS, _MOST_BYTES = 60, 200


class RunFolder:
    """A folder that this process alone writes.

    As a context it gives the folder back at the end. Where the work inside fails, a new folder without a finished epoch
    or a checkpoint is removed; else the error gets a note on what is left. Neither log nor figures that the disk does
    not take end a training: they are told once, kept, and written as soon as that can be done.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent, RunFolder.create(Path(parent), "digits", {"epochs": 2}) as run:
    ...     sorted(p.name for p in run.path.iterdir())
    ['config.json', 'lock']
    """

    def __init__(self, path: Path, lock: RunLock, *, is_new: bool) -> None:
        self.path = path
        self.is_new = is_new
        self.bundle = path / _BUNDLE
        self.report = path / "report.html"
        self.checkpoints = path / _CHECKPOINTS
        self._lock = lock
        self._lines: list[str] = []  # of the log, not on the disk yet
        self._rows = _read_rows(path / _METRICS)
        self._is_behind = False  # whether metrics.jsonl lacks rows
        self._told = False

    @classmethod
    def create(cls, parent: Path, name: str, config: Mapping[str, Any] | None = None) -> RunFolder:
        """``parent/<time>-<name>``, with a number behind it where that is taken; RunError if it cannot be made."""
        check_writable(parent)
        stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{_as_stem(name)}"
        for number in range(1000):
            path = parent / (stem if number == 0 else f"{stem}-{number}")
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as error:
                raise _unwritable(path, error) from error
            run = cls(path, _locked(path), is_new=True)
            if config is not None:
                run.write_config(config)
            return run
        raise RunError("there are too many runs of this name in one second", where=parent)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """A run to go on with; RunError where there is none, or where another process writes it. Makes no folder."""
        read_config(path)
        lock = _locked(path)
        run = cls(path, lock, is_new=False)
        run._clean()
        if lock.stale is not None:
            run.log(lock.stale)
        return run

    def _clean(self) -> None:
        """Remove what a writer that was killed left half done."""
        with contextlib.suppress(OSError):  # on a disk that is read-only the error comes where it matters
            for left in self.path.iterdir():
                if not _HALF_WRITTEN.fullmatch(left.name):
                    continue
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink(missing_ok=True)

    @property
    def config(self) -> dict[str, Any]:
        """What stands in ``config.json``."""
        return read_config(self.path)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write ``config.json``, whole or not at all."""
        text = json.dumps(config, ensure_ascii=False, indent=1, default=str) + "\n"
        with _writing(self.path):
            write_file(self.path / _CONFIG, lambda file: file.write(text.encode("utf-8", "backslashreplace")))

    def log(self, line: str) -> None:
        """Add a line, with the time of day, to ``log.txt``."""
        self._lines.append(f"{time.strftime('%H:%M:%S')} {line}\n")
        with self._tolerant():
            with (self.path / _LOG).open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write("".join(self._lines))
            self._lines.clear()

    def log_metrics(self, row: Mapping[str, float]) -> None:
        """Add a line to ``metrics.jsonl``; what is no finite number becomes null."""
        self._rows.append(_finite(row))
        if self._is_behind:
            self.replace_metrics(self._rows)
            return
        self._is_behind = True
        with self._tolerant():
            with (self.path / _METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(self._rows[-1]) + "\n")
            self._is_behind = False

    def replace_metrics(self, rows: Sequence[Mapping[str, float | None]]) -> None:
        """Let ``metrics.jsonl`` hold these lines and no others; a reader sees the old lines or the new ones."""
        self._rows = [_finite(row) for row in rows]
        text = "".join(json.dumps(row) + "\n" for row in self._rows)
        self._is_behind = True
        with self._tolerant():
            write_file(self.path / _METRICS, lambda file: file.write(text.encode()))
            self._is_behind = False

    @property
    def epochs(self) -> int:
        """How many epochs ``metrics.jsonl`` knows of."""
        return len(self._rows)

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
            self._told = False
        except OSError as error:
            if not self.path.is_dir():
                raise RunError("the run folder is gone", where=self.path, do="train again") from error
            if not self._told:
                reason = f"! {self.path}: log and figures cannot be written now ({error.strerror}); the work goes on"
                print(reason, file=sys.stderr)
            self._told = True

    def close(self) -> None:
        """Give the folder back."""
        self._lock.release()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed = error is not None and not isinstance(error, Stopped)
        lost = failed and self.is_new and not self.epochs and not _holds(self.checkpoints)
        try:
            if error is not None:
                with contextlib.suppress(RunError):  # a folder that is gone: the error that is on its way says more
                    self.log(f"ended early: {str(error) or type(error).__name__}".splitlines()[0])
                if not isinstance(error, Stopped):
                    error.add_note(f"  left:     {'nothing; no epoch was finished' if lost else self._left_behind()}")
        finally:
            self.close()
            if lost:
                shutil.rmtree(self.path, ignore_errors=True)

    def _left_behind(self) -> str:
        if not self.path.is_dir():
            return "nothing; the folder is gone"
        names = ", ".join(sorted(p.name for p in self.path.iterdir() if p.name != "lock"))
        model = "" if self.bundle.exists() else ", no model"
        return f"{self.path}: {names} (epochs finished: {self.epochs}{model})"


class MetricsLog(Callback):
    """Writes each epoch's results as a line of ``metrics.jsonl``."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self._rows: list[dict[str, float]] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._rows = []
        self.run.replace_metrics(self._rows)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        results = {k: v for k, v in (logs or {}).items() if isinstance(v, (int, float))}
        self._rows.append({"epoch": epoch + 1} | results)
        self.run.log_metrics(self._rows[-1])

    def state(self) -> dict[str, Any]:
        return {"rows": self._rows}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._rows = [dict(row) for row in state["rows"]]
        self.run.replace_metrics(self._rows)  # without those after the state, which are to come again


def read_config(path: Path) -> dict[str, Any]:
    """What ``config.json`` of a run holds; RunError, saying what is there instead, where that is no run."""
    file = path / _CONFIG
    if not file.is_file():
        raise _no_run(path)
    try:
        # Not the strict reading of model files: a path that is not UTF-8 is half a surrogate pair in here.
        found = json.loads(file.read_bytes()) if file.stat().st_size <= _MOST_CONFIG_BYTES else None
    except OSError as error:
        raise RunError("the run cannot be read", where=file, got=error.strerror) from error
    except (ValueError, RecursionError) as error:
        raise RunError("the run's config.json is damaged", where=file, got=error, do="train again") from error
    if not isinstance(found, dict):
        raise RunError("the run's config.json is damaged", where=file, do="train again")
    return found


def _no_run(path: Path) -> RunError:
    run = _nearby_run(path)
    if path.is_dir() and run is not None and run.parent == path:
        what, got = "this is a folder of runs", None
    else:
        what, got = "there is no run to go on with", _what_is_at(path)
    return RunError(
        what,
        where=path,
        got=got,
        expected="the folder of one run",
        do=None if run is None else f"did you mean {quote(str(run))}?",
    )


def _what_is_at(path: Path) -> str:
    if not path.is_dir():
        return "a file" if path.exists() else "no such folder"
    if (path / MANIFEST).exists():
        return "a model file"
    if (path / CHECKPOINT.manifest).exists():
        return "a checkpoint of a run"
    if (path / _LOG).exists():
        return "a run that was stopped before it began"
    return "another folder" if any(path.iterdir()) else "an empty folder"


def _nearby_run(path: Path) -> Path | None:
    """The run that a wrong path most likely means: one around it, the newest in it, one of nearly this name."""
    around = [*itertools.islice(path.parents, 3), Path("runs") / path.name]
    inside = runs_in(path)[::-1]
    found = next((run for run in (*around, *inside) if (run / _CONFIG).is_file()), None)
    if found is None and not path.exists():
        name = nearest(path.name, [run.name for run in runs_in(path.parent)])
        found = path.parent / name if name is not None else None
    return found


def runs_in(parent: Path) -> list[Path]:
    """The runs in a folder, the newest last.

    >>> runs_in(Path("no such folder"))
    []
    """
    return sorted(inside.parent for inside in parent.glob(f"*/{_CONFIG}")) if parent.is_dir() else []


def _read_rows(path: Path) -> list[dict[str, float | None]]:
    """The lines of ``metrics.jsonl``; what is no line of figures is left out."""
    rows: list[dict[str, float | None]] = []
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            rows += [row] if isinstance(row, dict) else []
    return rows


def _as_stem(name: str) -> str:
    """A name as a part of a folder's name."""
    stem = (re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run")[:_MOST_CHARACTERS]
    return stem.encode()[:_MOST_BYTES].decode(errors="ignore")


def _finite(row: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: value if value is None or math.isfinite(value) else None for name, value in row.items()}


def _holds(checkpoints: Path) -> bool:
    return checkpoints.is_dir() and any(checkpoints.glob("step-*/COMMIT"))


def _locked(path: Path) -> RunLock:
    lock = RunLock(path)
    with _writing(path):
        lock.acquire()
    return lock


def check_writable(parent: Path, source: object = None) -> None:
    """Refuse, before any work, a place for runs that cannot be written or lies in the data; makes nothing.

    >>> check_writable(Path("runs/of/today"))
    """
    if isinstance(source, (str, Path)) and Path(source).is_dir():
        folder = Path(source).resolve()
        if parent.resolve().is_relative_to(folder):
            raise ConfigError(
                "runs would be written into the data, where the next training would take them for a class",
                where=parent,
                do=f"choose another --out, such as {folder.parent / 'runs'}",
            )
    place = parent
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise RunError(
            "runs cannot be written here: there is a file in the way", where=place, do="choose another --out"
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise RunError("runs cannot be written here", where=place, got="no permission", do="choose another --out")


def find_bundle(path: Path) -> Path:
    """The bundle a path stands for: itself, or the one in a run folder; RunError for a folder that has none.

    >>> find_bundle(Path("cats.corecur")).name
    'cats.corecur'
    """
    if not path.is_dir() or (path / MANIFEST).exists():
        return path
    if (path / "bundle").is_dir():
        return path / "bundle"
    if (path / _CONFIG).exists() or (path / _LOG).exists():
        running = is_running(path)
        raise RunError(
            "there is no model in this run folder yet",
            where=path,
            got="a run that goes on" if running else "a run that was stopped or killed",
            do="wait until it is done" if running else f"go on with it: corecur train --resume {quote(str(path))}",
        )
    models = sorted(inside.parent for inside in path.glob("*/bundle") if inside.is_dir())
    raise RunError(
        "there is no model file in this folder",
        where=path,
        got="a folder of runs" if models else None,
        expected="a model file, or the folder of one run",
        do=f"did you mean {models[-1]}?" if models else None,
    )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError("the run folder cannot be written", where=path, got=error.strerror) from error


def _unwritable(path: Path, error: OSError) -> RunError:
    return RunError("the run folder cannot be made", where=path, got=error.strerror, do="choose another --out")
