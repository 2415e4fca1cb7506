"""The run folder: what one training leaves behind, ``runs/<time>-<name>/``.

``config.json`` (what was asked and found), ``metrics.jsonl`` (a line an epoch), ``doctor.jsonl`` (what the doctor
measured), ``log.txt``, ``checkpoints/``, ``lock`` while it is being written, and at the end ``bundle/``,
``answers.json`` (those to the test) and ``report.html``. All but the three that grow by lines appear whole or not at
all.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from types import TracebackType
from typing import Any

from corecur.bundle.layout import COMMIT, MANIFEST, Limit
from corecur.bundle.strict_json import parse_json
from corecur.bundle.write import sync_folder, write_file
from corecur.engine.callback import Callback, Logs
from corecur.errors import BundleError, ConfigError, RunError, Stopped, nearest
from corecur.run_lock import RunLock, is_running

_CONFIG, _METRICS, _LOG, _BUNDLE, _CHECKPOINTS = "config.json", "metrics.jsonl", "log.txt", "bundle", "checkpoints"
_REPORT, ANSWERS = "report.html", "answers.json"
#: What the doctor of trainings measured, a line each.
DOCTOR = "doctor.jsonl"
_CONFIG_LIMIT = Limit(1 << 26, 2_000_000)
# What a killed writer of one of the files, or of the bundle, leaves: nothing else with a dot is touched.
_LEFT_OVER = re.compile(rf"\.({_CONFIG}|{_METRICS}|{DOCTOR}|{_REPORT}|{_BUNDLE}|{ANSWERS})\.[a-z0-9_]{{8}}|.+\.tmp-.+")
_HALF_PAIR = re.compile("[\ud800-\udfff]")
# Bytes of a name that leave room, within the 255 of most file systems, for a time, a number and a mark.
_MOST_NAME_BYTES = 180


def complain(line: str) -> None:
    """Print on standard error."""
    print(line, file=sys.stderr, flush=True)


class RunFolder:
    """A folder that this process alone writes.

    As a context it gives the folder back at the end. Where the work inside fails, a new folder without a finished epoch
    or a checkpoint is removed; else the error gets a note on what is left. Neither log nor figures that the disk does
    not take end a training: ``tell(line)`` hears of it once, and they are kept and written as soon as that can be done.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent, RunFolder.create(Path(parent), "digits", {"epochs": 2}) as run:
    ...     sorted(p.name for p in run.path.iterdir())
    ['config.json', 'lock', 'log.txt']
    """

    def __init__(
        self, path: Path, lock: RunLock, *, is_new: bool = False, tell: Callable[[str], object] = complain
    ) -> None:
        self.path = path
        self.bundle = path / _BUNDLE
        self.report = path / _REPORT
        self.checkpoints = path / _CHECKPOINTS
        self.tell = tell
        self.epochs = _count_lines(path / _METRICS)
        self._lock = lock
        self._is_new = is_new
        self._log, self._metrics, self._doctor = (_Lines(path / name) for name in (_LOG, _METRICS, DOCTOR))

    @classmethod
    def create(
        cls,
        parent: Path,
        name: str,
        config: Mapping[str, Any] | None = None,
        *,
        tell: Callable[[str], object] = complain,
    ) -> RunFolder:
        """``parent/<time>-<name>``, with a number behind it where that is taken; RunError if it cannot be made.

        The folder appears locked, with its config and log in it.
        """
        check_writable(parent)
        words = re.sub(r"[^\w.-]+", "-", name).strip("-.")[:60].encode()[:_MOST_NAME_BYTES].decode(errors="ignore")
        stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{words or 'run'}"
        draft = parent / f".{stem}.tmp-{secrets.token_hex(4)}"
        lock = RunLock(draft)
        try:
            parent.mkdir(parents=True, exist_ok=True)
            draft.mkdir()
            lock.acquire()
            (draft / _LOG).touch()
            if config is not None:
                _write_json(draft / _CONFIG, config)
            lock.run = path = _moved_to_free_name(draft, parent, stem)
        except BaseException as error:
            lock.release()
            shutil.rmtree(draft, ignore_errors=True)
            if isinstance(error, OSError):
                raise RunError(
                    "the run folder cannot be made", where=parent, got=error.strerror, do="choose another --out"
                ) from error
            raise
        return cls(path, lock, is_new=True, tell=tell)

    @classmethod
    def open(cls, path: Path, *, tell: Callable[[str], object] = complain) -> RunFolder:
        """A run to go on with; RunError where there is none, or where another process writes it. Makes no folder."""
        read_config(path)
        lock = RunLock(path)
        with _writing(path):
            lock.acquire()
        run = cls(path, lock, tell=tell)
        for left in path.iterdir():
            if not _LEFT_OVER.fullmatch(left.name):
                continue
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    left.unlink()
        if lock.stale is not None:
            run.log(f"the run's last writer, {lock.stale}, was killed; its lock is taken over")
        return run

    @property
    def config(self) -> dict[str, Any]:
        """What stands in ``config.json``; RunError where that cannot be read."""
        return read_config(self.path)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write ``config.json``, whole or not at all; RunError where the disk does not take it."""
        with _writing(self.path):
            _write_json(self.path / _CONFIG, config)

    def write_answers(self, record: Mapping[str, Any]) -> None:
        """Write ``answers.json``, what the model answered on the test, whole or not at all."""
        with _writing(self.path):
            _write_json(self.path / ANSWERS, record)

    def log(self, line: str) -> None:
        """Add a line, with the time of day, to ``log.txt``; RunError where the folder is gone."""
        self._log.waiting += _as_bytes(f"{time.strftime('%H:%M:%S')} {line}\n")
        self._write(self._log)

    def log_metrics(self, row: Mapping[str, float | None]) -> None:
        """Add a line to ``metrics.jsonl``; what is no finite number becomes null. RunError where the folder is gone."""
        self.epochs += 1
        self._metrics.waiting += _as_lines([row])
        self._write(self._metrics)

    def replace_metrics(self, rows: Sequence[Mapping[str, float | None]]) -> None:
        """Let ``metrics.jsonl`` hold these lines and no others; a reader sees the old lines or the new ones."""
        self.epochs = len(rows)
        self._metrics.waiting, self._metrics.is_whole = _as_lines(rows), True
        self._write(self._metrics)

    def log_doctor(self, row: Mapping[str, Any]) -> None:
        """Add a line to ``doctor.jsonl``: what the doctor of trainings measured."""
        self._doctor.waiting += _as_lines([row])
        self._write(self._doctor)

    def replace_doctor(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Let ``doctor.jsonl`` hold these lines and no others."""
        self._doctor.waiting, self._doctor.is_whole = _as_lines(rows), True
        self._write(self._doctor)

    def _write(self, lines: _Lines) -> None:
        try:
            lines.write()
            lines.is_behind = False
        except OSError as error:
            if not self.path.is_dir():
                raise RunError("the run folder is gone", where=self.path, do="train again") from error
            if not lines.is_behind:
                self.tell(f"! {lines.path} cannot be written now ({error.strerror}); it is kept, and the work goes on")
            lines.is_behind = True

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """Where the result of a training is written: Stopped in place of RunError, for it can be made again.

        All that it is made from is in the last checkpoint.
        """
        try:
            with _writing(self.path):
                for lines in (self._metrics, self._doctor):  # where it could not be done before
                    lines.write()
            yield
        except RunError as error:
            if not self.path.is_dir():
                raise
            raise Stopped(
                f"the training is over, but {error.what}",
                where=self.path,
                got=getattr(error.__cause__, "strerror", None),
                do=f"mend that, then: corecur train --resume {quote(str(self.path))}",
            ) from error

    def close(self) -> None:
        """Give the folder back, after another try to write what the disk did not take."""
        if self._lock.is_held:
            for lines in (self._metrics, self._doctor, self._log):
                with contextlib.suppress(OSError):
                    lines.write()
            self._lock.release()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._lock.is_held:  # a child made by fork, which has no say here
            return
        kept = isinstance(error, Stopped) or not self._is_new or self.epochs or _has_checkpoint(self.checkpoints)
        try:
            if error is not None:
                with contextlib.suppress(RunError):  # a folder that is gone: the error that is on its way says more
                    self.log(f"ended early: {str(error) or type(error).__name__}".splitlines()[0])
                if not kept:  # while it is locked: nobody shall go on with it meanwhile
                    shutil.rmtree(self.path, ignore_errors=True)
                if not isinstance(error, Stopped):
                    gone = not kept and not self.path.exists()  # a disk may refuse that too
                    error.add_note(f"  left:     {'nothing; no epoch was finished' if gone else self._left_behind()}")
        finally:
            self.close()

    def _left_behind(self) -> str:
        if not self.path.is_dir():
            return "nothing; the folder is gone"
        names = ", ".join(sorted(p.name for p in self.path.iterdir() if p != self._lock.path))
        model = "" if self.bundle.exists() else ", no model"
        return f"{self.path}: {names} (epochs finished: {self.epochs}{model})"


class _Lines:
    """A text file that grows by lines, with those that the disk did not take yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting = b""
        self.is_whole = False  # whether what waits is all that is to stand in the file
        self.is_behind = False

    def write(self) -> None:
        """Write what waits; OSError, and nothing is lost, where that cannot be done."""
        if self.is_whole:
            write_file(self.path, lambda file: file.write(self.waiting))
        elif self.waiting:
            self._append()
        self.waiting, self.is_whole = b"", False

    def _append(self) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            end = _end_of_lines(descriptor)
            os.ftruncate(descriptor, end)  # a part of a line is there where its writer was killed
            rest = memoryview(self.waiting)
            try:
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            except OSError:
                os.ftruncate(descriptor, end)
                raise
        finally:
            os.close(descriptor)


def _end_of_lines(descriptor: int) -> int:
    """Where the last whole line of a file ends."""
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    return os.pread(descriptor, size, 0).rfind(b"\n") + 1


def _count_lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except OSError:
        return 0


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _as_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return _as_bytes("".join(json.dumps(_finite(row)) + "\n" for row in rows))


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    """JSON that a strict reader takes: no NaN, and bytes of a file name that are no text shown as ``\\udcff``."""
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, indent=1, default=str) + "\n"
    content = _HALF_PAIR.sub(lambda half: rf"\\u{ord(half[0]):04x}", text).encode()
    write_file(path, lambda file: file.write(content))


