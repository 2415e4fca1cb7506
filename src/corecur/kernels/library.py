"""The native library: found, loaded, matched to the machine's instruction set and to torch's threads; ``info``."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from corecur.cores import usable_cores
from corecur.errors import ConfigError, KernelNotice

#: The struct and function layout this module is written for; ``corecur_version`` of csrc/library.cpp.
VERSION = 9
#: Instruction sets, the best first; which of them the library has depends on the processor it was built for.
ISAS = ("avx512", "avx2", "neon", "baseline")
#: Kinds of processors that differ in what is faster on them: "intel" is served by MKL, which makes torch's products, as
#: no other is; "zen 5" multiplies AVX-512 in its full width, twice as fast as AMD's processors before it.
PROCESSORS = ("other", "intel", "zen 5")
#: Where Linux says how large it is, in KiB.
_SECOND_CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")
_NAMES = ("libcorecur_kernels.so", "libcorecur_kernels.dylib")


class Table(ctypes.Structure):
    """The functions of one instruction set: ``CorecurKernels`` of csrc/kernels.hpp."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("lanes", ctypes.c_int),
        ("map", ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
        ("peak", ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64)),
        ("recurrent_forward", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)),
        ("recurrent_backward", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)),
        ("row_recurrent_forward", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)),
        ("row_recurrent_backward", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)),
        ("optimizer_step", ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, ctypes.c_int64, ctypes.c_int)),
        (
            "gradients_clip",
            ctypes.CFUNCTYPE(
                ctypes.c_double,
                *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_float, ctypes.c_void_p),
                ctypes.c_int,
            ),
        ),
        ("stage_pack", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)),
        (
            "stage_steps",
            ctypes.CFUNCTYPE(
                ctypes.c_int, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, *[ctypes.c_void_p] * 6, ctypes.c_int
            ),
        ),
        (
            "stages_at_once",
            ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int),
        ),
        ("generate", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)),
        ("convolution_room", ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)),
        ("convolution_forward", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)),
        ("convolution_backward", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)),
        ("softmax", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)),
        ("cross_entropy", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)),
        ("cross_entropy_backward", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)),
        (
            "products",
            ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, *[ctypes.c_void_p] * 4, ctypes.c_int),
        ),
        ("dense_forward", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)),
        ("dense_backward", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)),
        ("run_program", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)),
    ]


#: What a struct takes as it is; of all else it takes the address.
_NUMBERS = frozenset((int, bool, float, type(None)))


class Struct(ctypes.Structure):
    """What a native function is given."""

    @classmethod
    def of(cls, **fields: Any) -> Self:
        """The struct with these fields, zeros for the others; of tensors their addresses, which stay the caller's."""
        return cls(**{name: value if type(value) in _NUMBERS else value.data_ptr() for name, value in fields.items()})


@dataclass(frozen=True)
class Info:
    """What runs the native kernels: ``isa`` is None where nothing does, and ``why`` says why."""

    isa: str | None
    lanes: int
    threads: str
    path: Path | None
    why: str


@dataclass(frozen=True)
class Library:
    """A loaded library and what is known of it."""

    table: Table | None
    info: Info
    processor: str = PROCESSORS[0]


def info() -> Info:
    """Which native library, instruction set and threads the kernels use here, or why there is none.

    >>> info().isa in (*ISAS, None)
    True
    """
    return _library().info


def native() -> Table | None:
    """The kernels of the best instruction set that the machine has; None, with one notice, where there are none."""
    library = _library()
    if library.table is None:
        _give_notice()
    return library.table


def table() -> Table:
    """The same where a kernel has been chosen already; ConfigError where there are none."""
    found = native()
    if found is None:
        raise ConfigError("there are no native kernels", got=info().why)
    return found


def threads() -> int:
    """How many threads a native call may use: as many as torch's operations."""
    return torch.get_num_threads()


@functools.cache
def cores() -> int:
    """How many cores this process may use, as they were when first asked for: asking takes as long as a small step.

    >>> cores() >= 1
    True
    """
    return usable_cores()


def processor() -> str:
    """The kind of processor, as far as a choice of kernels depends on it: one of ``PROCESSORS``.

    >>> processor() in PROCESSORS
    True
    """
    return _library().processor


@functools.cache
def second_cache() -> int:
    """Bytes of a core's second cache; half a mebibyte where the system does not tell.

    >>> second_cache() >= 1 << 17
    True
    """
    try:
        found = int(_SECOND_CACHE.read_text().strip().removesuffix("K")) << 10
    except (OSError, ValueError):
        found = 0
    return found if found >= 1 << 17 else 1 << 19


@functools.cache
def _give_notice() -> None:
    why = _library().info.why
    warnings.warn(f"corecur runs without its native kernels, several times slower: {why}", KernelNotice, stacklevel=3)


@functools.cache
def _library() -> Library:
    """What the environment variable CORECUR_KERNELS asks for: an instruction set, ``off``, or the best there is."""
    asked = os.environ.get("CORECUR_KERNELS", "")
    if asked not in ("", "off", *ISAS):
        raise ConfigError(
            "unknown native kernels asked for in CORECUR_KERNELS", got=asked, expected=", ".join((*ISAS, "off"))
        )
    if asked == "off":
        return _absent("they are switched off (CORECUR_KERNELS=off)")
    path = next((path for path in _places() if path.is_file()), None)
    if path is None:
        return _absent("the package was installed without a C++ compiler; install g++ or clang and corecur anew")
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        return _absent(f"{path.name} cannot be loaded ({error}); install corecur anew")
    if loaded.corecur_version() != VERSION or loaded.corecur_table_size() != ctypes.sizeof(Table):
        return _absent(f"{path.name} is of another version of corecur; install corecur anew")
    loaded.corecur_kernels.restype = ctypes.POINTER(Table)
    found = loaded.corecur_kernels(asked.encode() if asked else None)
    if not found:
        raise ConfigError("this machine or this library has no such instruction set", got=f"CORECUR_KERNELS={asked}")
    shared = _share_threads(loaded)
    table: Table = found.contents
    isa = table.name.decode()
    known = Info(isa, table.lanes, shared, path, "the best instruction set of this machine")
    return Library(table, known, PROCESSORS[loaded.corecur_processor()])


def _absent(why: str) -> Library:
    return Library(None, Info(None, 0, "", None, why))


def _places() -> list[Path]:
    """Where the library may lie: a file that CORECUR_KERNEL_LIBRARY names, or beside this package's modules."""
    named = os.environ.get("CORECUR_KERNEL_LIBRARY")
    if named:
        return [Path(named)]
    return [Path(folder) / name for folder in sys.modules[__package__].__path__ for name in _NAMES]


def _share_threads(loaded: ctypes.CDLL) -> str:
    """Let the library run its loops on the OpenMP threads that torch has, so that there is one pool of them."""
    symbols = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
    for library in (Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*"):
        try:
            # Symbols are looked for in libtorch_cpu and then in what it was linked with: the runtime it uses itself.
            entry = ctypes.CDLL(str(library))
            addresses = [ctypes.cast(getattr(entry, symbol), ctypes.c_void_p) for symbol in symbols]
        except (OSError, AttributeError):
            continue
        share: Callable[..., Any] = loaded.corecur_use_threads_of
        share(*addresses)
        return "torch's OpenMP threads"
    return "one thread: torch's OpenMP runtime was not found"
