"""The kernels of every instruction set that the native library and this machine have, to be tested one by one."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Iterator

import pytest

from corecur.kernels import library
from corecur.kernels.library import ISAS, Library, Table, info


def tables() -> dict[str, Table]:
    """Each instruction set's kernels, the best first; none without the library."""
    if info().path is None:
        return {}
    opened = ctypes.CDLL(str(info().path))
    opened.corecur_kernels.restype = ctypes.POINTER(Table)
    found = {isa: opened.corecur_kernels(isa.encode()) for isa in ISAS}
    return {isa: pointer.contents for isa, pointer in found.items() if pointer}


TABLES = tables()


@pytest.fixture(params=TABLES or [pytest.param(None, marks=pytest.mark.skip(reason="no native kernels"))])
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Everything native runs by this instruction set during the test."""
    name: str = request.param
    known = dataclasses.replace(info(), isa=name, lanes=TABLES[name].lanes)
    monkeypatch.setattr(library, "_library", lambda: Library(TABLES[name], known))
    yield name
