"""The run folder: what one training leaves behind, ``runs/<time>-<name>/``.

``config.json`` (what was asked and found), ``metrics.jsonl`` (a line an epoch), ``log.txt``, ``lock`` while it is being
written, and at the end ``bundle/`` and ``report.html``.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from pathlib import Path
from typing import Any

from corecur.engine.callbacks import Callback, Logs
from corecur.errors import RunError


class RunFolder:
    """A new, empty folder that this process writes.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     run = RunFolder.create(Path(parent), "digits")
    ...     run.write_config({"epochs": 2})
    ...     run.close()
    ...     sorted(p.name for p in run.path.iterdir())
    ['config.json', 'log.txt']
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bundle = path / "bundle"
        self.report = path / "report.html"
        self._lock = path / "lock"
        self._lock.write_text(json.dumps({"pid": os.getpid(), "started": time.time()}), encoding="utf-8")
        self._log = (path / "log.txt").open("a", encoding="utf-8")

    @classmethod
    def create(cls, parent: Path, name: str) -> RunFolder:
        """``parent/<time>-<name>``, with a number behind it where that is taken; RunError if it cannot be made."""
        check_writable(parent)
        stem = time.strftime("%Y%m%d-%H%M%S") + "-" + (re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run")
        for number in range(1000):
            path = parent / (stem if number == 0 else f"{stem}-{number}")
            try:
                path.mkdir(parents=True)
                return cls(path)
            except FileExistsError:
                continue
            except OSError as error:
                raise _unwritable(path, error) from error
        raise RunError("there are too many runs of this name in one second", where=parent)

    def write_config(self, config: dict[str, Any]) -> None:
        """Write ``config.json``, whole or not at all."""
        temporary = self.path / ".config.json"
        temporary.write_text(json.dumps(config, ensure_ascii=False, indent=1, default=str) + "\n", encoding="utf-8")
        os.replace(temporary, self.path / "config.json")

    def log(self, line: str) -> None:
        """Add a line, with the time of day, to ``log.txt``."""
        self._log.write(f"{time.strftime('%H:%M:%S')} {line}\n")
        self._log.flush()

    def close(self) -> None:
        """Give the folder back."""
        self._log.close()
        self._lock.unlink(missing_ok=True)


def check_writable(parent: Path) -> None:
    """Refuse, before any work, a place for runs that cannot be written; makes nothing."""
    place = parent
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise RunError(
            "runs cannot be written here: there is a file in the way", where=place, do="choose another --out"
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise RunError("runs cannot be written here", where=place, got="no permission", do="choose another --out")


def _unwritable(path: Path, error: OSError) -> RunError:
    return RunError("the run folder cannot be made", where=path, got=error.strerror, do="choose another --out")


class MetricsLog(Callback):
    """Writes each epoch's results as a line of ``metrics.jsonl``."""

    def __init__(self, run: RunFolder) -> None:
        self.path = run.path / "metrics.jsonl"

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        numbers = {k: v for k, v in (logs or {}).items() if isinstance(v, (int, float))}
        # JSON has no NaN and no infinity
        row = {"epoch": epoch + 1} | {k: v if math.isfinite(v) else None for k, v in numbers.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
