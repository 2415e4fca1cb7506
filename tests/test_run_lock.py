"""One writer for a run folder, among real processes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from corecur import run_lock
from corecur.errors import RunError
from corecur.run_lock import RunLock, is_running

HOLDER = """
import sys, time
from pathlib import Path
from corecur.errors import RunError
from corecur.run_lock import RunLock
folder, begin = Path(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
while not begin.exists():
    time.sleep(0.005)
try:
    lock = RunLock(folder)
    lock.acquire()
    print("won", flush=True)
    sys.stdin.readline()
    lock.release()
except RunError as error:
    print(error, flush=True)
"""


def start(folder: Path, begin: Path, *before: str) -> subprocess.Popen[str]:
    """A process that takes the lock once the file ``begin`` is there, and holds it until its input ends."""
    line = [*before, sys.executable, "-c", HOLDER, str(folder), str(begin)]
    return subprocess.Popen(line, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


@contextmanager
def holder(folder: Path, *before: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock."""
    with start(folder, folder, *before) as process:
        try:
            assert process.stdout is not None
            assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "won\n"]
            yield process
        finally:
            process.kill()


def refusal(folder: Path) -> str:
    with pytest.raises(RunError, match="another process writes this run") as caught:
        RunLock(folder).acquire()
    return str(caught.value)


def owner(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "lock").read_text())
    return found


# who has it


def test_the_lock_says_who_holds_it_and_goes_away(tmp_path: Path) -> None:
    with RunLock(tmp_path) as lock:
        assert owner(tmp_path)["pid"] == os.getpid() and owner(tmp_path)["host"] == socket.gethostname()
        assert is_running(tmp_path) and lock.stale is None
        assert f"process {os.getpid()}\n" in refusal(tmp_path)
    assert list(tmp_path.iterdir()) == [] and not is_running(tmp_path)


def test_another_process_is_named_and_kept_out(tmp_path: Path) -> None:
    with holder(tmp_path) as other:
        assert is_running(tmp_path)
        assert f"process {other.pid} since 20" in refusal(tmp_path)
        assert other.poll() is None and owner(tmp_path)["pid"] == other.pid
        other.communicate("\n", timeout=10)
    assert not is_running(tmp_path)


def test_the_same_folder_by_another_way_is_the_same_lock(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with RunLock(tmp_path / "link"):
        assert is_running(tmp_path / "run")
        refusal(tmp_path / "run" / ".." / "run")


def test_of_two_threads_one_gets_it(tmp_path: Path) -> None:
    won, lost, begin = [], [], threading.Barrier(8)

    def race() -> None:
        begin.wait()
        try:
            lock = RunLock(tmp_path)
            lock.acquire()
            won.append(lock)
        except RunError:
            lost.append(1)

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)
    won[0].release()


def test_a_look_does_not_take_it_from_its_owner(tmp_path: Path) -> None:
    with holder(tmp_path), pytest.raises(RunError):
        for _ in range(50):
            assert is_running(tmp_path)
        RunLock(tmp_path).acquire()
    with RunLock(tmp_path):
        for _ in range(50):
            assert is_running(tmp_path)  # a look from this process would lose a POSIX lock
        with start(tmp_path, tmp_path) as other:
            out, _ = other.communicate("\n", timeout=20)
        assert f"process {os.getpid()} since" in out


LOOK = """
import fcntl, os, sys, time
fcntl.lockf(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX)
print("looking", flush=True)
time.sleep(0.2)
"""


