"""The run folder: what one training leaves behind, ``runs/<time>-<name>/``.

``config.json`` (what was asked and found), ``metrics.jsonl`` (a line an epoch), ``log.txt``, ``checkpoints/``, ``lock``
while it is being written, and at the end ``bundle/`` and ``report.html``.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from corecur.bundle.layout import MANIFEST, Limit
from corecur.bundle.strict_json import parse_json
from corecur.bundle.write import write_file
from corecur.engine.callback import Callback, Logs
from corecur.errors import BundleError, ConfigError, RunError, Stopped
from corecur.run_lock import RunLock, is_running

_CONFIG, _METRICS, _LOG, _BUNDLE, _CHECKPOINTS = "config.json", "metrics.jsonl", "log.txt", "bundle", "checkpoints"
_CONFIG_LIMIT = Limit(1 << 26, 2_000_000)


class RunFolder:
    """A folder that this process alone writes.

    As a context it gives the folder back at the end. Where the work inside fails, a folder without a finished epoch
    or a checkpoint is removed; else the error gets a note on what is left. Neither log nor figures that the disk does
    not take end a training: they are told once, kept, and written as soon as that can be done.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent, RunFolder.create(Path(parent), "digits", {"epochs": 2}) as run:
    ...     sorted(p.name for p in run.path.iterdir())
    ['config.json', 'lock']
    """

    def __init__(self, path: Path, lock: RunLock) -> None:
        self.path = path
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
        stem = time.strftime("%Y%m%d-%H%M%S") + "-" + (re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run")[:60]
        for number in range(1000):
            path = parent / (stem if number == 0 else f"{stem}-{number}")
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as error:
                raise _unwritable(path, error) from error
            run = cls(path, _locked(path))
            if config is not None:
                run.write_config(config)
            return run
        raise RunError("there are too many runs of this name in one second", where=parent)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """A run to go on with; RunError where there is none, or where another process writes it. Makes no folder."""
        read_config(path)
        lock = _locked(path)
        run = cls(path, lock)
        for left in path.glob(".*.????????"):  # of a writer that was killed
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        if lock.stale is not None:
            run.log(lock.stale)
        return run

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
        lost = error is not None and not isinstance(error, Stopped) and not self.epochs and not _holds(self.checkpoints)
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
        found = parse_json(file.read_bytes(), _CONFIG_LIMIT, where=path, name=_CONFIG)
    except OSError as error:
        raise RunError("the run cannot be read", where=file, got=error.strerror) from error
    except BundleError as error:
        raise RunError(f"the run's config.json is damaged: {error.what}", where=file, do="train again") from error
    if not isinstance(found, dict):
        raise RunError("the run's config.json is damaged", where=file, do="train again")
    return found


def _no_run(path: Path) -> RunError:
    runs = sorted(inside.parent for inside in path.glob(f"*/{_CONFIG}")) if path.is_dir() else []
    if runs:
        return RunError(
            "this is a folder of runs", where=path, expected="the folder of one run", do=f"did you mean {runs[-1]}?"
        )
    if (path / MANIFEST).exists():
        got = "a model file"
    elif (path / _LOG).exists():
        got = "a run that was stopped before it began"
    else:
        got = "another folder" if path.is_dir() else "a file" if path.exists() else "no such folder"
    return RunError("there is no run to go on with", where=path, got=got, expected="the folder of a run")


def _read_rows(path: Path) -> list[dict[str, float | None]]:
    """The lines of ``metrics.jsonl``; what is no line of figures is left out."""
    rows: list[dict[str, float | None]] = []
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            rows += [row] if isinstance(row, dict) else []
    return rows


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
            do="wait until it is done" if running else f"go on with it: corecur train --resume {path}",
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
