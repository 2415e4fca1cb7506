"""The native library: its vector functions against NumPy in float64, its tails against guard values, its choice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from corecur.kernels.library import ISAS, table
from corecur.kernels.reference import sigmoid
from tests.kernels.instruction_sets import TABLES, isa
from tests.kernels.needs_kernels import needs_kernels

__all__ = ["isa"]

Floats = np.ndarray[Any, np.dtype[np.float32]]
#: Name -> its number in csrc/table.cpp, the truth, and the bounds that csrc/simd.hpp states: units in the last place,
#: and from which x on they hold.
FUNCTIONS: dict[str, tuple[int, Callable[[Any], Any], float, float]] = {
    "exp": (0, np.exp, 1.1, -87.0),
    "sigmoid": (1, sigmoid, 2.5, -87.0),
    "tanh": (2, np.tanh, 3.0, -np.inf),
}
every_function = pytest.mark.parametrize("function", FUNCTIONS)


def mapped(function: str, x: Floats) -> Floats:
    y = np.empty_like(x)
    table().map(FUNCTIONS[function][0], x.ctypes.data, y.ctypes.data, len(x))
    return y


def floats(step: int) -> Iterator[Floats]:
    """Every ``step``-th of all finite floats by their bits, so of every exponent, in pieces."""
    piece = step << 20
    for first in range(0, 1 << 32, piece):
        bits = np.arange(first, min(first + piece, 1 << 32), step, dtype=np.uint64).astype(np.uint32)
        x = bits.view(np.float32)
        yield x[np.isfinite(x)]


def units_away(function: str, x: Floats) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The distance of each result from the truth in units of the truth's last place."""
    true = FUNCTIONS[function][1](x.astype(np.float64))
    unit = np.spacing(np.maximum(np.abs(true), np.finfo(np.float32).tiny).astype(np.float32)).astype(np.float64)
    return np.abs(mapped(function, x).astype(np.float64) - true) / unit


def assert_close_everywhere(function: str, step: int) -> None:
    """The stated bounds, over every ``step``-th float."""
    _, _, units, least = FUNCTIONS[function]
    for x in floats(step):
        inside = x[(x >= least) & (x <= (87 if function == "exp" else np.inf))]
        if len(inside):
            assert units_away(function, inside).max() <= units
        beyond = mapped(function, x[x < least])
        assert ((beyond > 0) & (beyond < 2e-38)).all()


@every_function
def test_functions_are_within_the_bounds_they_state(isa: str, function: str) -> None:
    assert_close_everywhere(function, 1009)


@every_function
def test_what_is_no_number_stays_so_and_infinities_give_the_limits(isa: str, function: str) -> None:
    bits = np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF] * 9, np.uint32)  # quiet, signalling, of both signs
    assert np.isnan(mapped(function, bits.view(np.float32))).all()
    low, zero, also_zero, high = mapped(function, np.array([-np.inf, 0.0, -0.0, np.inf], np.float32))
    least, most = {"exp": (2e-38, 6e37), "sigmoid": (2e-38, 1.0), "tanh": (-1.0, 1.0)}[function]
    assert zero == also_zero == {"exp": 1.0, "sigmoid": 0.5, "tanh": 0.0}[function]
    assert low == -1.0 if function == "tanh" else 0 < low < least
    assert high > most if function == "exp" else high == most


def test_functions_grow_with_their_argument(isa: str) -> None:
    x = np.linspace(-100, 100, 200_001, dtype=np.float32)
    for function, (_, _, units, _) in FUNCTIONS.items():
        y = mapped(function, x)
        assert (np.diff(y) >= -units * np.spacing(np.abs(y[1:]))).all()
        assert np.isfinite(y).all()


def test_tanh_is_odd_and_keeps_denormals(isa: str) -> None:
    x = np.concatenate([np.array([1e-45, 1e-40, 1e-38], np.float32), np.logspace(-37, 2, 5000, dtype=np.float32)])
    np.testing.assert_array_equal(mapped("tanh", x[:3]), x[:3])
    apart = np.abs(mapped("tanh", -x) + mapped("tanh", x))
    assert (apart <= 3 * np.spacing(np.abs(mapped("tanh", x)))).all()


@every_function
def test_nothing_beyond_the_last_number_is_read_or_written(isa: str, function: str) -> None:
    for count in range(40):
        room = np.full(count + 40, np.nan, np.float32)  # whatever is read beyond would be no number
        room[:count] = np.linspace(-3, 3, count)
        into = np.full(count + 40, 123.0, np.float32)
        table().map(FUNCTIONS[function][0], room.ctypes.data, into.ctypes.data, count)
        np.testing.assert_array_equal(
            into[:count], mapped(function, np.resize(room[:count], 64 if count else 0))[:count]
        )
        np.testing.assert_array_equal(into[count:], 123.0)


def run_with(asked: str, code: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"CORECUR_KERNELS": asked}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@needs_kernels
def test_an_instruction_set_can_be_asked_for() -> None:
    worst = list(TABLES)[-1]
    done = run_with(worst, "from corecur import kernels; print(kernels.info().isa, kernels.info().lanes)")
    assert done.stdout.split() == [worst, str(TABLES[worst].lanes)]


def test_another_instruction_set_is_refused_by_name() -> None:
    code = "from corecur import kernels; kernels.info()"
    assert "unknown native kernels asked for in CORECUR_KERNELS" in run_with("avx1024", code).stderr
    missing = next(name for name in ISAS if name not in TABLES)
    if TABLES:
        assert f"no such instruction set\n  got:      CORECUR_KERNELS={missing}" in run_with(missing, code).stderr
