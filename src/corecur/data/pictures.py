"""One picture file: its header, its pixels, and how any picture becomes H × W × C bytes.

Shapes: H height, W width, C channels (1 grey, 3 red green blue).
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from corecur.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp"})
MAX_PIXELS = 100_000_000
STRIP_PIXELS = 4_000_000
# Larger pictures are decoded one at a time, whatever the number of threads: one takes up to 1 GB.
LARGE_PIXELS = 16_000_000
GREY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16L", "I;16B"})
ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})

# What Pillow's readers raise on damaged files.
FAILURES = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
)

# EXIF 2.32, tag 0x0112: the Pillow transposition that turns the stored picture upright.
ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}

OTHER_FORMATS = (
    (0, b"II*\0", "a TIFF file"),
    (0, b"MM\0*", "a TIFF file"),
    (0, b"%PDF", "a PDF file"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"PK\3\4", "a zip archive"),
    (4, b"ftyp", "a HEIC, AVIF or video file"),
)
REMEDY = "save it again as PNG or JPEG, or remove it"
_LARGE = threading.Lock()


@dataclass(frozen=True)
class Header:
    """What a picture file says of itself before it is decoded; the sides are those of the upright picture."""

    height: int
    width: int
    grey: bool


def read_header(path: str | Path) -> Header:
    """Size and colour of a picture, without decoding it.

    Raises DataError for a file that is no picture, is damaged, or claims more than 100 million pixels.

    >>> import tempfile; from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("L", (7, 5)).save(f"{folder}/a.png")
    ...     read_header(f"{folder}/a.png")
    Header(height=5, width=7, grey=True)
    """
    with _opened(Path(path)) as image:
        height, width = image.height, image.width
        if _orientation(image) >= 5:
            height, width = width, height
        return Header(height, width, _is_grey(image))


def read_picture(path: str | Path, *, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """The pixels of a picture file, (height, width, channels) uint8.

    Upright by its EXIF tag, transparency laid on white, 16 bits scaled to 8, CMYK and palettes turned into red, green
    and blue, the first frame of an animation; then scaled to cover the wanted size and cut at the centre.
    Raises DataError like `read_header`, and for pixels that cannot be decoded.

    >>> import tempfile; from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (16, 8), (255, 0, 0)).save(f"{folder}/a.png")
    ...     read_picture(f"{folder}/a.png", height=1, width=2, channels=3).tolist()
    [[[255, 0, 0], [255, 0, 0]]]
    """
    with _opened(Path(path)) as image:
        turn = _orientation(image)
        wanted = (width, height) if turn >= 5 else (height, width)
        _draft(image, *wanted)
        with _LARGE if image.width * image.height > LARGE_PIXELS else contextlib.nullcontext():
            image.load()
            flat = as_channels(image, channels)
            if turn in UPRIGHT:
                flat = flat.transpose(_transposition(UPRIGHT[turn]))
            return fit(flat, height=height, width=width)


@contextlib.contextmanager
def upright(path: str | Path, *, least: int) -> Iterator[tuple[Image.Image, Header, str]]:
    """A picture in mode L or RGB, upright, its header and the form of its file (PNG, JPEG, …); all of it is decoded.

    JPEG files may come smaller, but not below ``least`` pixels a side. Raises DataError like `read_picture`.

    >>> import tempfile; from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("L", (7, 5)).save(f"{folder}/a.jpg", "PNG")
    ...     with upright(f"{folder}/a.jpg", least=4) as (image, header, form):
    ...         image.size, header.grey, form
    ((7, 5), True, 'PNG')
    """
    with _opened(Path(path)) as image:
        turn, grey, form = _orientation(image), _is_grey(image), str(image.format).replace("MPO", "JPEG")
        height, width = (image.width, image.height) if turn >= 5 else (image.height, image.width)
        _draft(image, least, least)
        with _LARGE if image.width * image.height > LARGE_PIXELS else contextlib.nullcontext():
            image.load()
            flat = as_channels(image, 1 if grey else 3)
            if turn in UPRIGHT:
                flat = flat.transpose(_transposition(UPRIGHT[turn]))
            yield flat, Header(height, width, grey), form


def as_channels(image: Image.Image, channels: int) -> Image.Image:
    """The picture in mode L (1 channel) or RGB (3 channels), transparent parts on white.

    Grey is Pillow's ITU-R 601 luma; 16-bit grey v becomes round(v · 255 / 65535). Worked on in strips of rows, so that
    a picture of 100 million pixels needs no copies of its size beside the result.

    >>> from PIL import Image
    >>> as_channels(Image.new("RGBA", (1, 1), (0, 0, 0, 0)), 1).getpixel((0, 0))
    255
    """
    from PIL import Image

    mode = "L" if channels == 1 else "RGB"
    rows = max(1, STRIP_PIXELS // image.width)
    if rows >= image.height:
        return _as_mode(image, mode)
    whole = Image.new(mode, image.size)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        whole.paste(_as_mode(strip, mode), (0, top))
    return whole


def _as_mode(image: Image.Image, mode: str) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray(((deep * 255 + 32767) // 65535).astype(np.uint8))
    elif image.mode in ALPHA_MODES or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return image if image.mode == mode else image.convert(mode)


def fit(image: Image.Image, *, height: int, width: int) -> NDArray[np.uint8]:
    """Scale a grey or RGB picture, without distortion, until it covers height × width, and cut it at the centre.

    The filter is Lanczos over the area of each new pixel, so that shrinking does not alias. Returns (H, W, C) uint8.

    >>> from PIL import Image
    >>> fit(Image.new("L", (30, 10), 7), height=5, width=5).shape
    (5, 5, 1)
    """
    from PIL import Image

    if image.size != (width, height):
        scale = max(height / image.height, width / image.width)
        across, down = width / scale, height / scale
        left, top = (image.width - across) / 2, (image.height - down) / 2
        box = (max(0.0, left), max(0.0, top), min(image.width, left + across), min(image.height, top + down))
        image = image.resize((width, height), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    pixels = np.asarray(image)  # (H, W) or (H, W, 3)
    return pixels.reshape(height, width, -1)


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silence Pillow's warnings of odd notes in a file, and of sizes that our own limit judges. Entered by one thread.

    >>> import warnings
    >>> with quiet_pillow():
    ...     warnings.warn_explicit("odd", UserWarning, "Exif.py", 1, module="PIL.Exif")
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        yield


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The picture, header read and judged; everything that goes wrong with it inside the block is a DataError."""
    from PIL import Image

    _register_formats()
    _refuse_no_file(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(path, f"{image.width:,} × {image.height:,}")
            yield image
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        count = re.search(r"\d+", str(error))
        raise _too_large(path, f"{int(count.group()):,}" if count else "far too many") from error
    except FAILURES as error:
        raise DataError(_reason(path, error), where=path, do=REMEDY) from error


def _too_large(path: Path, pixels: str) -> DataError:
    what = f"its header claims {pixels} pixels; at most {MAX_PIXELS:,} are decoded"
    return DataError(what, where=path, do="scale it down with an image program, or remove it")


def _refuse_no_file(path: Path) -> None:
    try:
        # A pipe or a device would block for ever.
        if not path.is_file():
            raise DataError(_no_file(path), where=path)
        if path.stat().st_size == 0:
            raise DataError("the file is empty (0 bytes)", where=path, do="copy it again, or remove it")
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=path) from error


