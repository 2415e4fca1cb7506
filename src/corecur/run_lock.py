"""One writer for a run folder: a lock that ends with its process, and says who holds it."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import secrets
import socket
import sys
import time
from pathlib import Path
from typing import Any

from corecur.errors import RunError

if sys.platform != "win32":
    import fcntl

_LOCK = "lock"
# A look at the lock takes it for a moment, and its owner takes a moment to write who it is.
_SECONDS_OF_TRYING = 0.5
_SECONDS_TO_SETTLE = 0.1
_MOST_BYTES = 4096
_OPENED_AS_IT_IS = getattr(os, "O_NOFOLLOW", 0)
_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)

# Of this process; children made by fork close theirs, or a data loader's worker would hold a killed parent's lock.
_HELD: set[RunLock] = set()


class RunLock:
    """The lock of a run folder: ``flock`` on ``<run>/lock``, with its owner written inside.

    The system gives it back when the process ends, however that happens. A lock file that is there although nobody
    holds it is that of a writer that was killed: it is taken over, and ``stale`` says whose it was. Its owner removes
    the file while holding it, and who gets the lock looks whether the file is still the one at the path; so the file
    can go without two owners. As a context it is held inside.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as run, RunLock(Path(run)):
    ...     is_running(Path(run))
    True
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        #: Who held the lock and did not give it back, in words; None where that is nobody.
        self.stale: str | None = None
        self._descriptor: int | None = None
        self._owner: dict[str, Any] = {}

    @property
    def path(self) -> Path:
        """The lock file."""
        return self.run / _LOCK

    @property
    def is_held(self) -> bool:
        """Whether this process has the lock."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock; RunError, with the owner, where somebody else has it, OSError where it cannot be written."""
        _mind_forks()
        last = time.monotonic() + _SECONDS_OF_TRYING
        while not self._is_taken():
            if time.monotonic() > last:
                raise self._refusal()
            time.sleep(0.01)
        _HELD.add(self)

    def _is_taken(self) -> bool:
        """One try; who stood in the way is then ``_owner``."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | _OPENED_AS_IT_IS, 0o644)
        try:
            locked = _flock(descriptor)
            self._owner = _read(descriptor)
            if locked is None:
                taken = not is_alive(self._owner) and _settle(descriptor)
            else:
                taken = locked and _is_at(descriptor, self.path)
                if taken and is_elsewhere(self._owner):
                    raise self._refusal()
                if taken:
                    _write(descriptor, this_process())
            if taken:
                self.stale = _in_words(self._owner) if self._owner else None
                self._descriptor, descriptor = descriptor, -1
            return taken
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def release(self) -> None:
        """Give the lock back; nothing where it is not held."""
        if self._descriptor is not None:
            is_there = _is_at(self._descriptor, self.path)
            if sys.platform == "win32":  # where an open file cannot be removed
                self._close()
            if is_there:
                with contextlib.suppress(OSError):  # the folder may be read-only by now
                    self.path.unlink()
            self._close()
            _HELD.discard(self)

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _refusal(self) -> RunError:
        owner = self._owner
        if is_elsewhere(owner):
            what, do = "this run may be written on another machine", f"see there; if it is not, remove {self.path}"
        elif not owner or is_alive(owner):
            what, do = "another process writes this run", "wait until it ends, or stop it"
            if sys.platform == "win32":
                do += f"; if it has ended, remove {self.path}"
        else:  # a child that it made without Python's fork
            what, do = "a process that is left of this run's writer still holds it", "end what that writer started"
        return RunError(what, where=self.run, got=_in_words(owner) if owner else None, do=do)


def is_running(run: Path) -> bool:
    """Whether a process, here or for all that is known on another machine, writes a run folder.

    >>> is_running(Path("no such run"))
    False
    """
    try:
        descriptor = os.open(run / _LOCK, os.O_RDONLY | _OPENED_AS_IT_IS)
    except OSError:
        return False
    try:
        free, owner = _flock(descriptor, shared=True), _read(descriptor)
        return free is False or is_elsewhere(owner) or (free is None and bool(owner) and is_alive(owner))
    finally:
        os.close(descriptor)


def _flock(descriptor: int, *, shared: bool = False) -> bool | None:
    """Take the lock of an open file if nobody has it; None where the system or the file system has no such locks.

    Not a POSIX record lock: that one is lost when its process closes any other descriptor of the file, as after
    reading it, and never keeps two writers of one process apart.
    """
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        if error.errno in _NO_LOCKS_HERE:
            return None
        raise


def _settle(descriptor: int) -> bool:
    """Where there are no locks: write who wants it, and see who stands there a moment later."""
    mine = this_process() | {"of_several": secrets.token_hex(8)}
    _write(descriptor, mine)
    time.sleep(_SECONDS_TO_SETTLE)
    return _read(descriptor) == mine


def _write(descriptor: int, owner: dict[str, Any]) -> None:
    content = json.dumps(owner).encode()
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, content)
    os.ftruncate(descriptor, len(content))


def _read(descriptor: int) -> dict[str, Any]:
    """What stands in the lock file; nothing where it is empty or no JSON object."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        found = json.loads(os.read(descriptor, _MOST_BYTES) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def this_process() -> dict[str, Any]:
    """Who this process is, in plain values: its number, machine, the start of both.

    >>> is_alive(this_process())
    True
    """
    pid = os.getpid()
    return {
        "pid": pid,
        "host": socket.gethostname(),
        "boot_id": _boot_id(),
        "process_started": _process_started(pid),
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def is_elsewhere(owner: dict[str, Any]) -> bool:
    """Whether an owner is of another machine, whose locks may not reach here; containers share their machine's boot."""
    host, boot = owner.get("host"), owner.get("boot_id")
    return host is not None and host != socket.gethostname() and (boot is None or boot != _boot_id())


def is_alive(owner: dict[str, Any]) -> bool:
    """Whether the process that an owner names is running; where that cannot be seen, it is taken for granted."""
    pid = owner.get("pid")
    if not owner:
        return False
    if is_elsewhere(owner) or sys.platform == "win32" or type(pid) is not int:
        return True
    if owner.get("boot_id") != _boot_id():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's process
        pass
    return owner.get("process_started") == _process_started(pid)  # else the number was given out again


def _in_words(owner: dict[str, Any]) -> str:
    """Who wrote a lock; anything may stand there."""
    pid, host, since = (ascii(str(owner.get(key)))[1:-1][:60] for key in ("pid", "host", "started"))
    return f"process {pid} on {host} since {since}"


@functools.cache
def _boot_id() -> str | None:
    """What names the time since the machine was last started; None where the system does not say."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else None


def _process_started(pid: int) -> str | None:
    """When a process began, in the system's own count; None where there is none, or the system does not say."""
    try:
        # The name in parentheses may hold spaces and parentheses; the 20th field after it is the start.
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one that its path names."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


@functools.cache
def _mind_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_let_go)


def _let_go() -> None:
    for lock in _HELD:
        lock._close()
    _HELD.clear()
