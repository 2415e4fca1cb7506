"""Pictures and labels that come as arrays: which shapes, numbers and names are taken, and what each wrong one means.

Shapes: N samples, H height, W width, C channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corecur.data.gathered import Part
from corecur.data.memory import allocate
from corecur.data.pictures import as_channels, fit
from corecur.errors import DataError

CHUNK = 1024
# Resampling in floating point may overshoot white a little.
SLACK = 1e-3


def to_array(value: Any, *, what: str) -> NDArray[Any]:
    """A tensor, an array or a nested list as a NumPy array; raises DataError for ragged lists and Python objects.

    >>> to_array(torch.tensor([1.5], dtype=torch.bfloat16), what="images")
    array([1.5], dtype=float32)
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(f"the {what} differ in shape", do="pass one array in which every row has one shape") from error
    if array.dtype.kind == "O" and what != "labels":
        raise DataError(
            f"the {what} are an array of Python objects", got="dtype object", expected="uint8 or float numbers"
        )
    return array


def prepare_arrays(
    arrays: Any,
    *,
    height: int,
    width: int,
    channels: int,
    white: float | None = None,
    on_disk: bool = False,
    name: str = "images",
) -> Tensor:
    """Pictures (N, h, w) or (N, h, w, 1 | 3 | 4) as (N, height, width, channels) uint8, each by the rules for files.

    Integers must lie in 0…255. Floats lie in 0…1 or 0…255: ``white`` says which, or, where it is None, all of them are
    in 0…1 if none is above 1. Booleans become 0 and 255. Anything else raises DataError.

    >>> prepare_arrays(np.array([[[0.0, 0.5, 1.0]]]), height=1, width=3, channels=1).flatten().tolist()
    [0, 128, 255]
    """
    array = with_channels(to_array(arrays, what=name), name=name)  # (N, h, w, C)
    scale = pixel_scale(array, white=white, name=name)
    prepared = allocate((len(array), height, width, channels), on_disk=on_disk)  # (N, H, W, C)
    target = prepared.numpy()
    for start in range(0, len(array), CHUNK):
        part = _as_bytes(array[start : start + CHUNK], scale)
        target[start : start + CHUNK] = _to_size(part, height, width, channels)
    return prepared


def with_channels(array: NDArray[Any], *, name: str = "images") -> NDArray[Any]:
    """Pictures as (N, H, W, C); raises DataError that says which axis is wrong.

    >>> with_channels(np.zeros((5, 8, 8))).shape
    (5, 8, 8, 1)
    """
    expected = "(N, height, width), or (N, height, width, channels) with 1, 3 or 4 channels"
    if array.ndim == 3 and 0 not in array.shape:
        return array[..., None]
    if array.ndim == 4 and array.shape[3] in (1, 3, 4) and 0 not in array.shape:
        return array
    raise DataError(
        "the array does not hold pictures",
        where=name,
        got=f"shape {array.shape}",
        expected=expected,
        do=_shape_advice(array),
    )


def pixel_scale(array: NDArray[Any], *, white: float | None = None, name: str = "images") -> float:
    """What the numbers of pictures are multiplied by to reach 0…255; raises DataError for NaN and for other ranges.

    >>> pixel_scale(np.array([0.0, 0.2])), pixel_scale(np.array([0.0, 200.0])), pixel_scale(np.array([0, 1]))
    (255.0, 1.0, 1.0)
    """
    if array.dtype.kind == "b":
        return 255.0
    if array.dtype == np.uint8:
        return 1.0
    if array.dtype.kind not in "iuf":
        raise DataError(
            "pictures are made of numbers", where=name, got=f"dtype {array.dtype}", expected="uint8 or float"
        )
    low, high = _range(array, name)
    if array.dtype.kind in "iu":
        _refuse_range(low, high, 255, "integers", name)
        return 1.0
    if white is None:
        white = 1.0 if high <= 1 + SLACK else 255.0
    _refuse_range(low, high, white, "floats", name)
    return 255.0 / white


def white_of(array: NDArray[Any], *, name: str = "images") -> float | None:
    """The value of white in an array of pictures: 1 or 255 for floats, None for integers, which always count to 255.

    >>> white_of(np.array([0.5])), white_of(np.array([7], dtype=np.uint8))
    (1.0, None)
    """
    return 255.0 / pixel_scale(array, name=name) if array.dtype.kind == "f" else None


def array_part(images: Any, labels: Any, *, split: str, where: str) -> Part:
    """One split from an array of pictures and its labels, (N, H, W, C) and (N,); raises DataError for what is neither.

    >>> array_part(np.zeros((2, 8, 8)), [0, 1], split="train", where="arrays").names
    ['train[0]', 'train[1]']
    """
    pixels = with_channels(to_array(images, what="images"), name=f"{where}: {split} images")  # (N, H, W, C)
    named = as_labels(labels, count=len(pixels), where=f"{where}: {split} labels")
    return Part(pixels, named, [f"{split}[{row}]" for row in range(len(pixels))])


