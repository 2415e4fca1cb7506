"""One writer for a run folder, with real processes: the module needs no torch, so they are light."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corecur import run_lock
from corecur.errors import RunError
from corecur.run_lock import RunLock, is_running

# Takes the lock of the folder it is given, says so or why not, and keeps it until its standard input ends.
HOLD = """
import os, sys, time
from pathlib import Path
from corecur import run_lock
from corecur.errors import RunError
from corecur.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]))
"""
KEEP = """
try:
    lock.acquire()
    print("held", flush=True)
    sys.stdin.read()
except RunError as error:
    print(*str(error).splitlines(), sep=" | ", flush=True)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts such a program on ``tmp_path``; what is given is done before it takes the lock."""
    started: list[subprocess.Popen[str]] = []

    def begin(before: str = "", then: str = KEEP) -> subprocess.Popen[str]:
        line = [sys.executable, "-c", HOLD + textwrap.dedent(before) + then, str(tmp_path)]
        started.append(subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def owner(**changes: Any) -> str:
    """What stands in a lock of this process, with changes; a change to None leaves a part out."""
    parts = {name: changes.get(name, value) for name, value in run_lock.this_process().items()}
    return json.dumps({name: value for name, value in parts.items() if value is not None})


def test_the_lock_says_who_holds_it_and_goes_with_it(tmp_path: Path) -> None:
    with RunLock(tmp_path) as lock:
        found = json.loads(lock.path.read_text())
        assert (found["pid"], found["host"]) == (os.getpid(), socket.gethostname())
        assert found["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", found["started"])
        assert lock.is_held and is_running(tmp_path) and lock.stale is None
    assert not lock.is_held and not is_running(tmp_path)
    assert os.listdir(tmp_path) == []
    lock.release()


def test_a_second_writer_is_told_who_is_first(start: Callable[..., Any], tmp_path: Path) -> None:
    first = start()
    assert said(first) == "held"
    since = json.loads((tmp_path / "lock").read_text())["started"]
    with pytest.raises(RunError) as refused:
        RunLock(tmp_path).acquire()
    assert str(refused.value).splitlines() == [
        "another process writes this run",
        f"  where:    {tmp_path}",
        f"  got:      process {first.pid} on {socket.gethostname()} since {since}",
        "  do this:  wait until it ends, or stop it",
    ]
    assert is_running(tmp_path)


def test_a_second_writer_in_the_same_process_is_refused_and_reading_gives_nothing_away(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    with RunLock(tmp_path) as lock:
        with pytest.raises(RunError, match=f"process {os.getpid()} on"):
            RunLock(tmp_path).acquire()
        # a POSIX record lock would be lost by each of these
        lock.path.read_text()
        assert is_running(tmp_path)
        lock.path.open("a").close()
        assert f"process {os.getpid()} on" in said(start())
    assert said(start()) == "held"


def test_of_many_that_start_at_once_one_wins(start: Callable[..., Any], tmp_path: Path) -> None:
    wait = "while not os.path.exists(sys.argv[1] + '/go'): time.sleep(0.001)"
    processes = [start(wait) for _ in range(20)]
    (tmp_path / "go").touch()
    answers = {process.pid: said(process) for process in processes}
    winners = [pid for pid, answer in answers.items() if answer == "held"]
    assert len(winners) == 1
    named = [re.search(r"got: +process (\d+) on", answer) for answer in answers.values() if answer != "held"]
    assert [int(match[1]) if match else None for match in named] == winners * 19


def test_the_lock_of_a_killed_writer_is_free_and_said_to_be_stale(start: Callable[..., Any], tmp_path: Path) -> None:
    first = start()
    said(first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert (tmp_path / "lock").exists() and not is_running(tmp_path)
    with RunLock(tmp_path) as lock:
        assert lock.stale is not None and lock.stale.startswith(f"process {first.pid} on")
        assert json.loads(lock.path.read_text())["pid"] == os.getpid()


def test_a_process_number_given_out_again_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(owner(process_started="1"))  # of this living process
    assert not is_running(tmp_path)
    with RunLock(tmp_path) as lock:
        assert lock.stale is not None


FORK = """
reading, writing = os.pipe()
if {mind} is False: run_lock._mind_forks = lambda: None
lock.acquire()
if os.fork() == 0:
    os.write(writing, b"x")
    time.sleep(20)   # as a worker that has not noticed yet
    os._exit(0)
os.read(reading, 1)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("mind", [True, False])
def test_children_made_by_fork_do_not_keep_a_killed_parents_lock(
    start: Callable[..., Any], tmp_path: Path, mind: bool
) -> None:
    first = start(then=FORK.format(mind=mind))
    said(first)
    assert is_running(tmp_path)
    worker = int(Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text())
    first.send_signal(signal.SIGKILL)
    first.wait()
    try:
        os.kill(worker, 0)  # it lives
        assert is_running(tmp_path) is not mind  # without the care that is taken the lock would be held on
        if not mind:
            with pytest.raises(RunError, match="(?s)left of this run's writer.*end what that writer started"):
                RunLock(tmp_path).acquire()
    finally:
        os.kill(worker, signal.SIGKILL)


