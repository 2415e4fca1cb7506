"""Old pickle files that hold only numbers, text and arrays, read without letting them call anything.

A pickle is a program: it names functions and calls them. Here a name finds its stand-in in a closed table or the file
is refused; the stand-ins do nothing but put an array together from bytes, by our own rules. NumPy's own unpickling code
never runs.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from corecur.errors import DataError

MAX_BYTES = 2**30
DTYPES = frozenset({"u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"})
MAX_TUPLES = 1000
NESTING_OPCODES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"})
MEMO_OPCODES = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
# What unpickling raises on damaged or hostile bytes.
FAILURES = (
    pickle.UnpicklingError,
    ValueError,
    TypeError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    UnicodeError,
    struct.error,
    RecursionError,
    MemoryError,
)


def read_plain_pickle(path: Path) -> Any:
    """The dicts, lists, text, bytes, numbers and arrays in a pickle file (Python 2 strings as bytes).

    Raises DataError for a file that names anything outside the closed table, without running it, and for damaged ones.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a").write_bytes(pickle.dumps({"data": np.arange(3, dtype=np.uint8)}))
    ...     read_plain_pickle(Path(folder, "a"))
    {'data': array([0, 1, 2], dtype=uint8)}
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(
                "the pickle file is too large", where=path, got=f"{size:,} bytes", expected=f"at most {MAX_BYTES:,}"
            )
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=path) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of odd escapes in old text
            _check_program(data)
            return _finished(_PlainUnpickler(io.BytesIO(data), encoding="bytes").load())
    except FAILURES as error:
        raise DataError(
            "the pickle file holds more than numbers, text and arrays, or is damaged",
            where=path,
            got=" ".join(str(error).split())[:200] or type(error).__name__,
            expected="the “python version” of CIFAR-10 or CIFAR-100",
            do="download the official file again; a pickle of unknown origin is not safe to open elsewhere either",
        ) from error


class _StandIn:
    """A name a pickle may use. It has no state a pickle could set, and only ``make`` can be done with it."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any] | None = None) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        if self._make is None:
            raise pickle.UnpicklingError("a type is called that may only be named")
        return self._make(*arguments)

    def __setstate__(self, state: Any) -> NoReturn:
        raise pickle.UnpicklingError("a function is given a state")


class _DtypeShell:
    """What a pickle says of an array's number type: ``dtype('u1', …)``, then its byte order."""

    __slots__ = ("name", "order")

    def __init__(self, name: Any, *_: Any) -> None:
        text = name.decode("ascii") if isinstance(name, bytes) else name
        if not isinstance(text, str) or text not in DTYPES:
            raise pickle.UnpicklingError(f"an array of type {text!r}")
        self.name = text
        self.order = "|"

    def __setstate__(self, state: Any) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"a byte order {order!r}")
        self.order = order

    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.name)


class _ArrayShell:
    """An array on its way: made empty, then given (version, shape, dtype, column-major, bytes)."""

    __slots__ = ("array",)

    def __init__(self, *_: Any) -> None:
        self.array: NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, column_major, raw = state
        self.array = _array_from(raw, dtype, shape, "F" if column_major else "C")


def _array_from(raw: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    if not isinstance(dtype, _DtypeShell) or not isinstance(raw, (bytes, bytearray)) or order not in ("C", "F"):
        raise pickle.UnpicklingError("an array that is not made of bytes")
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape) or len(shape) > 8:
        raise pickle.UnpicklingError("an array without a shape")
    if math.prod(shape) * dtype.dtype().itemsize != len(raw):
        raise pickle.UnpicklingError(f"an array of shape {shape} in {len(raw)} bytes")
    return np.frombuffer(bytes(raw), dtype=dtype.dtype()).reshape(shape, order=order)


def _latin1(text: Any, encoding: Any = None) -> bytes:
    """How Python 3 writes bytes into protocol 2: text to be encoded."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError("text in another encoding")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How Python 3 writes empty bytes into protocol 2."""
    return b""


NAMES: dict[tuple[str, str], _StandIn] = {
    ("numpy", "ndarray"): _StandIn(),
    ("numpy", "dtype"): _StandIn(_DtypeShell),
    ("numpy.core.multiarray", "_reconstruct"): _StandIn(_ArrayShell),
    ("numpy._core.multiarray", "_reconstruct"): _StandIn(_ArrayShell),
    ("numpy.core.numeric", "_frombuffer"): _StandIn(_array_from),
    ("numpy._core.numeric", "_frombuffer"): _StandIn(_array_from),
    ("_codecs", "encode"): _StandIn(_latin1),
    ("__builtin__", "bytes"): _StandIn(_no_bytes),
    ("builtins", "bytes"): _StandIn(_no_bytes),
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        stand_in = NAMES.get((module_name, global_name))
        if stand_in is None:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, which was not run")
        return stand_in


def _check_program(data: bytes) -> None:
    """Read the instructions without following them, and refuse what exhausts memory or the stack.

    The largest memo number sets how much memory is taken; the hash of a tuple in a tuple in a tuple … recurses in C.
    """
    tuples = 0
    for opcode, argument, _ in pickletools.genops(data):
        tuples += opcode.name in NESTING_OPCODES
        if opcode.name in MEMO_OPCODES and int(argument or 0) > len(data):
            raise pickle.UnpicklingError("a memo larger than the file")
        if tuples > MAX_TUPLES:
            raise pickle.UnpicklingError(f"more than {MAX_TUPLES:,} tuples")


def _finished(value: Any) -> Any:
    """The value with finished arrays in the place of shells, in lists and dicts too."""
    if isinstance(value, _ArrayShell):
        if value.array is None:
            raise pickle.UnpicklingError("an array without content")
        return value.array
    if isinstance(value, dict):
        return {key: _finished(item) for key, item in value.items()}
    if isinstance(value, list) and any(isinstance(item, (_ArrayShell, list, dict)) for item in value):
        return [_finished(item) for item in value]
    return value
