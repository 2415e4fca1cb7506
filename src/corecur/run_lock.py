"""One writer for a run folder: a lock that dies with its process, and says who holds it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

from corecur.errors import RunError

_LOCK = "lock"
# A look at the lock by another program takes it for a moment; who took it to keep may not have written its name yet.
_SECONDS_OF_TRYING, _SECONDS_FOR_A_NAME = 0.5, 5.0
_MOST_BYTES = 4096

# POSIX forgets a process's locks on a file when the process closes any descriptor of it, and never refuses a process
# its own lock: what this process holds must be known without opening the file.
_HELD: set[Path] = set()
_HELD_GUARD = threading.Lock()


class RunLock:
    """The lock of a run folder: ``<run>/lock``, a POSIX record lock on it, with the owner written inside.

    The system gives it back when the process ends, however that happens, and children made by fork do not hold it. As
    a context it is held inside. Raises RunError, with the owner, where somebody else has it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as run, RunLock(Path(run)):
    ...     is_running(Path(run))
    True
    """

    def __init__(self, run: Path) -> None:
        self.run = run.resolve()
        self.path = self.run / _LOCK
        #: What is known of a writer that did not end well, or None.
        self.stale: str | None = None
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; RunError where another writer has it."""
        with _HELD_GUARD:
            if self.run in _HELD:
                raise self._refusal({"pid": os.getpid()})
            _HELD.add(self.run)
        try:
            self._descriptor = self._taken()
            self._sign(self._descriptor)
        except BaseException:
            self.release()
            _HELD.discard(self.run)
            raise

    def _taken(self) -> int:
        """The lock's file, opened and locked by nobody else."""
        began = time.monotonic()
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            if _lock(descriptor):
                if _is_at(descriptor, self.path):  # else its last owner removed it meanwhile
                    return descriptor
                os.close(descriptor)
                continue
            owner = _owner(descriptor)
            os.close(descriptor)
            if time.monotonic() - began > (_SECONDS_OF_TRYING if owner else _SECONDS_FOR_A_NAME):
                raise self._refusal(owner)
            time.sleep(0.02)

    def _sign(self, descriptor: int) -> None:
        before = _owner(descriptor)
        if before:
            self.stale = f"its last writer ({_in_words(before)}) did not end it"
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(_this_process()).encode(), 0)

    def release(self) -> None:
        """Give the lock back; nothing where it is not held."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):  # the folder may be gone, or the disk read-only now
                self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None
            _HELD.discard(self.run)

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _refusal(self, owner: dict[str, Any]) -> RunError:
        is_elsewhere = owner.get("host") not in (None, socket.gethostname())
        return RunError(
            "another process writes this run",
            where=self.run,
            got=_in_words(owner) if owner else "a process that did not say which",
            do="wait until it ends, or stop it"
            + (f"; if that machine is no more, remove {self.path}" if is_elsewhere else ""),
        )


def is_running(run: Path) -> bool:
    """Whether a living process writes a run folder.

    >>> is_running(Path("no such run"))
    False
    """
    run = run.resolve()
    if run in _HELD:
        return True
    try:
        descriptor = os.open(run / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Take the lock if nobody has it. Where there are no such locks, the owner's process decides."""
    try:
        import fcntl

        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except (ImportError, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        owner = _owner(descriptor)  # no fcntl (Windows), or a file system without locks
        return not owner or not _lives(owner)


def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    return {
        "pid": pid,
        "host": socket.gethostname(),
        "boot": _boot(),
        "process_started": _process_started(pid),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _owner(descriptor: int) -> dict[str, Any]:
    """What stands in the lock file; nothing where it is empty or no JSON object."""
    content = os.pread(descriptor, _MOST_BYTES, 0)
    try:
        found = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _lives(owner: dict[str, Any]) -> bool:
    """Whether the process that wrote a lock lives; one of another machine may."""
    pid = owner.get("pid")
    if owner.get("host") != socket.gethostname():
        return True
    if owner.get("boot") != _boot() or type(pid) is not int:
        return False
    started = _process_started(pid)
    return started is not None and started == owner.get("process_started")  # else the number was given out again


def _in_words(owner: dict[str, Any]) -> str:
    host, since = owner.get("host"), owner.get("since")
    place = "" if host in (None, socket.gethostname()) else f" on {_plain(host)}"
    return f"process {_plain(owner.get('pid'))}{place}" + (f" since {_plain(since)}" if since else "")


def _plain(value: object) -> str:
    """What a lock says, fit for a terminal: anybody may have written it."""
    return ascii(str(value))[1:-1][:60]


def _boot() -> str | None:
    """What names the time since the machine was last started; None where the system does not say."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else None


def _process_started(pid: int) -> str | None:
    """When a process began, in the system's own count; None where there is none, or the system does not say."""
    try:
        # The name in parentheses may hold spaces; the 20th field after it is the start.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one that its path names."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False