def _no_file(path: Path) -> str:
    if path.exists():
        return "not a file"
    return "a link that leads nowhere or in a circle" if path.is_symlink() else "no such file"


def _reason(path: Path, error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, PermissionError):
        return "the file cannot be read: permission denied"
    if not isinstance(error, UnidentifiedImageError):
        detail = " ".join(str(error).split())[:100] or type(error).__name__
        return f"the picture is damaged or cut short ({detail})"
    with open(path, "rb") as file:
        start = file.read(512)
    for offset, mark, name in OTHER_FORMATS:
        if start[offset:].startswith(mark):
            return f"it is {name}; PNG, JPEG, BMP, GIF and WebP are read"
    if _is_text(start):
        return "it is text, not a picture"
    return "it is not a picture, or its header is damaged"


def _is_text(start: bytes) -> bool:
    # The last character may be cut in two.
    text = start.decode("utf-8", errors="ignore")
    return len(text.encode()) >= len(start) - 3 and all(c.isprintable() or c in "\r\n\t\f\ufeff" for c in text)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none or it cannot be read."""
    if "exif" not in image.info and "Raw profile type exif" not in image.info:
        return 1
    try:
        turn = image.getexif().get(ORIENTATION_TAG, 1)
    except FAILURES:
        return 1  # damaged notes beside good pixels
    return turn if isinstance(turn, int) else 1


def _transposition(name: str) -> Any:
    from PIL import Image

    return Image.Transpose[name]


def _is_grey(image: Image.Image) -> bool:
    if image.mode == "P" and image.palette is not None and image.palette.mode == "RGB":
        colours = np.frombuffer(bytes(image.palette.palette), dtype=np.uint8)
        colours = colours[: len(colours) // 3 * 3].reshape(-1, 3)  # (colours, 3)
        return bool((colours == colours[:, :1]).all())
    return image.mode in GREY_MODES


def _draft(image: Image.Image, height: int, width: int) -> None:
    """Let the JPEG decoder skip detail that scaling down by 2, 4 or 8 throws away; twice the wanted size stays."""
    scale = 2 * max(height / image.height, width / image.width)
    if image.format in ("JPEG", "MPO") and scale < 1:
        image.draft(image.mode, (round(image.width * scale), round(image.height * scale)))


@functools.cache
def _register_formats() -> None:
    """Load Pillow's readers of the wanted formats only; otherwise it loads all fifty when it meets a WebP."""
    for name in ("Bmp", "Gif", "Jpeg", "Png", "WebP"):
        importlib.import_module(f"PIL.{name}ImagePlugin")
