"""Stopping on request: SIGINT and SIGTERM end a training after its step, and anything else at once.

The standard library only: the command watches from its first line, before torch is imported.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from corecur.errors import Stopped

#: The exit code of a process that can be gone on with (EX_TEMPFAIL of sysexits.h).
RESUMABLE = 75
#: Seconds that a step, a validation and a checkpoint may take after a signal before the process leaves anyway.
PATIENCE = 8.0

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Watch:
    """What was asked for, and what leaving means now."""

    def __init__(self) -> None:
        self.wanted = False
        self.polite = 0
        self.is_program = False
        self.hint = "nothing was begun: give the same command again"
        self.deadline: threading.Timer | None = None

    def hear(self) -> None:
        """A signal has come, in a process that watches from its beginning; called by a thread of its own.

        The main thread may be inside a long call where Python's own handlers wait.
        """
        if not self.polite:
            self.leave("stopped")
        if self.wanted:
            self.leave("stopped at once")
        self.wanted = True
        say("stopping after this step; once more to stop at once")
        self.deadline = threading.Timer(PATIENCE, self.leave, [f"stopped, for the step did not end in {PATIENCE:g} s"])
        self.deadline.daemon = True
        self.deadline.start()

    def leave(self, what: str) -> None:
        """End the process where it stands: everything on disk is whole at any moment."""
        say(f"corecur: {what}\n  do this:  {self.hint}")
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(RESUMABLE)

    def calm(self) -> None:
        """After a polite stretch of work."""
        if self.deadline is not None:
            self.deadline.cancel()
        self.wanted, self.deadline = False, None


_WATCH = _Watch()


def say(line: str) -> None:
    """Write a line on standard error, past Python's buffers: whoever holds their locks may be the one stopped."""
    with contextlib.suppress(OSError):
        os.write(2, (line + "\n").encode())


def wanted() -> bool:
    """Whether the work is to stop at the next place where it can be gone on with.

    >>> wanted()
    False
    """
    return _WATCH.wanted


def request() -> None:
    """Ask for a stop, as a first signal does: from a callback, or a test."""
    _WATCH.wanted = True


def hint(text: str) -> None:
    """What a person is told to do when the process leaves at once: how to go on."""
    _WATCH.hint = text


def watch() -> None:
    """From now on SIGINT and SIGTERM end this process with ``RESUMABLE``; in a ``polite`` stretch, after its step."""
    receiving, sending = socket.socketpair()
    sending.setblocking(False)
    signal.set_wakeup_fd(sending.fileno(), warn_on_full_buffer=False)
    _WATCH.is_program = True

    def listen() -> None:
        while receiving.recv(1):
            _WATCH.hear()

    threading.Thread(target=listen, name="interruption", daemon=True).start()
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # such as of a job that a shell put in the background
            signal.signal(number, _nothing)
    os.register_at_fork(after_in_child=_forget)
    # Both ends live as long as the process.
    _WATCH.ends = (receiving, sending)  # type: ignore[attr-defined]


def unwatch() -> None:
    """Give the signals their usual meaning back: the command has nothing that could be gone on with."""
    if _WATCH.is_program:
        _forget()
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def polite() -> Iterator[None]:
    """A stretch of work that looks at ``wanted`` and ends by itself, with everything kept; the second signal ends it.

    In a program that does not ``watch`` (a notebook) the signals mean this for as long as the stretch lasts, and the
    second one is a KeyboardInterrupt. Raises Stopped at the end if a signal came too late to be heeded.
    """
    before: dict[Any, Any] = {}
    if not _WATCH.is_program and threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, _note) for number in _SIGNALS}
    _WATCH.polite += 1
    try:
        yield
        if _WATCH.wanted and _WATCH.polite == 1:
            raise Stopped("stopped on request", do=_WATCH.hint)
    finally:
        _WATCH.polite -= 1
        if not _WATCH.polite:
            _WATCH.calm()
        for number, handler in before.items():
            signal.signal(number, handler)


def _nothing(number: int, frame: FrameType | None) -> None:
    """A handler must be there for the thread to hear of the signal."""


def _note(number: int, frame: FrameType | None) -> None:
    if _WATCH.wanted:
        raise KeyboardInterrupt
    _WATCH.wanted = True
    say("stopping after this step; once more to stop at once")


def _forget() -> None:
    """In a child made by fork, which its parent ends: it does not hear of Ctrl-C, and SIGTERM is what it ever was."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _WATCH.is_program = False
