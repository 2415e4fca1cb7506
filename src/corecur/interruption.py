"""Stopping on request: SIGINT and SIGTERM end a training after its step, and anything else at once.

The standard library only: the command watches from its first line, before torch is imported.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from corecur.errors import Stopped

#: The exit code of a process that can be gone on with (EX_TEMPFAIL of sysexits.h).
RESUMABLE = Stopped.exit_code
#: Seconds that a step, a validation and a checkpoint may take after a signal before the process leaves anyway.
PATIENCE = 8.0

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# ``timeout`` and other wrappers send a signal to their child and then to its whole group: that is one request.
_SECONDS_OF_ECHO = 0.2
_STOPPING = "corecur: stopping after this step; once more to stop at once"
_NOTHING_BEGUN = "nothing was begun: give the same command again"
_SHOW_CURSOR = "\x1b[?25h"

_Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers


class _Requests:
    """What this process was asked for, and how it hears of it."""

    def __init__(self) -> None:
        self.wanted = False
        self.polite = 0
        self.hint: str | None = None
        self.heard: float | None = None
        self.before: dict[signal.Signals, _Handler] = {}
        self.ends: tuple[socket.socket, socket.socket] | None = None  # of a program that watches
        self.lock = threading.Lock()

    def hear(self, now: float) -> bool:
        """Note a signal; whether it is the second request."""
        if self.heard is None:
            self.heard, self.wanted = now, True
            return False
        return now - self.heard >= _SECONDS_OF_ECHO


_NOW = _Requests()


def wanted() -> bool:
    """Whether the work is to stop at the next place where it can be gone on with.

    >>> wanted()
    False
    """
    return _NOW.wanted


def request() -> None:
    """Ask for a stop, as a first signal does, but without a deadline: from a callback, or a test.

    >>> try:
    ...     with polite():
    ...         request()
    ... except Stopped as stopped:
    ...     print(stopped.what)
    stopped on request
    """
    _NOW.wanted = True


def hint(text: str) -> None:
    """The command that goes on with the work, for people who end it at once; by default: the same command again."""
    _NOW.hint = text


def watch() -> None:
    """From now on SIGINT and SIGTERM end this process with ``RESUMABLE``; in a ``polite`` stretch, after its step.

    A thread hears of them, for the main thread may be inside a long call where Python's own handlers wait. A signal
    that was ignored before, as a shell does it for what runs in the background, stays ignored.
    """
    if _NOW.ends is not None:
        return
    _mind_forks()
    receiving, sending = socket.socketpair()
    sending.setblocking(False)
    _NOW.ends = (receiving, sending)
    signal.set_wakeup_fd(sending.fileno(), warn_on_full_buffer=False)
    _NOW.before = _take_signals(_leave_to_thread)
    threading.Thread(target=_listen, args=(_NOW, receiving), name="interruption", daemon=True).start()


def unwatch() -> None:
    """Give the signals their old meaning back: the command has nothing that could be gone on with."""
    if _NOW.ends is None:
        return
    for number, handler in _NOW.before.items():
        signal.signal(number, handler)
    signal.set_wakeup_fd(-1)
    _NOW.ends[1].close()  # ends the thread
    _NOW.before, _NOW.ends = {}, None


@contextlib.contextmanager
def polite() -> Iterator[None]:
    """A stretch of work that looks at ``wanted`` and ends by itself, with everything kept.

    In a program that does not ``watch`` (a notebook) the signals mean this for as long as the stretch lasts on the
    main thread; the second one is what it was before. Raises Stopped at the end if a request came too late to be
    heeded.
    """
    now, mine = _NOW, False
    if now.ends is None and not now.before and threading.current_thread() is threading.main_thread():
        _mind_forks()
        now.before, mine = _take_signals(_note), True
    with now.lock:
        now.polite += 1
    try:
        yield
    finally:
        if mine:
            for number, handler in now.before.items():
                signal.signal(number, handler)
            now.before = {}
        with now.lock:
            now.polite -= 1
            late = now.wanted and not now.polite
            if not now.polite and now.ends is None:
                now.wanted, now.heard = False, None
    if late:
        raise Stopped("stopped on request", do=now.hint)


def _take_signals(handler: _Handler) -> dict[signal.Signals, _Handler]:
    """Handle the signals that mean something now; what they meant, None being what Python cannot give back."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    taken = {number: old for number, old in before.items() if old is not None and old != signal.SIG_IGN}
    for number in taken:
        signal.signal(number, handler)
    return taken


def _leave_to_thread(number: int, frame: FrameType | None) -> None:
    """Python writes to the wake-up socket only for a signal that has a handler."""


def _listen(now: _Requests, receiving: socket.socket) -> None:
    """Act on the signals of a program that watches, until its other end is closed."""
    while True:
        left = None if now.heard is None else max(0.0, now.heard + PATIENCE - time.monotonic())
        if not select.select([receiving], [], [], left)[0]:
            _leave(now, f"the step did not end in {PATIENCE:g} s")
        numbers = receiving.recv(64)
        if not numbers:
            receiving.close()
            return
        if not {*numbers} & {*_SIGNALS}:  # another one that has a handler, such as a data loader's for SIGCHLD
            continue
        first = now.heard is None
        with now.lock:
            if now.hear(time.monotonic()) or (first and not now.polite):
                _leave(now, "stopped")
        if first:
            _say(_STOPPING)


def _note(number: int, frame: FrameType | None) -> None:
    """A signal in a program that does not watch."""
    now, first = _NOW, _NOW.heard is None
    if now.hear(time.monotonic()):
        signal.signal(number, now.before[signal.Signals(number)])
        signal.raise_signal(number)
    elif first:
        _say(_STOPPING)


def _leave(now: _Requests, what: str) -> None:
    """End the process where it stands: everything on disk is whole at any moment."""
    _say(f"corecur: {what}; " + (_NOTHING_BEGUN if now.hint is None else f"go on with: {now.hint}"), last=True)
    os._exit(RESUMABLE)


def _say(line: str, *, last: bool = False) -> None:
    """Write a line on standard error, unless nobody takes it.

    It goes past Python's buffers: the main thread may stand still with their locks.
    """
    with contextlib.suppress(OSError):
        if os.isatty(2):  # a bar may stand there, and has hidden the cursor
            line = f"\n{_SHOW_CURSOR if last else ''}{line}"
        if os.name != "posix" or select.select([], [2], [], 0.5)[1]:
            os.write(2, f"{line}\n".encode("utf-8", "backslashreplace"))


@functools.cache
def _mind_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_begin_anew)


def _begin_anew() -> None:
    """In a child made by fork the signals are what they were before, and nothing is asked for.

    Ctrl-C reaches a whole group of processes. The workers of a polite stretch must live until its step is done, so
    that one is left to their parent.
    """
    global _NOW
    old, _NOW = _NOW, _Requests()
    for number, handler in old.before.items():
        stays = number == signal.SIGINT and old.polite
        signal.signal(number, signal.SIG_IGN if stays else handler)
    if old.ends is not None:
        signal.set_wakeup_fd(-1)
        for end in old.ends:
            end.close()
