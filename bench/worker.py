"""A contender in a process of its own, which does one thing at a time when it is told to."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from bench.contender import Contender, Work

_THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
_STOP = "stop"


class WorkerError(RuntimeError):
    """A contender could not do its work."""


class Worker:
    """The process of one contender.

    Each has its own thread pools and memory, so none slows another down while it waits.
    """

    def __init__(self, contender: Contender, *, threads: int) -> None:
        self.take(contender)
        self._failed = False
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, threads), daemon=True)
        with _environment({name: str(threads) for name in _THREAD_SETTINGS} | dict(contender.environment)):
            self._process.start()
        theirs.close()

    def take(self, contender: Contender) -> None:
        """Do this contender's work from now on."""
        self.contender = contender
        self.seconds: list[float] = []
        self.units: list[float] = []

    def prove(self) -> list[float]:
        """The numbers that are compared before anything is timed."""
        return [float(number) for number in self._ask("prove")]

    def warm_up(self) -> None:
        """A block that is not counted."""
        self._ask("run")

    def block(self) -> None:
        """A block that is counted."""
        seconds, units = self._ask("run")
        self.seconds.append(seconds)
        self.units.append(units)

    def facts(self) -> dict[str, Any]:
        """What the work tells of itself."""
        return dict(self._ask("facts"))

    @property
    def seconds_per_unit(self) -> list[float]:
        """The time of a unit in each block."""
        return [seconds / units for seconds, units in zip(self.seconds, self.units, strict=True)]

    @property
    def alive(self) -> bool:
        """Whether it can be asked for more; a contender that failed takes its process with it."""
        return not self._failed and self._process.is_alive()

    def close(self) -> None:
        """End the process."""
        if self._process.is_alive():
            with contextlib.suppress(OSError):  # it may end by itself just now
                self._pipe.send(_STOP)
            self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.terminate()

    def _ask(self, command: str) -> Any:
        self._pipe.send((command, self.contender))
        try:
            done, answer = self._pipe.recv()
        except EOFError:
            self._failed = True
            raise WorkerError(f"the process of {self.contender.name!r} ended") from None
        if not done:
            self._failed = True
            raise WorkerError(f"{self.contender.name!r} failed: {answer}")
        return answer


@contextlib.contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _serve(pipe: Connection, threads: int) -> None:
    _stay_on_cores(threads)
    work, held = None, None
    for command, contender in iter(pipe.recv, _STOP):
        try:
            if work is None or contender != held:
                work = None  # the work before makes room first
                module, _, name = contender.maker.partition(":")
                work, held = getattr(importlib.import_module(module), name)(**contender.settings), contender
            pipe.send((True, _COMMANDS[command](work)))
        except Exception as error:
            pipe.send((False, f"{type(error).__name__}: {error}"))
            raise


def _stay_on_cores(number: int) -> None:
    """Keep to the last cores, whatever a library makes of the number of threads; the first one serves the system."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-number:])


def _timed(work: Work) -> tuple[float, float]:
    began = time.perf_counter()
    units = work.run()
    return time.perf_counter() - began, units


_COMMANDS: dict[str, Callable[[Work], Any]] = {
    "prove": lambda work: work.prove(),
    "run": _timed,
    "facts": lambda work: getattr(work, "facts", dict)(),
}
