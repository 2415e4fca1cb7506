from __future__ import annotations

import os
import pickle
import pickletools
import struct
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from corecur.data.plain_pickle import NAMES, read_plain_pickle
from corecur.errors import DataError


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


class Calls:
    """A pickle of this calls ``function(*arguments)`` where it is loaded."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["u1", "<i4", ">i4", "f8", "u8"])
def test_arrays_come_back(tmp_path: Path, protocol: int, dtype: str) -> None:
    array = np.arange(12).reshape(3, 4).astype(dtype)
    for case in (array, np.asfortranarray(array), array[:0]):
        data = pickle.dumps({"data": case, "more": [case, {"deep": case}]}, protocol=protocol)
        found = read_plain_pickle(write(tmp_path / "a", data))
        for copy in (found["data"], found["more"][0], found["more"][1]["deep"]):
            assert np.array_equal(copy, case)
            assert copy.dtype == case.dtype


@given(st.recursive(st.none() | st.integers() | st.text() | st.floats(allow_nan=False) | st.booleans(), st.lists))
def test_plain_values_come_back(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.mktemp("pickle") / "a"
    assert read_plain_pickle(write(path, pickle.dumps(value, protocol=4))) == value


def test_python_2_text_comes_back_as_bytes(tmp_path: Path) -> None:
    assert read_plain_pickle(write(tmp_path / "a", b"(dp0\nS'labels'\np1\n(lp2\nI3\nas.")) == {b"labels": [3]}


HOSTILE = {
    "os.system": Calls(os.system, "touch ran"),
    "eval": Calls(eval, "open('ran', 'w').close()"),
    "open": Calls(open, "ran", "w"),
    "subprocess": Calls(subprocess.check_call, ["touch", "ran"]),
    "attribute of a permitted module": Calls(np.save, "ran", 1),
    "numpy loader": Calls(np.load, "ran"),
    "getattr": Calls(getattr, "text", "upper"),
    "a class": OrderedDict(a=1),
    "a tensor": torch.zeros(1),
    "an object array": np.array([{}], dtype=object),
    "a structured array": np.zeros(2, dtype=[("a", "u1")]),
    "complex": 1j,
    "a set of classes": {int},
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_anything_but_data_is_refused_without_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "batch", pickle.dumps({"data": HOSTILE[name]}, protocol=protocol))
    with pytest.raises(DataError, match="more than numbers, text and arrays"):
        read_plain_pickle(path)
    assert [file.name for file in tmp_path.iterdir()] == ["batch"]


def test_the_hostile_file_would_run_with_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(HOSTILE["os.system"]))
    assert (tmp_path / "ran").exists()


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n"
PROGRAMS = {
    "a state for a function": ARRAY + b"}S'__call__'\nI1\nsb.",
    "slots for a function": ARRAY + b"(N}S'_make'\nI1\nstb.",
    "a type that is called": b"cnumpy\nndarray\n(I3\ntR.",
    "a new object of a type": b"\x80\x02cnumpy\nndarray\n(I3\nt\x81.",
    "an array never finished": ARRAY + b"(tR.",
    "an array of too few bytes": ARRAY + b"(tR(I1\n(I9\ntcnumpy\ndtype\n(S'u1'\ntRI00\nS'abc'\ntb.",
    "an array of huge shape": ARRAY + b"(tR(I1\n(L9999999999999L\ntcnumpy\ndtype\n(S'u1'\ntRI00\nS''\ntb.",
    "a state for bytes": b"S'abc'\n}S'a'\nI1\nsb.",
    "another codec": b"c_codecs\nencode\n(Vabc\nVrot13\ntR.",
    "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.tobytes\x93.",
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent id": b"Pabc\n.",
    "bytes of a length": b"c__builtin__\nbytes\n(I9999999999\ntR.",
    "an out-of-band buffer": b"\x80\x05\x97.",
    "a huge memo": b"\x80\x02Nr" + struct.pack("<I", 2**31 - 2) + b".",
    "a huge string": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc.",
    "a tuple too deep to hash": b"\x80\x02})" + b"\x85" * 10**6 + b"K\x01s.",
    "a list too deep to look through": b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".",
    "nothing": b"",
    "no end": b"\x80\x02}",
    "text": b"hello world",
    "an empty stack": b".",
}


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_hand_made_programs_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="more than numbers, text and arrays"):
        read_plain_pickle(write(tmp_path / "a", PROGRAMS[name]))


@given(st.data())
def test_damaged_files_give_one_kind_of_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = bytearray(pickle.dumps({"data": np.arange(5, dtype=np.uint8), "labels": [1, 2]}, protocol=2))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = write(tmp_path_factory.mktemp("pickle") / "a", bytes(whole))
    try:
        read_plain_pickle(path)
    except DataError as error:
        assert str(path) in str(error)


def test_the_table_is_closed_and_small() -> None:
    assert {module.partition(".")[0] for module, _ in NAMES} == {"numpy", "_codecs", "builtins", "__builtin__"}
    assert len(NAMES) == 9


def test_reading_does_not_import_what_a_file_names(tmp_path: Path) -> None:
    assert "antigravity" not in sys.modules
    with pytest.raises(DataError, match="antigravity.fly"):
        read_plain_pickle(write(tmp_path / "a", b"cantigravity\nfly\n."))
    assert "antigravity" not in sys.modules


def test_too_large_and_missing_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_plain_pickle(tmp_path / "missing")
    monkeypatch.setattr("corecur.data.plain_pickle.MAX_BYTES", 3)
    with pytest.raises(DataError, match="too large"):
        read_plain_pickle(write(tmp_path / "a", pickletools.optimize(pickle.dumps("hello"))))
