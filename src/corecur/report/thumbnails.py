"""Arrays as pictures: data URIs that stand in the page itself.

Shapes: N tiles, H height, W width, C channels.
"""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corecur.errors import ShapeError

Array = NDArray[Any]
SMALLEST, LARGEST = 64, 160  # pixels along the longer side of a picture
MOST_TILES = 64
GAP, TILE = 3, 64
SHADES = 64  # few enough that a sheet of tiles keeps to a palette
# Dark blue, white, dark red (negative, zero, positive); equal steps away from white look equally strong.
SIGNED = np.array([(33, 84, 150), (120, 168, 214), (247, 247, 247), (228, 145, 110), (165, 40, 40)], dtype=float)


def data_uri(image: Array, *, smallest: int = SMALLEST, largest: int = LARGEST) -> str:
    """An image (H, W, C) or (H, W), uint8, as a data URI, scaled to ``smallest`` … ``largest`` pixels.

    Tiny images grow by a whole factor, pixel by pixel, so that an 8×8 digit stays what it is; large photographs shrink
    and become JPEG where that is smaller. C: 1 grey, 3 colour, 4 with alpha, else the mean is shown. Raises ShapeError
    for other shapes and types.

    >>> data_uri(np.zeros((8, 8, 1), np.uint8))[:22]
    'data:image/png;base64,'
    """
    from PIL import Image

    picture = Image.fromarray(_paintable(image))
    longest = max(picture.size)
    if longest > largest:
        size = (max(1, picture.width * largest // longest), max(1, picture.height * largest // longest))
        return _encode(picture.resize(size, Image.Resampling.LANCZOS), may_lose=True)
    factor = math.ceil(smallest / longest)
    return _encode(
        picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST),
        may_lose=factor == 1,
    )


def filter_grid(weights: Array, *, across: int = 8) -> str:
    """Filters (N, H, W, C) as one picture: C = 3 in their colours, else the mean over C from blue (−) to red (+).

    Every tile has its own scale; at most 64 tiles are shown. Raises ShapeError for other shapes.
    """
    weights = _tiles(weights, 4, "filters are (number, height, width, channels)")
    if weights.shape[-1] == 3:
        low, high = weights.min(axis=(1, 2, 3), keepdims=True), weights.max(axis=(1, 2, 3), keepdims=True)
        tiles = (255 * (weights - low) / np.where(high > low, high - low, 1)).round().astype(np.uint8)
        return _grid(tiles, across)
    flat = weights.mean(axis=3)  # (N, H, W)
    largest = np.abs(flat).max(axis=(1, 2), keepdims=True)
    return _grid(_blend(0.5 + 0.5 * flat / np.where(largest > 0, largest, 1), SIGNED), across)


def map_grid(maps: Array, *, across: int = 8) -> str:
    """Activation maps (N, H, W) as one picture in the viridis colours, each tile from its own least to its greatest.

    At most 64 tiles are shown. Raises ShapeError for other shapes.
    """
    from matplotlib import colormaps

    maps = _tiles(maps, 3, "activation maps are (number, height, width)")
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    scaled = (maps - low) / np.where(high > low, high - low, 1)
    stops = 255 * np.asarray(colormaps["viridis"](np.linspace(0, 1, 256)))[:, :3]  # (256, 3)
    return _grid(_blend(scaled, stops), across)


def _paintable(image: Array) -> Array:
    """The image as (H, W), (H, W, 3) or (H, W, 4) uint8."""
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ShapeError(
            "a picture is (height, width, channels) in uint8",
            got=f"{image.shape} {image.dtype}",
            expected="for instance (28, 28, 1) uint8",
        )
    if image.shape[2] in (3, 4):
        return np.ascontiguousarray(image)
    grey: Array = image.mean(axis=2).round().astype(np.uint8)
    return grey


def _tiles(values: Array, dimensions: int, rule: str) -> Array:
    values = np.asarray(values, dtype=float)
    if values.ndim != dimensions or 0 in values.shape:
        raise ShapeError(rule, got=values.shape)
    return np.nan_to_num(values[:MOST_TILES], nan=0.0, posinf=0.0, neginf=0.0)


def _blend(shares: Array, stops: Array) -> Array:
    """Shares of 0 to 1 (N, H, W) to colours between evenly spaced stops (S, 3): (N, H, W, 3) uint8."""
    shares = (shares * (SHADES - 1)).round() / (SHADES - 1)
    places = np.linspace(0, 1, len(stops))
    channels = [np.interp(shares, places, stops[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _grid(tiles: Array, across: int) -> str:
    """Tiles (N, H, W, 3) uint8, brought to about 48 pixels, in rows of ``across`` with clear gaps."""
    from PIL import Image

    longest = max(tiles.shape[1:3])
    if longest > TILE:
        size = (max(1, tiles.shape[2] * TILE // longest), max(1, tiles.shape[1] * TILE // longest))
        tiles = np.stack([np.asarray(Image.fromarray(tile).resize(size, Image.Resampling.BOX)) for tile in tiles])
    factor = max(1, round(0.75 * TILE / max(tiles.shape[1:3])))
    large = tiles.repeat(factor, axis=1).repeat(factor, axis=2)  # (N, H·factor, W·factor, 3)
    number, height, width, _ = large.shape
    across = min(across, number)
    sheet = np.zeros(
        (math.ceil(number / across) * (height + GAP) - GAP, across * (width + GAP) - GAP, 4), dtype=np.uint8
    )
    for i, tile in enumerate(large):
        top, left = i // across * (height + GAP), i % across * (width + GAP)
        sheet[top : top + height, left : left + width, :3] = tile
        sheet[top : top + height, left : left + width, 3] = 255
    return _encode(Image.fromarray(sheet), may_lose=False)


def _encode(picture: Any, *, may_lose: bool) -> str:
    """PNG, with a palette where 256 colours are enough; for a photograph JPEG where that takes less than half."""
    data, kind = _bytes(_with_palette(picture), format="PNG", optimize=True), "png"
    if may_lose and picture.mode in ("L", "RGB"):
        small = _bytes(picture, format="JPEG", quality=88)
        if 2 * len(small) < len(data):
            data, kind = small, "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _with_palette(picture: Any) -> Any:
    """The same picture, one byte per pixel, if it has 256 colours or fewer (a lossless saving of two thirds)."""
    from PIL import Image

    if picture.mode == "L" or picture.getcolors(256) is None:
        return picture
    pixels = np.ascontiguousarray(picture.convert("RGBA")).view(np.uint32)[..., 0]  # (H, W), one number per colour
    colours, places = np.unique(pixels, return_inverse=True)
    flat = Image.fromarray(places.reshape(pixels.shape).astype(np.uint8), mode="P")
    flat.putpalette(colours.view(np.uint8).tobytes(), "RGBA")
    return flat


def _bytes(picture: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **options)
    return buffer.getvalue()
