"""What a run changed on its disk, as the injector logged it, and what a loss of power would leave of it."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

_COMMITTED = re.compile(r"/checkpoints/step-(\d+)$")
# Each part of a run by what its paths hold; the first that fits.
_PARTS = (
    ("pruning", ".tmp-old-"), ("save", ".tmp-"), ("pointer", "/.latest."), ("pointer", "/.best."),
    ("save", "/checkpoints"), ("bundle", "/bundle"), ("bundle", "/.bundle."), ("report", "report.html"),
    ("config", "config.json"), ("metrics", "metrics.jsonl"), ("log", "log.txt"), ("lock", "lock"),
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One change: the call that made it, what it changed (and was before, if it moved), and a file's size after it."""

    number: int
    call: str
    path: str
    other: str
    size: int

    @property
    def part(self) -> str:
        """Which part of a run it belongs to."""
        inside = re.sub(r"/\.[\w-]+\.tmp-[0-9a-f]+(?=[/ ])", "/draft", f"{self.path} {self.other} ")
        return next((part for part, word in _PARTS if word in inside), "folder")

    @property
    def commits(self) -> int | None:
        """The step whose checkpoint gets its name by this change."""
        match = _COMMITTED.search(self.path)
        return int(match[1]) if match and self.call in ("rename", "renameat2") else None


def places(changes: list[Change]) -> list[str]:
    """What kind of place each change is made at: the first write of a save's tensors, the second, … of any save."""
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for change in changes:
        seen[change.call, change.path] += 1
        name = re.sub(r"(?<=\.)[a-z0-9_]{8}$", "…", re.sub(r"^step-\d+", "step", Path(change.path).name))
        name = re.sub(r"\.tmp-(old-)?.*", r".tmp-\1", name) if change.part != "folder" else "the run"
        found.append(f"{change.part}: {change.call} {name}, time {seen[change.call, change.path]}")
    return found


def read_changes(log: Path) -> list[Change]:
    """The changes in a log, in their order."""
    rows = (line.split("\t") for line in log.read_text().splitlines()) if log.exists() else ()
    return [Change(int(number), call, path, other, int(size)) for number, call, path, other, size in rows]


class PowerLoss:
    """What is on the disk for certain after some changes: content up to the last fsync, names up to that of the folder.

    A file system may have kept more. What a rename replaced is taken to be gone with it, for it was not kept here.
    """

    def __init__(self, changes: list[Change]) -> None:
        self.synced: dict[str, int] = {}  # a file -> its bytes that are there for certain
        self.pending: list[Change] = []  # names that are not
        for change in changes:
            getattr(self, f"_{change.call}", self._other)(change)

    def _open(self, change: Change) -> None:
        if change.path not in self.synced:
            self.synced[change.path] = 0
            self.pending.append(change)

    _open64 = _open

    def _mkdir(self, change: Change) -> None:
        self.pending.append(change)

    def _fsync(self, change: Change) -> None:
        if change.path in self.synced:
            self.synced[change.path] = change.size
        else:
            self.pending = [made for made in self.pending if str(Path(made.path).parent) != change.path]

    def _rename(self, change: Change) -> None:
        replaces = any(path == change.path or path.startswith(change.path + "/") for path in self.synced)
        self.synced = {_moved(path, change.other, change.path): size for path, size in self.synced.items()}
        moved = [Change(c.number, c.call, _moved(c.path, change.other, change.path), c.other, c.size)
                 for c in self.pending if c.path != change.other]  # fmt: skip
        was_durable = len(moved) == len(self.pending)
        # Its first name was never on the disk: without the second it is gone.
        call = "replaced" if replaces else "rename" if was_durable else "mkdir"
        self.pending = [*moved, Change(change.number, call, change.path, change.other, change.size)]

    def _renameat2(self, change: Change) -> None:
        aside = change.other + " aside"
        for source, target in ((change.other, aside), (change.path, change.other), (aside, change.path)):
            self.synced = {_moved(path, source, target): size for path, size in self.synced.items()}

    def _unlink(self, change: Change) -> None:
        self.synced.pop(change.path, None)
        self.pending = [made for made in self.pending if made.path != change.path]

    _unlinkat = _rmdir = _unlink

    def _other(self, change: Change) -> None:
        """Access rights, and cuts of what was not whole anyway."""

    def strike(self, place: str, copy: Path, *, names: bool) -> int:
        """Take what is not certain from a copy of ``place``; with ``names`` names too. How many things were lost."""
        lost = 0
        for name, size in self.synced.items():
            file = copy / Path(name).relative_to(place)
            if file.is_file() and file.stat().st_size > size:
                with file.open("r+b") as opened:
                    opened.truncate(size)
                lost += 1
        for change in reversed(self.pending if names else []):
            path = copy / Path(change.path).relative_to(place)
            if change.call == "replaced" or not path.exists():
                continue
            lost += 1
            if change.call == "rename":
                path.rename(copy / Path(change.other).relative_to(place))
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        return lost


def _moved(path: str, source: str, target: str) -> str:
    return target + path.removeprefix(source) if path == source or path.startswith(source + "/") else path
