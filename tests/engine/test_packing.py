"""States to the file and back, through the very bytes that a checkpoint holds; and files that nobody wrote."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor

from corecur.bundle.layout import CHECKPOINT, STATE
from corecur.bundle.member_files import open_plain
from corecur.bundle.strict_json import parse_json
from corecur.bundle.tensor_file import TensorFile, tensor_content
from corecur.bundle.write import as_json
from corecur.engine.packing import frozen, pack, unpack
from corecur.errors import BundleError, ConfigError

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
OTHERS = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32,
    torch.uint64, torch.complex64,
)  # fmt: skip
texts = some.text(some.characters(exclude_categories=["Cs"]), max_size=12)


@some.composite
def tensors(draw: some.DrawFn) -> Tensor:
    """Any bytes of any type, in any dense layout; NaN, infinity and minus zero come often."""
    shape = draw(some.lists(some.integers(0, 3), max_size=4))
    dtype = draw(some.sampled_from(FLOATS + OTHERS))
    count = math.prod(shape)
    if dtype == torch.bool:
        flat = torch.tensor(draw(some.lists(some.booleans(), min_size=count, max_size=count)), dtype=torch.bool)
    elif dtype in FLOATS:
        numbers = draw(some.lists(some.floats(width=32), min_size=count, max_size=count))
        flat = torch.tensor(numbers, dtype=torch.float32).to(dtype)
    else:
        raw = draw(some.binary(min_size=count * dtype.itemsize, max_size=count * dtype.itemsize))
        flat = torch.frombuffer(bytearray(raw), dtype=dtype) if count else torch.empty(0, dtype=dtype)
    order = draw(some.permutations(range(len(shape))))
    back = [order.index(axis) for axis in range(len(shape))]
    return flat.view([shape[axis] for axis in order]).permute(back)


plain = some.none() | some.booleans() | some.integers(-(10**38), 10**38) | some.floats() | texts
arrays = tensors().filter(lambda t: t.dtype != torch.bfloat16).map(lambda t: t.numpy().copy())
keys = some.none() | some.integers(-9, 9) | some.floats(allow_nan=False) | texts
states = some.recursive(
    plain | tensors() | arrays,
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.lists(inner, max_size=3).map(tuple)
        | some.dictionaries(texts, inner, max_size=3)
        | some.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    """Equal in type, to the bit, and in layout."""
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        laid = not a.numel() or a.stride() == b.stride()
        return a.dtype == b.dtype and a.shape == b.shape and laid and bits(a) == bits(b)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return math.isnan(a) and math.isnan(b) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    return bool(a == b)


def bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def through_files(state: Any, folder: Path) -> Any:
    packed, table = pack(state)
    content = as_json(packed)
    with (folder / "t").open("wb") as file:
        tensor_content(table)(file.write)
    held = TensorFile(open_plain(folder / "t"), where=folder)
    parsed = parse_json(content, CHECKPOINT.limits[STATE], where=folder, name=STATE)
    return unpack(parsed, held.load(held.table))


@settings(max_examples=100, deadline=None)
@given(states)
def test_any_state_comes_back_to_the_bit(tmp_path_factory: pytest.TempPathFactory, state: Any) -> None:
    assert same(through_files(state, tmp_path_factory.getbasetemp()), state)


def test_layouts_come_back(tmp_path: Path) -> None:
    kernel = torch.randn(8, 1, 3, 3).to(memory_format=torch.channels_last)
    broken = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
    broken[0, 0, 0, 0] = torch.nan
    for tensor in (kernel, broken, torch.randn(3, 5).t(), torch.zeros(1, 2, 1).transpose(0, 2)):
        back = through_files({"w": tensor}, tmp_path)["w"]
        assert back.stride() == tensor.stride() and bits(back) == bits(tensor)


def test_names_that_no_file_takes(tmp_path: Path) -> None:
    state = {"a/b": torch.zeros(1), "a": {"b": torch.ones(1)}, "x" * 600: torch.ones(2), "\x00\u202e": torch.ones(3)}
    assert same(through_files(state, tmp_path), state)


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, b"bytes", 10**40, {(1, 2): 3}, np.array(["text"]), np.array([None]), lambda: 0],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_no_plain_value_is_refused_by_its_place(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"where:    callbacks/0/held"):
        pack({"callbacks": [{"held": value}]})


def test_frozen_values_are_copies() -> None:
    from typing import NamedTuple

    class Pair(NamedTuple):
        a: Tensor
        b: Any

    weight, array = torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last), np.zeros(2)
    kept = frozen({"pair": Pair(weight, [array]), "same": weight})
    weight.add_(1)
    array += 1
    assert float(kept["pair"][0].sum()) == 0 == float(kept["same"].sum()) and kept["pair"][1][0].sum() == 0
    assert kept["same"].stride() == weight.stride()


junk = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.sampled_from(["a", "b", "float32", "bool"]),
    lambda inner: (
        some.lists(inner, max_size=4)
        | some.dictionaries(
            some.sampled_from(["tensor", "laid", "bytes", "array", "dict", "pairs", "tuple", "float", "a"]),
            inner, max_size=2,
        )
    ),
    max_leaves=12,
)  # fmt: skip
TABLE = {"a": torch.zeros(2, 3), "b": torch.zeros(8, dtype=torch.uint8)}


@settings(max_examples=400, deadline=None)
@given(junk)
def test_nothing_but_its_own_error_comes_out_of_junk(value: Any) -> None:
    try:
        unpack(value, TABLE)
    except BundleError as error:
        assert error.code == "bad-state"


@pytest.mark.parametrize(
    "packed",
    [
        {"tensor": "c"}, {"tensor": ["a"]}, {"tensor": {}}, {"dict": []}, {"pairs": {}}, {"pairs": [[1]]},
        {"pairs": [[{"tuple": [1]}, 2]]}, {"pairs": [[[], 2]]}, {"tuple": {}}, {"float": "1e400"}, {"float": []},
        {"array": 3}, {"array": None}, {"a": 1}, {}, {"tensor": "a", "dict": {}},
        {"laid": [{"tensor": "a"}, [3]]}, {"laid": [{"tensor": "a"}, [3, 2]]}, {"laid": [{"tensor": "a"}, [10**12, 1]]},
        {"laid": [{"tensor": "a"}, [True, 2]]}, {"laid": [{"tensor": "a"}, [-3, 1]]}, {"laid": [3, [1, 2]]},
        {"laid": [{"tensor": "a"}, [0, 0]]}, {"laid": "a"}, {"laid": [{"tensor": "a"}, 1]},
        {"bytes": ["b", "float32", [3]]}, {"bytes": ["b", "float32", [2, -1]]}, {"bytes": ["b", "bool", [8]]},
        {"bytes": ["b", "quint8", [8]]}, {"bytes": ["b", [], [8]]}, {"bytes": ["b", "float32", 2]},
        {"bytes": ["a", "float32", [6]]}, {"bytes": ["b", "float32", [2**70, 0]]}, {"bytes": ["b", "float32", [2.0]]},
        {"bytes": ["b", "float32", [1] * 100 + [2]]}, {"bytes": ["b", "float32", [True, 2]]},
    ],
    ids=str,
)  # fmt: skip
def test_forms_that_pack_never_gives(packed: Any) -> None:
    with pytest.raises(BundleError) as refused:
        unpack(packed, TABLE)
    assert refused.value.code == "bad-state"