def _finite(value: Any) -> Any:
    """The same with None in place of what is no finite number."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _moved_to_free_name(draft: Path, parent: Path, stem: str) -> Path:
    """Give a folder that is not empty its name, or the next that is free; another one is never replaced."""
    for number in range(1000):
        path = parent / (stem if number == 0 else f"{stem}-{number}")
        if os.path.lexists(path):
            continue
        try:
            draft.rename(path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            continue
        with contextlib.suppress(OSError):  # a folder that may be written, not read
            sync_folder(parent)
        return path
    raise RunError("there are too many runs of this name in one second", where=parent)


def _has_checkpoint(checkpoints: Path) -> bool:
    return any(checkpoints.glob(f"step-*/{COMMIT}"))


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


def read_config(path: Path, *, purpose: str = "go on with") -> dict[str, Any]:
    """What ``config.json`` of a run holds; RunError, saying what is there instead, where that is no run."""
    file = path / _CONFIG
    try:
        if not file.is_file():
            raise _no_run(path, purpose)
        found = parse_json(file.read_bytes(), _CONFIG_LIMIT, where=path, name=_CONFIG)
    except OSError as error:
        raise RunError("the run cannot be read", where=path, got=error.strerror) from error
    except BundleError as error:
        raise RunError(f"the run's config.json is damaged: {error.what}", where=file, do="train again") from error
    if not isinstance(found, dict):
        raise RunError("the run's config.json is damaged", where=file, do="train again")
    return found


def _no_run(path: Path, purpose: str) -> RunError:
    """What stands where a run was looked for, and which run may have been meant."""
    guess: Path | str | None
    around = next((above for above in list(path.absolute().parents)[:3] if _is_run(above)), None)
    runs = _runs_in(path)
    if around is not None:
        got, guess = "a place in a run", around
    elif runs:
        got, guess = "a folder of runs", runs[-1]
    elif path.exists():
        kind = "a model file" if (path / MANIFEST).exists() else "another folder" if path.is_dir() else "a file"
        got, guess = kind, None
    else:
        name = nearest(path.name, [run.name for run in _runs_in(path.parent)])
        likely = ([] if name is None else [path.parent / name]) + [Path("runs") / path.name]
        got, guess = "no such folder", next((run for run in likely if _is_run(run)), None)
    do = None if guess is None else f"did you mean {quote(str(guess))}?"
    return RunError(f"there is no run to {purpose}", where=path, got=got, expected="the folder of one run", do=do)


def _is_run(path: Path) -> bool:
    return (path / _CONFIG).is_file() and (path / _LOG).is_file()


def _runs_in(path: Path) -> list[Path]:
    """The runs in a folder, the newest last: their names begin with a time."""
    found = (inside.parent for inside in path.glob(f"*/{_CONFIG}"))
    return sorted(run for run in found if _is_run(run) and not run.name.startswith("."))


def free_space(path: Path) -> int:
    """Bytes that are free where a path is, or would be made.

    >>> free_space(Path("runs/of/today")) > 0
    True
    """
    return shutil.disk_usage(_existing(path)).free


def _existing(path: Path) -> Path:
    """The path, or the nearest one above it that exists."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


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
    try:
        place = _existing(parent)
    except OSError as error:  # a name that is too long
        raise RunError(
            "runs cannot be written here", where=parent, got=error.strerror, do="choose another --out"
        ) from error
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
    if (path / _BUNDLE).is_symlink():
        raise BundleError("not-a-file", "the model of this run is a link to another place", where=path / _BUNDLE)
    if (path / _BUNDLE).is_dir():
        return path / _BUNDLE
    if (path / _LOG).exists():
        running, begun = is_running(path), (path / _CONFIG).exists()
        again = f"go on with it: corecur train --resume {quote(str(path))}" if begun else "train again"
        raise RunError(
            "there is no model in this run folder yet",
            where=path,
            got="a run that goes on" if running else "a run that was stopped or killed",
            do="wait until it is done" if running else again,
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
        raise RunError(
            "the run folder cannot be written",
            where=path,
            got=error.strerror,
            do="make room, or let it be written, and give the same command again",
        ) from error