def as_labels(labels: Any, *, count: int, where: object = None) -> NDArray[Any]:
    """Labels as (N,) int64 or text; raises DataError for another length, fractions, negative numbers, one-hot rows.

    >>> as_labels([[3], [1]], count=2).tolist(), as_labels(["cat", "dog"], count=2).tolist()
    ([3, 1], ['cat', 'dog'])
    """
    array = to_array(labels, what="labels")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]  # (N,)
    if array.ndim != 1:
        advice = "if they are one-hot, pass labels.argmax(1)" if array.ndim == 2 else None
        raise DataError(
            "labels are one per picture", where=where, got=f"shape {array.shape}", expected="(N,)", do=advice
        )
    if len(array) != count:
        raise DataError(
            "pictures and labels differ in number",
            where=where,
            got=f"{count:,} pictures, {len(array):,} labels",
            do="pass one label for each picture, in the same order",
        )
    return _named_labels(array, where) if array.dtype.kind in "OUS" else _numbered_labels(array, where)


def _as_bytes(array: NDArray[Any], scale: float) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    scaled = np.rint((array.astype(np.float32) * np.float32(scale)).clip(0, 255))
    return np.asarray(scaled, dtype=np.uint8)


def _to_size(pixels: NDArray[np.uint8], height: int, width: int, channels: int) -> NDArray[np.uint8]:
    if pixels.shape[1:] == (height, width, channels):
        return pixels
    from PIL import Image

    prepared = np.empty((len(pixels), height, width, channels), dtype=np.uint8)
    for row, picture in enumerate(pixels):
        image = Image.fromarray(np.ascontiguousarray(picture[..., 0] if picture.shape[-1] == 1 else picture))
        prepared[row] = fit(as_channels(image, channels), height=height, width=width)
    return prepared


def _named_labels(array: NDArray[Any], where: object) -> NDArray[Any]:
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    for row, label in enumerate(array.tolist()):
        if not isinstance(label, str) or not label.strip():
            raise DataError(
                "a label is missing or is no text",
                where=f"{where}, row {row}" if where else f"row {row}",
                got=repr(label),
                expected="text, or whole numbers for all labels",
            )
    return array.astype(np.str_)


def _numbered_labels(array: NDArray[Any], where: object) -> NDArray[Any]:
    if array.dtype.kind not in "iub":
        raise DataError(
            "labels are whole numbers or text",
            where=where,
            got=f"dtype {array.dtype}",
            do="pass labels.astype(int) if they count classes; measured values are no classes",
        )
    numbers = array.astype(np.int64)
    if (numbers < 0).any():
        row = int(np.argmax(numbers < 0))
        raise DataError("a label is negative", where=where, got=f"{numbers[row]} at row {row}", expected="0 or more")
    return numbers


def _range(array: NDArray[Any], name: str) -> tuple[float, float]:
    """Smallest and largest value, in pieces (the array may be a mapped file); raises DataError for NaN and infinity."""
    low, high = np.inf, -np.inf
    for start in range(0, len(array), CHUNK):
        part = array[start : start + CHUNK]
        if array.dtype.kind == "f" and not np.isfinite(part).all():
            row = start + int(np.argwhere(~np.isfinite(part))[0][0])
            raise DataError(
                "the pictures hold NaN or infinity",
                where=f"{name}[{row}]",
                do="remove these pictures, or replace the values: np.nan_to_num(images)",
            )
        low, high = min(low, float(part.min())), max(high, float(part.max()))
    return low, high


def _refuse_range(low: float, high: float, white: float, kind: str, name: str) -> None:
    slack = SLACK * white
    if low < -slack or high > white + slack:
        raise DataError(
            "pixel values lie outside the range of pictures",
            where=name,
            got=f"{kind} from {low:g} to {high:g}",
            expected=f"0 to {white:g}" if kind == "integers" else "floats from 0 to 1, or from 0 to 255",
            do="pass the pictures as they were before any normalisation; it is learned from the training split",
        )


def _shape_advice(array: NDArray[Any]) -> str | None:
    if array.size == 0:
        return "there is no picture in it"
    if array.ndim == 4 and array.shape[1] in (1, 3, 4):
        return "channels come last: images.transpose(0, 2, 3, 1), or .permute(0, 2, 3, 1) for a tensor"
    if array.ndim == 2:
        side = round(array.shape[1] ** 0.5)
        if side * side == array.shape[1]:
            return f"if each row is a square picture: images.reshape(-1, {side}, {side})"
        return "give the rows their height and width: images.reshape(-1, height, width)"
    return None
