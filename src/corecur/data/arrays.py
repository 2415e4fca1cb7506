"""Somebody's arrays as checked tensors: the one place that decides dtypes and refuses what cannot be learned from.

Floating numbers become torch's default float type, uint8 inputs stay uint8, other whole numbers become int64. Memory
is shared with the caller wherever the dtype allows it; nothing here writes to it.

Shapes: N samples.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from corecur.errors import DataError

_SEVERAL = "a list of arrays is several inputs: np.stack it where each array is one sample"


def is_several(value: object) -> bool:
    """Whether this is a tuple or list of whole arrays (several inputs), not one array written as a list.

    >>> is_several([np.zeros(3), np.zeros(3)]), is_several([[1, 2], [3, 4]])
    (True, False)
    """
    if not isinstance(value, (tuple, list)) or not value:
        return False
    return all(isinstance(part, (Tensor, np.ndarray)) and part.ndim > 0 for part in value)


def as_inputs(value: object, *, where: str | None = None, finite: bool = True) -> Tensor | tuple[Tensor, ...]:
    """Inputs as tensors (N, …): an array, or a tuple of them for a model with several inputs. Raises DataError.

    >>> as_inputs(np.zeros((2, 3))).dtype, as_inputs(np.zeros(2, dtype=np.uint8)).dtype
    (torch.float32, torch.uint8)
    """
    if isinstance(value, (tuple, list)) and is_several(value):
        return tuple(
            as_tensor(part, name=f"inputs[{place}]", where=where, finite=finite) for place, part in enumerate(value)
        )
    return as_tensor(value, name="inputs", where=where, finite=finite)


def as_targets(value: object, *, where: str | None = None, finite: bool = True) -> Tensor | tuple[Tensor, ...]:
    """Targets as tensors (N, …), whole numbers as int64 whatever their width. Raises DataError.

    >>> as_targets(np.array([3, 1], dtype=np.uint8))
    tensor([3, 1])
    """
    if isinstance(value, (tuple, list)) and is_several(value):
        return tuple(_target(part, f"targets[{place}]", where, finite) for place, part in enumerate(value))
    return _target(value, "targets", where, finite)


def _target(value: object, name: str, where: str | None, finite: bool) -> Tensor:
    tensor = as_tensor(value, name=name, where=where, finite=finite, labels=True)
    return tensor if tensor.is_floating_point() else tensor.to(torch.int64)


def as_weights(value: object, samples: int) -> Tensor:
    """Sample weights as float32, (N,) or (N, T, …), one for each step. Raises DataError.

    What is refused: a wrong length, a negative weight, and no weight above 0.

    >>> as_weights([1, 2], 2)
    tensor([1., 2.])
    """
    weights = as_tensor(value, name="sample_weight").to(torch.float32)
    if weights.shape[1:] == (1,):
        weights = weights.squeeze(1)  # (N, 1) -> (N,)
    if len(weights) != samples:
        raise DataError(
            "sample_weight does not fit the samples",
            got=f"shape {tuple(weights.shape)}",
            expected=f"shape ({samples},), one weight a sample, or ({samples}, steps)",
        )
    negative = (weights < 0).nonzero()
    if len(negative):
        raise DataError(
            "sample_weight has negative numbers",
            where=f"row {int(negative[0, 0])}",
            got=f"{float(weights[tuple(negative[0])])}, and {len(negative)} in all",
            expected="0 or more",
        )
    if not bool(weights.any()):
        raise DataError("every sample_weight is 0", do="leave sample_weight out, or give some sample a weight")
    return weights


def as_tensor(
    value: object, *, name: str, where: str | None = None, finite: bool = True, labels: bool = False
) -> Tensor:
    """One array, tensor or nested list as a tensor (N, …) of a dtype to compute with.

    Raises DataError, naming ``name`` and ``where``, for what is no array of numbers, for empty data, and where
    ``finite``, for NaN and infinite numbers. ``labels`` says that boolean values are classes.

    >>> as_tensor([[1.5, 2.0]], name="inputs")
    tensor([[1.5000, 2.0000]])
    """
    place = name if where is None else f"{name}, {where}"
    tensor = value if isinstance(value, Tensor) else _from_numpy(_as_array(value, place), place)
    tensor = _computable(tensor.detach(), place, labels=labels)
    if tensor.dim() == 0:
        raise DataError("a single number is no set of samples", where=place, expected="an array (samples, …)")
    if tensor.numel() == 0:
        raise DataError(
            "there is no data", where=place, got=f"shape {tuple(tensor.shape)}", expected="at least one sample"
        )
    if finite and tensor.is_floating_point():
        _check_finite(tensor, place)
    return tensor


def _as_array(value: object, place: str) -> np.ndarray:
    """A NumPy array of numbers, native byte order."""
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise DataError(
            "this is no rectangular array",
            where=place,
            got=str(error).split(".")[0],
            do="bring every sample to one shape, or pad them",
        ) from error
    if array.dtype.kind in "OV":
        raise DataError(
            "an array of Python objects cannot be learned from",
            where=place,
            got=f"dtype {array.dtype}",
            expected="an array of numbers",
            do="convert it, for example with np.stack(list(x)) or x.toarray()",
        )
    if array.dtype.kind not in "fiub":
        raise DataError(
            "these are not numbers",
            where=place,
            got=f"dtype {array.dtype}",
            expected="numbers",
            do="turn text labels into whole numbers with np.unique(labels, return_inverse=True)",
        )
    return array


def _from_numpy(array: np.ndarray, place: str) -> Tensor:
    """A tensor over the array's own memory where torch has its dtype, else over a converted copy."""
    if array.dtype.kind == "f" and array.dtype.itemsize not in (2, 4, 8):
        array = array.astype(np.float64)  # long double
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        if array.dtype.itemsize == 8 and array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise DataError("a number is too large", where=place, got=int(array.max()), expected="below 2**63")
        array = array.astype(np.int64)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array)
    with warnings.catch_warnings():
        # Read-only memory (a memory-mapped file) is fine: batches are read, never written.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _computable(tensor: Tensor, place: str, *, labels: bool) -> Tensor:
    """The dtype rule at the head of this file."""
    if tensor.is_complex() or tensor.is_quantized or tensor.layout != torch.strided:
        raise DataError(
            "this kind of tensor cannot be learned from",
            where=place,
            got=f"{tensor.dtype}, {tensor.layout}",
            expected="a dense tensor of real numbers",
        )
    if tensor.is_floating_point():
        return tensor.to(torch.get_default_dtype())
    if tensor.dtype == torch.bool and not labels:
        return tensor.to(torch.get_default_dtype())
    return tensor if tensor.dtype == torch.uint8 else tensor.to(torch.int64)


