"""States as JSON values beside a table of tensors, and back to the bit: what a checkpoint holds.

Only plain values are known, so a file can describe nothing but data: None, bool, int, float, str, list, tuple, dict,
tensors and NumPy arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corecur.bundle.layout import DTYPES
from corecur.bundle.strict_json import is_plain
from corecur.errors import BundleError, ConfigError

# Files hold numbers of at most 40 digits.
_MOST = 10**39
_LONGEST_NAME, _MOST_AXES = 512, 16
_KEYS = (str, int, float, bool, type(None), np.integer, np.floating)
# The types of tensors that stand in a file as themselves where they are finite, and those that may stand there as
# bytes: not truth values, of which not every byte is one.
_STORED = frozenset(DTYPES.values())
_AS_BYTES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128,
                  torch.int16, torch.uint16, torch.uint32, torch.uint64)
}  # fmt: skip


def frozen(value: Any) -> Any:
    """The same value with copies of its tensors, on the CPU and in their layout: what happens later does not reach it.

    >>> weight = torch.zeros(1)
    >>> kept = frozen({"w": weight})
    >>> _ = weight.add_(1)
    >>> kept
    {'w': tensor([0.])}
    """
    if isinstance(value, Tensor):
        tensor = value.detach()
        return tensor.clone() if tensor.device.type == "cpu" else tensor.cpu()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, Mapping):
        return {key: frozen(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [frozen(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor in the processor's memory holds neither NaN nor infinity.

    >>> is_finite(torch.ones(2)), is_finite(torch.tensor([1, 0]) / 0)
    (True, False)
    """
    # NumPy stays on this thread: torch would take the cores from a training that goes on beside.
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    return not tensor.is_floating_point() or bool(np.isfinite(tensor.numpy()).all())


def pack(value: Any) -> tuple[Any, dict[str, Tensor]]:
    """A state as a JSON value and the tensors it refers to by name; ConfigError for what is no plain value.

    >>> pack({"step": 3, "w": torch.ones(2)})
    ({'dict': {'step': 3, 'w': {'tensor': 'w'}}}, {'w': tensor([1., 1.])})
    """
    tensors: dict[str, Tensor] = {}
    return _pack(value, (), tensors), tensors