def test_a_child_made_by_fork_cannot_give_its_parents_lock_back(start: Callable[..., Any], tmp_path: Path) -> None:
    first = start(then="""
lock.acquire()
if os.fork() == 0:
    lock.release()
    os._exit(0)
os.wait()
print("held", flush=True)
sys.stdin.read()
""")  # fmt: skip
    assert said(first) == "held"
    assert is_running(tmp_path) and (tmp_path / "lock").exists()


def test_no_two_hold_it_while_it_comes_and_goes(start: Callable[..., Any], tmp_path: Path) -> None:
    # the file is removed at each release: who opened it before must not believe in the lock on what is gone
    turns = """
import random
taken = refused = 0
while taken < 100:
    one = RunLock(Path(sys.argv[1]))
    try: one.acquire()
    except RunError: refused += 1; continue
    inside = os.open(sys.argv[1] + "/inside", os.O_CREAT | os.O_EXCL)   # fails where two are inside
    if random.random() < 0.1: time.sleep(0.001)
    os.close(inside); os.unlink(sys.argv[1] + "/inside")
    taken += 1
    one.release()
print(taken, one.stale)
"""
    processes = [start(then=turns) for _ in range(4)]
    assert [said(process) for process in processes] == ["100 None"] * 4
    assert os.listdir(tmp_path) == []


def test_a_lock_on_a_file_that_its_last_owner_removed_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, other = run_lock._flock, RunLock(tmp_path)

    def late(descriptor: int) -> bool | None:
        monkeypatch.setattr(run_lock, "_flock", real)
        other.path.unlink()  # between opening and locking, and a third one was quick
        other.acquire()
        return real(descriptor)

    monkeypatch.setattr(run_lock, "_flock", late)
    with pytest.raises(RunError, match="another process writes this run"):
        RunLock(tmp_path).acquire()
    assert other.is_held
    other.release()


# other machines


def test_a_lock_of_another_machine_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(owner(host="far-away", boot_id="another"))
    with pytest.raises(RunError, match=r"(?s)on another machine.*on far-away since.*if it is not, remove .*lock"):
        RunLock(tmp_path).acquire()
    assert is_running(tmp_path)
    assert json.loads((tmp_path / "lock").read_text())["host"] == "far-away"
    (tmp_path / "lock").unlink()
    with RunLock(tmp_path):
        pass


@pytest.mark.parametrize(
    "changes", [{"host": "container-7"}, {"boot_id": "before"}], ids=["container", "started again"]
)
def test_a_lock_from_this_machine_is_taken_over(tmp_path: Path, changes: dict[str, str]) -> None:
    (tmp_path / "lock").write_text(owner(**changes))
    assert not is_running(tmp_path)
    with RunLock(tmp_path) as lock:
        assert lock.stale is not None


# odd files


@pytest.mark.parametrize("content", ["", "{", "[]", "\udcff" * 3, '{"pid": "\x1b[31m"}', '{"pid": 1e999}', "7" * 9000])
def test_whatever_stands_in_the_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock").write_bytes(content.encode(errors="surrogateescape"))
    assert not is_running(tmp_path)
    with RunLock(tmp_path) as lock:
        assert lock.stale is None or re.fullmatch(r"[ -~]+", lock.stale)
        assert json.loads(lock.path.read_text())["pid"] == os.getpid()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("dear")
    (tmp_path / "lock").symlink_to("mine")
    with pytest.raises(OSError, match="symbolic link"):
        RunLock(tmp_path).acquire()
    assert not is_running(tmp_path)
    assert (tmp_path / "mine").read_text() == "dear"


def test_a_file_removed_by_somebody_is_no_harm(tmp_path: Path) -> None:
    with RunLock(tmp_path) as lock:
        lock.path.unlink()
        lock.path.write_text("another's")
    assert lock.path.read_text() == "another's"


# file systems without locks


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(run_lock.fcntl, "flock", refuse)


@pytest.mark.usefixtures("no_locks")
def test_without_locks_the_process_decides(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        assert is_running(tmp_path)
        with pytest.raises(RunError, match=f"process {os.getpid()} on"):
            RunLock(tmp_path).acquire()
    gone = subprocess.Popen(["true"])
    gone.wait()
    for changes in ({"pid": gone.pid}, {"process_started": "1"}, {"boot_id": "before"}, {"pid": 10**30}):
        (tmp_path / "lock").write_text(owner(**changes))
        assert not is_running(tmp_path)
        with RunLock(tmp_path) as lock:
            assert lock.stale is not None
    (tmp_path / "lock").write_text(owner(host="far-away", boot_id="another"))
    with pytest.raises(RunError, match="another machine"):
        RunLock(tmp_path).acquire()


@pytest.mark.usefixtures("no_locks")
def test_without_locks_one_of_several_at_once_wins(tmp_path: Path) -> None:
    barrier, won = threading.Barrier(8), []

    def begin() -> None:
        lock = RunLock(tmp_path)
        barrier.wait()
        try:
            lock.acquire()
            won.append(lock)
        except RunError:
            pass

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    won[0].release()