def test_a_look_does_not_keep_anybody_out(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("{}")
    with subprocess.Popen([sys.executable, "-c", LOOK, tmp_path / "lock"], stdout=subprocess.PIPE) as look:
        assert look.stdout is not None and look.stdout.readline() == b"looking\n"
        with RunLock(tmp_path):
            assert is_running(tmp_path)


def test_of_many_that_start_at_once_exactly_one_wins(tmp_path: Path, count: int = 100) -> None:
    run, begin = tmp_path / "run", tmp_path / "begin"
    run.mkdir()
    started = [start(run, begin) for _ in range(count)]
    try:
        assert {process.stdout.readline() for process in started if process.stdout} == {"ready\n"}
        begin.touch()
        said = {process.pid: process.stdout.readline() for process in started if process.stdout}
        winners = [pid for pid, line in said.items() if line == "won\n"]
        assert len(winners) == 1
        assert owner(run)["pid"] == winners[0]
        told = [process.stdout.read() for process in started if process.stdout and process.pid != winners[0]]
        assert len(told) == count - 1
        assert [text for text in told if f"process {winners[0]} since" not in text] == []
    finally:
        for process in started:
            process.kill()
            process.communicate()


def test_another_host_name_changes_nothing_but_the_advice(tmp_path: Path) -> None:
    renamed = ("unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh")
    if subprocess.run([*renamed, "true"], capture_output=True).returncode:
        pytest.skip("this user may not take another host name")
    with holder(tmp_path, *renamed) as other:
        said = refusal(tmp_path)
        assert f"process {owner(tmp_path)['pid']} on elsewhere since" in said
        assert f"if that machine is no more, remove {tmp_path / 'lock'}" in said
        other.send_signal(signal.SIGKILL)
        other.wait()
        with RunLock(tmp_path) as lock:
            assert lock.stale is not None and "on elsewhere" in lock.stale


# what the dead leave


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with holder(tmp_path) as other:
        other.kill()
        other.wait()
        assert owner(tmp_path)["pid"] == other.pid and not is_running(tmp_path)
        with RunLock(tmp_path) as lock:
            assert lock.stale is not None and re.search(rf"process {other.pid} since .* did not end it", lock.stale)
            assert owner(tmp_path)["pid"] == os.getpid()


def test_a_number_that_was_given_out_again_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(json.dumps(run_lock._this_process() | {"process_started": "1"}))
    with RunLock(tmp_path) as lock:
        assert lock.stale is not None


def test_children_do_not_inherit_it(tmp_path: Path) -> None:
    forked = "import os, time\nif os.fork(): os._exit(0)\nprint('child', os.getpid(), flush=True)\ntime.sleep(60)"
    body = HOLDER.replace("sys.stdin.readline()", "exec(sys.argv[3])")
    line = [sys.executable, "-c", body, tmp_path, tmp_path, forked]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "won\n"]
        child = int(process.stdout.readline().split()[1])
        process.wait(timeout=10)
        try:
            RunLock(tmp_path).acquire()
        finally:
            os.kill(child, signal.SIGKILL)


LEFT = {
    "empty": b"",
    "garbage": bytes(range(256)) * 4,
    "no object": b"[1, 2]",
    "huge": b"9" * (8 << 20),
    "deep": b"[" * 4000,
    "hostile": json.dumps({"pid": "\x1b[2J" * 50, "host": ["x"], "since": {"a": 1}, "boot": 3}).encode(),
}


@pytest.mark.parametrize("content", LEFT.values(), ids=LEFT.keys())
def test_whatever_stands_in_a_lock_that_nobody_holds(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "lock").write_bytes(content)
    with RunLock(tmp_path) as lock:
        assert owner(tmp_path)["pid"] == os.getpid()
        assert "\x1b" not in (lock.stale or "")
    assert not (tmp_path / "lock").exists()


def test_a_lock_that_is_no_file_is_refused_and_left(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "lock").symlink_to("precious")
    with pytest.raises(OSError):
        RunLock(tmp_path).acquire()
    assert (tmp_path / "precious").read_text() == "kept" and not is_running(tmp_path)
    (tmp_path / "lock").unlink()
    (tmp_path / "lock").mkdir()
    with pytest.raises(OSError):
        RunLock(tmp_path).acquire()
    (tmp_path / "lock").rmdir()
    with RunLock(tmp_path):
        pass


def test_a_disk_that_is_full_leaves_no_lock_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    open_before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="No space"):
        RunLock(tmp_path).acquire()
    assert os.listdir("/proc/self/fd") == open_before
    monkeypatch.undo()
    with RunLock(tmp_path):
        assert is_running(tmp_path)


def test_a_folder_that_is_gone_is_no_trouble_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with RunLock(tmp_path / "run"):
        (tmp_path / "run" / "lock").unlink()
        (tmp_path / "run").rmdir()


# file systems without locks: the process that is named decides


@pytest.fixture
def lockless(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", refuse)


@pytest.mark.usefixtures("lockless")
def test_without_locks_a_living_process_keeps_others_out(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        started = run_lock._process_started(other.pid)
        written = run_lock._this_process() | {"pid": other.pid, "process_started": started}
        (tmp_path / "lock").write_text(json.dumps(written))
        assert is_running(tmp_path) and f"process {other.pid} since" in refusal(tmp_path)
        other.kill()
    time.sleep(0.05)
    with RunLock(tmp_path) as lock:
        assert lock.stale is not None


@pytest.mark.usefixtures("lockless")
@pytest.mark.parametrize(
    ("other", "is_free"),
    [({"process_started": "1"}, True), ({"boot": "earlier"}, True), ({"pid": "x"}, True), ({"host": "far"}, False)],
)
def test_without_locks_the_dead_and_the_far_are_told_apart(
    tmp_path: Path, other: dict[str, str], is_free: bool
) -> None:
    (tmp_path / "lock").write_text(json.dumps(run_lock._this_process() | other))
    if is_free:
        RunLock(tmp_path).acquire()
        run_lock._HELD.discard(tmp_path.resolve())
    else:
        assert "on far" in refusal(tmp_path)