def unpack(packed: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The state that ``pack`` was given; BundleError for what it cannot have returned.

    >>> unpack(*pack((1, float("inf"), {2: torch.ones(1)})))
    (1, inf, {2: tensor([1.])})
    """
    if packed is None or isinstance(packed, (bool, int, float, str)):
        return packed
    if isinstance(packed, list):
        return [unpack(item, tensors) for item in packed]
    if isinstance(packed, dict) and len(packed) == 1:
        ((kind, content),) = packed.items()
        if kind in _READERS:
            return _READERS[kind](content, tensors)
    raise _unknown(packed)


def _pack(value: Any, place: tuple[str, ...], tensors: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, (int, np.integer)) and abs(int(value)) < _MOST:
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, (Tensor, np.ndarray)):
        return _pack_tensor(value, place, tensors)
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {"dict": {key: _pack(item, (*place, key), tensors) for key, item in value.items()}}
        if all(isinstance(key, _KEYS) for key in value):
            return {
                "pairs": [[_pack(k, place, tensors), _pack(v, (*place, str(k)), tensors)] for k, v in value.items()]
            }
    if isinstance(value, (list, tuple)):
        items = [_pack(item, (*place, str(number)), tensors) for number, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    raise _unfit(value, place)


def _pack_tensor(value: Any, place: tuple[str, ...], tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, np.ndarray):
        return {"array": _pack_tensor(_as_tensor(value, place), place, tensors)}
    name = "/".join(place) or "value"
    if not is_plain(name, most=_LONGEST_NAME):
        name = f"tensor {len(tensors)}"
    while name in tensors:  # "a/b" beside "b" in "a"
        name += "'"
    if not value.numel():  # NumPy's empty arrays have strides that torch does not read
        value = torch.empty(value.shape, dtype=value.dtype)
    tensors[name] = value
    packed: dict[str, Any] = {"tensor": name}
    if value.dtype not in _STORED or not is_finite(value):
        # Files hold finite values of a few types; anything else stands in them as its bytes.
        tensors[name] = value.contiguous().view(-1).view(torch.uint8)
        packed = {"bytes": [name, str(value.dtype).removeprefix("torch."), list(value.shape)]}
    # A kernel may add up in another order in another layout, so the layout is part of the state.
    strides = list(value.stride())
    if value.numel() and strides != _plain_strides(value.shape) and _is_dense(value.shape, strides):
        return {"laid": [packed, strides]}
    return packed


def _as_tensor(array: np.ndarray[Any, Any], place: tuple[str, ...]) -> Tensor:
    try:
        return torch.from_numpy(array if array.flags.writeable else array.copy())
    except (TypeError, ValueError) as error:  # texts, objects, a foreign byte order, strides below 0
        raise _unfit(array, place) from error


def _unfit(value: Any, place: tuple[str, ...]) -> ConfigError:
    return ConfigError(
        "a checkpoint cannot hold this value",
        where="/".join(place),
        got=f"{type(value).__name__}: {value!r}"[:80],
        expected="numbers, text, lists, dicts, tensors and arrays",
        do="give the object state() and load_state() that return and take those",
    )


def _read_tensor(name: Any, tensors: Mapping[str, Tensor]) -> Tensor:
    if not isinstance(name, str) or name not in tensors:
        raise _unknown(name)
    return tensors[name]


def _read_laid(content: Any, tensors: Mapping[str, Tensor]) -> Tensor:
    if not isinstance(content, list) or len(content) != 2 or not isinstance(content[1], list):
        raise _unknown(content)
    tensor, strides = unpack(content[0], tensors), content[1]
    if not isinstance(tensor, Tensor) or any(type(stride) is not int for stride in strides):
        raise _unknown(content)
    if not tensor.numel() or not _is_dense(tensor.shape, strides):
        raise _unknown(content)
    return torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype).copy_(tensor)


def _plain_strides(shape: Sequence[int]) -> list[int]:
    """The strides of a contiguous tensor."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _is_dense(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether these are the strides of the axes in some order, without holes: each the product of the sizes before."""
    if len(strides) != len(shape):
        return False
    expected, most = 1, math.prod(shape)
    for stride, size in sorted(zip(strides, shape, strict=True)):
        if size == 1:
            if not 0 <= stride <= most:
                return False
            continue
        if stride != expected:
            return False
        expected *= size
    return True


def _read_bytes(content: Any, tensors: Mapping[str, Tensor]) -> Tensor:
    if not isinstance(content, list) or len(content) != 3:
        raise _unknown(content)
    raw, kind, shape = _read_tensor(content[0], tensors), content[1], content[2]
    if not isinstance(kind, str) or kind not in _AS_BYTES or not isinstance(shape, list) or len(shape) > _MOST_AXES:
        raise _unknown(content)
    dtype = _AS_BYTES[kind]
    if any(type(size) is not int or not 0 <= size < 2**48 for size in shape):
        raise _unknown(content)
    if raw.dtype != torch.uint8 or raw.dim() != 1 or math.prod(shape) * dtype.itemsize != raw.numel():
        raise _unknown(content)
    return raw.view(dtype).view(shape)


def _read_array(content: Any, tensors: Mapping[str, Tensor]) -> Any:
    tensor = unpack(content, tensors)
    if not isinstance(tensor, Tensor) or tensor.dtype == torch.bfloat16:
        raise _unknown(content)
    return tensor.numpy()


def _read_dict(content: Any, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise _unknown(content)
    return {key: unpack(item, tensors) for key, item in content.items()}


def _read_pairs(content: Any, tensors: Mapping[str, Tensor]) -> dict[Any, Any]:
    if not isinstance(content, list) or any(not isinstance(pair, list) or len(pair) != 2 for pair in content):
        raise _unknown(content)
    keys = [unpack(pair[0], tensors) for pair in content]
    if any(not isinstance(key, (str, int, float, bool, type(None))) for key in keys):
        raise _unknown(content)
    return dict(zip(keys, (unpack(pair[1], tensors) for pair in content), strict=True))


def _read_tuple(content: Any, tensors: Mapping[str, Tensor]) -> tuple[Any, ...]:
    if not isinstance(content, list):
        raise _unknown(content)
    return tuple(unpack(item, tensors) for item in content)


def _read_float(content: Any, tensors: Mapping[str, Tensor]) -> float:
    if content not in ("nan", "inf", "-inf"):
        raise _unknown(content)
    return float(content)


_READERS: dict[str, Callable[[Any, Mapping[str, Tensor]], Any]] = {
    "tensor": _read_tensor,
    "laid": _read_laid,
    "bytes": _read_bytes,
    "array": _read_array,
    "dict": _read_dict,
    "pairs": _read_pairs,
    "tuple": _read_tuple,
    "float": _read_float,
}


def _unknown(packed: Any) -> BundleError:
    return BundleError("bad-state", f"the checkpoint holds a value of no known form: {str(packed)[:60]!r}")
