"""The run folder: what one training leaves behind, ``runs/<time>-<name>/``.

``config.json`` (what was asked and found), ``metrics.jsonl`` (a line an epoch), ``log.txt``, ``lock`` while it is being
written, and at the end ``bundle/`` and ``report.html``.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from corecur.bundle.layout import MANIFEST
from corecur.engine.callback import Callback, Logs
from corecur.errors import ConfigError, RunError

_CONFIG, _METRICS, _LOG, _LOCK = "config.json", "metrics.jsonl", "log.txt", "lock"


class RunFolder:
    """A new, empty folder that this process writes.

    As a context it gives the folder back at the end. Where the work inside fails, or is stopped, a folder without a
    finished epoch is removed; else the error gets a note on what is left.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent, RunFolder.create(Path(parent), "digits") as run:
    ...     run.write_config({"epochs": 2})
    ...     sorted(p.name for p in run.path.iterdir())
    ['config.json', 'lock', 'log.txt']
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bundle = path / "bundle"
        self.report = path / "report.html"
        self._lock = path / _LOCK
        with _writing(path):
            self._lock.write_text(json.dumps({"pid": os.getpid(), "started": time.time()}), encoding="utf-8")
            self._log = (path / _LOG).open("a", encoding="utf-8", errors="backslashreplace")

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        read_config(path)
        return cls(path)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def config(self) -> dict[str, Any]:
        return read_config(self.path)

    def replace_metrics(self, rows: list[dict[str, float]]) -> None:
        (self.path / _METRICS).unlink(missing_ok=True)
        for row in rows:
            self.log_metrics(row)

    @classmethod
    def create(cls, parent: Path, name: str, config: dict[str, Any] | None = None) -> RunFolder:
        """``parent/<time>-<name>``, with a number behind it where that is taken; RunError if it cannot be made."""
        check_writable(parent)
        stem = time.strftime("%Y%m%d-%H%M%S") + "-" + (re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run")[:60]
        for number in range(1000):
            path = parent / (stem if number == 0 else f"{stem}-{number}")
            try:
                path.mkdir(parents=True)
                run = cls(path)
                if config is not None:
                    run.write_config(config)
                return run
            except FileExistsError:
                continue
            except OSError as error:
                raise _unwritable(path, error) from error
        raise RunError("there are too many runs of this name in one second", where=parent)

    def write_config(self, config: dict[str, Any]) -> None:
        """Write ``config.json``, whole or not at all."""
        temporary = self.path / f".{_CONFIG}"
        with _writing(self.path):
            text = json.dumps(config, ensure_ascii=False, indent=1, default=str) + "\n"
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
            os.replace(temporary, self.path / _CONFIG)

    def log(self, line: str) -> None:
        """Add a line, with the time of day, to ``log.txt``."""
        with _writing(self.path):
            self._log.write(f"{time.strftime('%H:%M:%S')} {line}\n")
            self._log.flush()

    def log_metrics(self, row: Mapping[str, float]) -> None:
        """Add a line to ``metrics.jsonl``; what is no finite number becomes null."""
        values = {name: value if math.isfinite(value) else None for name, value in row.items()}
        with _writing(self.path), (self.path / _METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    @property
    def epochs(self) -> int:
        """How many epochs ``metrics.jsonl`` knows of."""
        path = self.path / _METRICS
        return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0

    def close(self) -> None:
        """Give the folder back."""
        with _writing(self.path):
            self._log.close()
            self._lock.unlink(missing_ok=True)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                error.add_note(f"  left:     {self._left_behind()}")
                with contextlib.suppress(RunError):  # a full disk: the error that is on its way says more
                    self.log(f"ended early: {str(error) or type(error).__name__}".splitlines()[0])
        finally:
            self.close()
            if error is not None and not self.epochs and not self.checkpoints.exists():
                shutil.rmtree(self.path, ignore_errors=True)

    def _left_behind(self) -> str:
        if not self.epochs:
            return "nothing; no epoch was finished"
        names = ", ".join(sorted(p.name for p in self.path.iterdir() if p.name != _LOCK))
        model = "" if self.bundle.exists() else ", no model"
        return f"{self.path}: {names} (epochs finished: {self.epochs}{model})"


class MetricsLog(Callback):
    """Writes each epoch's results as a line of ``metrics.jsonl``."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self._rows: list[dict[str, float]] = []

    def state(self) -> dict[str, Any]:
        return {"rows": self._rows}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._rows = [dict(row) for row in state["rows"]]
        self.run.replace_metrics(self._rows)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        results = {k: v for k, v in (logs or {}).items() if isinstance(v, (int, float))}
        self._rows.append({"epoch": epoch + 1} | results)
        self.run.log_metrics(self._rows[-1])


def read_config(path: Path) -> dict[str, Any]:
    return json.loads((path / _CONFIG).read_text())


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
    if (path / _LOG).exists():
        running = (path / _LOCK).exists()
        raise RunError(
            "there is no model in this run folder",
            where=path,
            got="a run that goes on, or was killed" if running else "a run that was stopped",
            do="wait until it is done, or train again" if running else "train again",
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