def _check_finite(tensor: Tensor, place: str) -> None:
    # A finite sum proves every number finite, in one pass and no memory; only otherwise is each one looked at.
    if bool(torch.isfinite(tensor.sum())):
        return
    wrong = ~torch.isfinite(tensor.reshape(len(tensor), -1))  # (N, values)
    rows = wrong.any(dim=1).nonzero()
    if len(rows) == 0:
        return
    raise DataError(
        "the data has NaN or infinite numbers",
        where=f"{place}, first in row {int(rows[0])}",
        got=f"{int(wrong.sum())} such numbers in {len(rows)} of {len(tensor)} rows",
        expected="finite numbers",
        do="drop those rows, or fill the gaps",
    )


def samples_in(field: Tensor | tuple[Tensor, ...]) -> int:
    """The number of samples of a field.

    >>> samples_in((torch.zeros(4, 2), torch.zeros(4)))
    4
    """
    return len(field if isinstance(field, Tensor) else field[0])


def check_lengths(**fields: Tensor | tuple[Tensor, ...] | None) -> int:
    """The number of samples that all fields have. Raises DataError naming two that differ, or where there is none.

    >>> check_lengths(inputs=torch.zeros(3, 2), targets=torch.zeros(3), weights=None)
    3
    """
    lengths: dict[str, int] = {}
    for name, field in fields.items():
        if isinstance(field, Tensor):
            lengths[name] = len(field)
        elif field is not None:
            lengths |= {f"{name}[{place}]": len(part) for place, part in enumerate(field)}
    (first, samples), *others = lengths.items()
    for name, length in others:
        if length != samples:
            raise DataError(
                f"{first} and {name} have different lengths",
                got=f"{first} {samples}, {name} {length}",
                expected="one row of each for every sample",
                do=_SEVERAL if "[" in first else None,
            )
    if samples == 0:
        raise DataError("there is no data", where=first, got="0 samples", expected="at least one sample")
    return samples
