"""Stopping on request: SIGINT and SIGTERM end a training after its step, and anything else at once.

The standard library only: the command watches from its first line, before torch is imported.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from corecur.errors import Stopped

#: The exit code of a process that can be gone on with (EX_TEMPFAIL of sysexits.h).
RESUMABLE = 75
#: Seconds that a step, a validation and a checkpoint may take after a signal before the process leaves anyway.
PATIENCE = 8.0

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# ``timeout``, a supervisor or a shell may signal a process and then its group: one wish that comes twice.
_SAME_WISH = 0.25
# A terminal or a pipe that takes nothing must not hold a process that is to leave.
_SECONDS_FOR_WORDS = 0.5
_AFTER_STEP = "stopping after this step; once more to stop at once"


class _Watch:
    """What was asked for, and what leaving means now."""

    def __init__(self) -> None:
        self.wanted = False
        self.polite = 0
        self.is_program = False
        self.hint = "nothing was begun: give the same command again"
        self.before: dict[Any, Any] = {}
        # Between the thread that hears and the one that works; a handler of signals must not take it.
        self.lock = threading.Lock()
        self._heard_at = float("-inf")

    def is_repeated(self) -> bool:
        """Whether a signal that comes now is the last one once more."""
        now = time.monotonic()
        if self.wanted and now - self._heard_at < _SAME_WISH:
            return True
        self._heard_at = now
        return False

    def hear(self) -> None:
        """A signal has come, in a process that watches from its beginning; called by a thread of its own.

        The main thread may be inside a long call where Python's own handlers wait.
        """
        with self.lock:
            if self.is_repeated():
                return
            is_second, at_once = self.wanted, self.wanted or not self.polite
            self.wanted = True
        if at_once:
            self.leave("stopped at once" if is_second else "stopped")
        # The process ends after this in any case, so nothing takes the deadline back.
        late = f"stopped: the step and its checkpoint did not end in {PATIENCE:g} s"
        deadline = threading.Timer(PATIENCE, self.leave, [late])
        deadline.daemon = True
        deadline.start()
        _say_in_time(_AFTER_STEP)

    def leave(self, what: str) -> None:
        """End the process where it stands: everything on disk is whole at any moment."""
        try:
            _say_in_time(f"corecur: {what}\n  do this:  {self.hint}")
        finally:
            os._exit(RESUMABLE)

    def begin_stretch(self) -> None:
        with self.lock:
            self.polite += 1

    def end_stretch(self) -> bool:
        """Whether somebody wished to stop in a polite stretch that ends here, and is still to be heeded."""
        with self.lock:
            self.polite -= 1
            wished = self.wanted and not self.polite
            if wished and not self.is_program:
                self.wanted = False
            return wished


_WATCH = _Watch()


def say(line: str) -> None:
    """Write a line on standard error, past Python's buffers: whoever holds their locks may be the one stopped."""
    with contextlib.suppress(OSError):
        os.write(2, (line + "\n").encode("utf-8", "backslashreplace"))


def _say_in_time(line: str) -> None:
    """``say`` and let standard output go, or give up where nobody takes it."""

    def speak() -> None:
        say(line)
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    speaker.join(_SECONDS_FOR_WORDS)


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
    """From now on SIGINT and SIGTERM end this process with ``RESUMABLE``; in a ``polite`` stretch, after its step.

    A signal that is ignored, as SIGINT is in a job that a shell put in the background, stays ignored.
    """
    receiving, sending = os.pipe()  # both ends live as long as the process
    os.set_blocking(sending, False)
    signal.set_wakeup_fd(sending, warn_on_full_buffer=False)

    def listen() -> None:
        while number := os.read(receiving, 1):
            if number[0] in _SIGNALS:  # every signal that has a handler is told of, such as the end of a child
                _WATCH.hear()

    threading.Thread(target=listen, name="interruption", daemon=True).start()
    _WATCH.is_program = True
    _WATCH.before = _handle(_nothing)


def unwatch() -> None:
    """Give the signals their usual meaning back: the command has nothing that could be gone on with."""
    if _WATCH.is_program:
        _WATCH.is_program = False
        signal.set_wakeup_fd(-1)
        _restore(_WATCH.before)


@contextlib.contextmanager
def polite(do: str | None = None) -> Iterator[None]:
    """A stretch of work that looks at ``wanted`` and ends by itself, with everything kept; the second signal ends it.

    In a program that does not ``watch`` (a notebook) the signals mean this for as long as the stretch lasts, and the
    second one is a KeyboardInterrupt. Raises Stopped at the end, saying what to ``do``, if a signal came too late to be
    heeded.
    """
    before: dict[Any, Any] = {}
    _WATCH.begin_stretch()
    try:
        if not _WATCH.is_program and threading.current_thread() is threading.main_thread():
            before = _handle(_note)
        yield
    finally:
        _restore(before)
        wished = _WATCH.end_stretch()
    if wished:
        raise Stopped("stopped on request", do=do or _WATCH.hint)


def _handle(handler: Any) -> dict[Any, Any]:
    """Set the handler of both signals; those before. One that is ignored, or another program's, stays."""
    _teach_children()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {number: old for number, old in before.items() if old not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handler)
    return before


def _restore(before: dict[Any, Any]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)


def _nothing(number: int, frame: FrameType | None) -> None:
    """A handler must be there for the thread to hear of the signal."""


def _note(number: int, frame: FrameType | None) -> None:
    if _WATCH.is_repeated():
        return
    if _WATCH.wanted:
        raise KeyboardInterrupt
    _WATCH.wanted = True
    say(_AFTER_STEP)


@functools.cache
def _teach_children() -> None:
    os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    """In a child made by fork, which its parent ends: it does not hear of Ctrl-C, and SIGTERM is what it ever was."""
    if _WATCH.is_program:
        signal.set_wakeup_fd(-1)
    if _WATCH.is_program or _WATCH.polite:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _WATCH.is_program, _WATCH.polite = False, 0
