"""Native functions one after the other in one native call, their memory given anew for each run.

Between two calls from Python the way back into it takes as long as a small layer, and longer where the kernels have
emptied the caches of all that Python needs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from corecur.kernels.library import Struct, table

#: The functions a program can call, in the order of their numbers in csrc/program.cpp.
FUNCTIONS = (
    "convolution_forward", "convolution_backward", "dense_forward", "dense_backward", "recurrent_forward",
    "recurrent_backward", "turn_forward", "turn_backward", "cross_entropy", "cross_entropy_backward",
    "softmax", "taps_forward", "taps_backward", "gather",
)  # fmt: skip


class Place(NamedTuple):
    """Where a pointer of a job points: so many bytes from one of the addresses that come with a run.

    A field that holds a number of 64 bits can have a place too: what comes with the run is the number then.
    """

    address: int
    offset: int = 0


class Call(NamedTuple):
    """One function, its job without the pointers that change from run to run, and where those point."""

    function: str
    job: ctypes.Structure
    places: Mapping[str, Place]
    threads: int
    #: What the job's other pointers point to.
    held: Any = None


class _Place(ctypes.Structure):
    """``CorecurPlace`` of csrc/program.hpp."""

    _fields_ = [("field", ctypes.c_int32), ("base", ctypes.c_int32), ("offset", ctypes.c_int64)]


class _Call(Struct):
    """``CorecurCall`` of csrc/program.hpp."""

    _fields_ = [
        ("function", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("job", ctypes.c_void_p),
        ("size", ctypes.c_int64),
        ("places", ctypes.c_void_p),
        ("count", ctypes.c_int64),
    ]


class Program:
    """Calls in their order; made once for jobs of the same sizes, run as often as one likes, by any thread.

    >>> Program([], addresses=0).run([])
    """

    def __init__(self, calls: Sequence[Call], *, addresses: int) -> None:
        self.calls = tuple(calls)
        self._held: list[Any] = []
        self._calls = (_Call * len(calls))(*map(self._native, calls))
        self._addresses = ctypes.c_void_p * addresses

    def _native(self, call: Call) -> _Call:
        job = type(call.job).from_buffer_copy(call.job)  # nobody else's, whatever becomes of the one given
        fields = type(job)
        found = [_Place(getattr(fields, name).offset, *place) for name, place in call.places.items()]
        places = (_Place * len(found))(*found)
        self._held += [job, places, call.held]
        return _Call(
            FUNCTIONS.index(call.function), call.threads, ctypes.addressof(job), ctypes.sizeof(job),
            ctypes.addressof(places), len(call.places),
        )  # fmt: skip

    def run(self, addresses: Sequence[int | None]) -> None:
        """Run all calls; where an address is None, the pointers into it are null."""
        table().run_program(ctypes.byref(self._calls), len(self._calls), ctypes.byref(self._addresses(*addresses)))
