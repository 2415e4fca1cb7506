"""A kill after every change of a file, power that fails, disks that refuse: the old state or the new, never neither.

``CORECUR_STRIDE=4`` takes every fourth change.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corecur.bundle.open import open_untrusted
from corecur.engine.checkpoint import CheckpointFolder
from corecur.run_folder import read_config
from tests.soak.disk_changes import Change, PowerLoss, places, read_changes
from tests.soak.kills import Hit, Run, Server, undisturbed
from tests.soak.marks import Marks

pytestmark = pytest.mark.soak

STRIDE = int(os.environ.get("CORECUR_STRIDE", "1"))
# Five steps, saved before the first, after the second and fourth, and at the end.
ARGUMENTS = ("digits", "--epochs", "1", "--widths", "4", "--batch-size", "256")
SAVE_EVERY = "2"
QUIET: dict[str, Any] = {"NO_CHARTS": 1, "EVERY_SAVE": 1}
PARTS = {"folder", "lock", "config", "log", "metrics", "save", "pointer", "pruning", "bundle", "report"}


def at_a_change(pid: int, marks: Marks) -> None:
    """The injector kills, not the test."""


def changed(server: Server, run: Run, **faults: Any) -> tuple[int | Hit, list[Change]]:
    """Begin or go on under the injector; how it ended, and the changes it made."""
    log = run.beside("changes")
    log.unlink(missing_ok=True)
    run.out.mkdir(exist_ok=True)
    faults = {"FAULT_UNDER": run.out, "FAULT_LOG": log, **faults}
    ended = run.attempt(server, at_a_change, save_every=SAVE_EVERY, **faults)
    return ended, read_changes(log)


def is_there(run: Run) -> None:
    """The model of a run, at any moment, once there is one."""
    assert run.folder is not None
    open_untrusted(run.folder / "bundle")


def check_state(run: Run, changes: list[Change]) -> None:
    """What stands on the disk is whole: the newest checkpoint is the last that got its name, and two are there."""
    folder = run.folder
    committed = [change.commits for change in changes if change.commits is not None]
    if folder is None:
        assert not committed
        return
    read_config(folder)
    checkpoints = CheckpointFolder(folder / "checkpoints")
    newest = checkpoints.newest()
    if committed:
        assert newest is not None and newest.step == committed[-1]
    whole = [checkpoints.read(step) for step in checkpoints.steps()]
    assert len(whole) >= min(2, len(set(committed)))
    assert run.steps == checkpoints.steps()
    if (folder / "bundle").exists():
        is_there(run)
    if (folder / "report.html").exists():
        assert (folder / "report.html").read_text().rstrip().endswith("</html>")


class Sweep:
    """Kills after the first, second, … change of a process, until it makes no more; each run then goes on."""

    def __init__(self, server: Server, folder: Path, prepare: Callable[[Path], Run], end: dict[str, str]) -> None:
        self.server, self.folder, self.prepare, self.end = server, folder, prepare, end
        self.covered: Counter[str] = Counter()
        self.torn = 0
        self.last = 0

    def run(self, after: Callable[[Run, list[Change]], None]) -> None:
        """All of it; ``after(run, changes)`` looks at what each kill left, before the run goes on."""
        for number in itertools.count(1, STRIDE):
            change = self._one(after, FAULT_KILL=number)
            if change is None:
                return
            self.last = number
            if change.call == "write":
                self._one(after, FAULT_KILL=number, FAULT_TORN=1)
                self.torn += 1

    def _one(self, after: Callable[[Run, list[Change]], None], **faults: Any) -> Change | None:
        run = self.prepare(self.folder / "out")
        ended, changes = changed(self.server, run, **faults)
        if isinstance(ended, Hit):
            assert changes[-1].number == faults["FAULT_KILL"]
            self.covered[places(changes)[-1]] += 1
            check_state(run, changes)
            after(run, changes)
            run.finish(self.server)
        else:
            assert ended == 0
        assert run.end() == self.end, f"after {changes[-1]}"
        run.remove()
        return changes[-1] if isinstance(ended, Hit) else None

    def report(self, name: str, changes: list[Change]) -> None:
        """The figures; a change of an undisturbed process that no kill came after is an error."""
        parts: Counter[str] = Counter()
        for place, hits in self.covered.items():
            parts[place.partition(":")[0]] += hits
        kinds = f"{len({*places(changes)} & {*self.covered})} of {len({*places(changes)})} kinds of places"
        kills = f"{self.covered.total()} kills, {self.torn} of them in the middle of a write"
        print(f"{name}: {self.last} of {len(changes)} changes, {kinds}, {kills}: {dict(parts)}", flush=True)
        assert self.last > len(changes) - STRIDE
        assert STRIDE > 1 or {*places(changes)} <= {*self.covered}


def test_a_kill_after_every_change_of_a_run_and_a_loss_of_power(injector: Path, tmp_path: Path) -> None:
    states: Counter[str] = Counter()

    def lose_power(run: Run, changes: list[Change]) -> None:
        """Whatever of this was not synced is lost: what was promised is there."""
        promised = [c.commits for place, c in enumerate(changes) if c.commits is not None
                    and any(later.part == "pointer" for later in changes[place:])]  # fmt: skip
        for names in (False, True):
            copy = Run(run.out.with_name("copy"), ARGUMENTS)
            shutil.copytree(run.out, copy.out)
            states["lost something"] += PowerLoss(changes).strike(str(run.out), copy.out, names=names) > 0
            states["all"] += 1
            if promised:
                assert copy.folder is not None
                found = CheckpointFolder(copy.folder / "checkpoints").newest()
                assert found is not None and found.step >= promised[-1], f"names {names}, after {changes[-1]}"
                states["with a checkpoint that was promised"] += 1
            copy.remove()

    with Server(injector) as server:
        end, _ = undisturbed(server, tmp_path / "undisturbed", ARGUMENTS, **QUIET)
        count, changes = changed(server, whole := Run(tmp_path / "counted", ARGUMENTS, **QUIET))
        assert count == 0 and whole.end() == end
        assert {change.part for change in changes} == PARTS
        sweep = Sweep(server, tmp_path, lambda out: Run(out, ARGUMENTS, **QUIET), end)
        sweep.run(lose_power)
    print(f"loss of power: {dict(states)}", flush=True)
    sweep.report("a run", changes)
    assert states["lost something"] > states["all"] / 10


def test_a_model_without_syncs_does_lose_checkpoints(injector: Path, tmp_path: Path) -> None:
    """The control: with the same changes less every fsync, power that fails takes what was promised."""
    with Server(injector) as server:
        run = Run(tmp_path / "run", ARGUMENTS, **QUIET)
        ended, changes = changed(server, run)
    assert ended == 0
    copy = Run(tmp_path / "copy", ARGUMENTS, **QUIET)
    shutil.copytree(run.out, copy.out)
    unsynced = [change for change in changes if change.call != "fsync"]
    assert PowerLoss(unsynced).strike(str(run.out), copy.out, names=False) > 0
    assert copy.folder is not None
    assert {file.stat().st_size for file in copy.folder.glob("checkpoints/step-*/*")} == {0}


def test_a_kill_after_every_change_where_a_bundle_is_replaced(injector: Path, tmp_path: Path) -> None:
    with Server(injector) as server:
        end, _ = undisturbed(server, tmp_path / "undisturbed", ARGUMENTS, **QUIET)
        killed = Run(tmp_path / "killed", ARGUMENTS, **QUIET)
        ended, _ = changed(server, killed, FAULT_ONLY="report.html", FAULT_KILL=1)
        assert isinstance(ended, Hit) and ended.phase == "report"
        is_there(killed)

        def prepare(out: Path) -> Run:
            shutil.copytree(killed.out, out)
            return Run(out, ARGUMENTS, **QUIET)

        _, changes = changed(server, prepare(tmp_path / "counted"))
        assert any(change.call == "renameat2" for change in changes)
        sweep = Sweep(server, tmp_path, prepare, end)
        sweep.run(lambda run, changes: is_there(run))
    sweep.report("going on after the bundle was written", changes)


FULL = (errno.ENOSPC,)
ERRORS = (errno.EIO, errno.EROFS, errno.EDQUOT, errno.EMFILE)


def what_came_of(code: int | Hit, server: Server, run: Run, end: dict[str, str]) -> str:
    """A run on a disk that refuses ends well, stops resumable, or never began; once the disk is well, it goes on."""
    said = run.log.read_text()[-3000:]
    assert "Traceback" not in said and "something went wrong" not in said, said
    if code == 0:
        outcome = "went on"
    elif code == 75:
        outcome = "stopped resumable"
        assert run.folder is not None and "--resume" in said, said
    else:
        outcome = "never began"
        assert code == 1, said
        if run.folder is not None:
            outcome = "never began, and the disk refused to remove it"
            assert f"left:     {run.folder}" in said, said
    if code:
        run.finish(server)
    found = run.end()
    if code == 0:
        found["last state"] = end["last state"]  # the disk may have refused it, but the model is there
    assert found == end, said
    run.remove()
    return outcome


def refused(server: Server, run: Run, end: dict[str, str], outcomes: Counter[str], **faults: Any) -> None:
    """A run under the injector, which lets changes fail."""
    code, changes = changed(server, run, **faults)
    outcome = what_came_of(code, server, run, end)
    outcomes[outcome if any("refused" in change.call for change in changes) else "not refused anything"] += 1


@pytest.mark.parametrize("number", [*FULL, *ERRORS], ids=lambda number: errno.errorcode[number])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_a_disk_that_refuses_a_change(injector: Path, tmp_path: Path, number: int, lasting: bool) -> None:
    outcomes: Counter[str] = Counter()
    stride = STRIDE if number in FULL and not lasting else 7 * STRIDE
    with Server(injector) as server:
        end, _ = undisturbed(server, tmp_path / "undisturbed", ARGUMENTS, **QUIET)
        counted = Run(tmp_path / "counted", ARGUMENTS, **QUIET)
        _, changes = changed(server, counted)
        for first in range(1, len(changes) + 1, stride):
            run = Run(tmp_path / f"out-{first}", ARGUMENTS, **QUIET)
            last = 10**6 if lasting else first
            refused(server, run, end, outcomes, FAULT_FIRST=first, FAULT_LAST=last, FAULT_ERRNO=number)
    print(f"{errno.errorcode[number]} {'from then on' if lasting else 'once'}: {dict(outcomes)}", flush=True)
    assert outcomes["stopped resumable" if lasting else "went on"] > 0


PLACES = ("/checkpoints", "log.txt", "metrics.jsonl", "config.json", "/.bundle.", ".report.html.")


@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_always_refuses(injector: Path, tmp_path: Path, place: str) -> None:
    outcomes: Counter[str] = Counter()
    with Server(injector) as server:
        end, _ = undisturbed(server, tmp_path / "undisturbed", ARGUMENTS, **QUIET)
        for number in (*FULL, *ERRORS):
            run = Run(tmp_path / f"out-{number}", ARGUMENTS, **QUIET)
            faults = {"FAULT_UNDER": place, "FAULT_FIRST": 1, "FAULT_LAST": 10**6, "FAULT_ERRNO": number}
            refused(server, run, end, outcomes, **faults)
    print(f"{place}: {dict(outcomes)}", flush=True)
    assert outcomes["not refused anything"] == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system of a size that can be changed: ``disk("600k")``."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = False

    def sized(size: str) -> Path:
        nonlocal mounted
        options = f"remount,size={size}" if mounted else f"size={size}"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("mounting a file system is not allowed here")
        mounted = True
        return place

    yield sized
    if mounted:
        subprocess.run(["umount", "--lazy", place], check=True)


def test_a_disk_that_is_truly_full(tmp_path: Path, disk: Callable[[str], Path]) -> None:
    outcomes: Counter[str] = Counter()
    with Server() as server:
        end, _ = undisturbed(server, tmp_path / "undisturbed", ARGUMENTS, **QUIET)
        needed = sum(path.stat().st_blocks * 512 for path in (tmp_path / "undisturbed").rglob("*")) // 1024
        for size in range(16, int(1.6 * needed), max(8, needed // 24)):
            run = Run(disk(f"{size}k") / f"out-{size}", ARGUMENTS, notes=tmp_path, **QUIET)
            code = run.attempt(server, save_every=SAVE_EVERY)
            disk(f"{4 * needed}k")
            outcomes[what_came_of(code, server, run, end)] += 1
    print(f"a full disk: {dict(outcomes)}", flush=True)
    assert len(outcomes) == 3
