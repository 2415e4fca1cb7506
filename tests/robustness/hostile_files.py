"""Picture files that lie, made byte by byte, and small sources of every kind to spoil."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a colour type


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file with its length and check sum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def black_png(width: int, height: int, *, bits: int = 8, colour: int = 0, extra: bytes = b"") -> bytes:
    """A whole PNG file of zeros; a thousandth of its pixels in size."""
    line = b"\0" * ((width * PNG_CHANNELS[colour] * bits + 7) // 8 + 1)
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(line) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    palette = chunk(b"PLTE", b"\0" * 6) if colour == 3 else b""
    body = chunk(b"IHDR", header) + palette + extra + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def bmp(width: int, height: int, *, bits: int = 24, compression: int = 0, body: bytes = b"\0" * 20) -> bytes:
    """A BMP file of that header and body, whether they fit or not."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + header + body


def gif(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """A GIF file that claims a screen and a frame on it and holds a pixel."""
    start = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + b"\0" * 6
    return start + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x4c\x01\0;"


def webp_canvas(side: int) -> bytes:
    """A WebP file that claims a canvas and holds nothing."""
    size = struct.pack("<I", side - 1)[:3]
    body = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size + size
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def resized_jpeg(jpeg: bytes, height: int, width: int) -> bytes:
    """A JPEG file whose header claims another size."""
    place = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:place] + struct.pack(">HH", height, width) + jpeg[place + 4 :]


def small_jpeg(folder: Path) -> bytes:
    """A good JPEG file."""
    Image.fromarray(np.arange(48 * 3, dtype=np.uint8).reshape(6, 8, 3)).save(folder / "small.jpg")
    return (folder / "small.jpg").read_bytes()


def liars(folder: Path) -> dict[str, bytes]:
    """Files that no set of pictures should hold, by name: bombs, broken chunks, impossible headers."""
    good, jpeg = black_png(8, 8), small_jpeg(folder)
    notes = b"a\0\0" + zlib.compress(b"A" * (80 << 20), 1)
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    return {
        "header-check-sum.png": good[:30] + b"xxxx" + good[34:],
        "endless-chunk.png": good[:33] + struct.pack(">I", 0x7FFFFFFF) + b"IDAT" + b"x" * 50,
        "negative-chunk.png": good[:33] + struct.pack(">I", 0xFFFFFFFF) + b"IDAT" + b"x" * 50,
        "no-size.png": good[:16] + b"\0" * 8 + good[24:],
        "seven-bits.png": good.replace(chunk(b"IHDR", header), chunk(b"IHDR", header[:8] + b"\7" + header[9:])),
        "note-bomb.png": black_png(8, 8, extra=chunk(b"zTXt", notes)),
        "profile-bomb.png": black_png(8, 8, extra=chunk(b"iCCP", notes)),
        "canvas.webp": webp_canvas(16383),
        "claim.bmp": bmp(9999, 9999),
        "negative.bmp": bmp(-5, 5),
        "upside-down.bmp": bmp(5, -(2**31)),
        "runs.bmp": bmp(9999, 9999, bits=8, compression=1, body=b"\xff\0" * 2000),
        "screen.gif": gif((65535, 65535), (65535, 65535)),
        "frame.gif": gif((9999, 9999), (9999, 9999)),
        "claim.jpg": resized_jpeg(jpeg, 65500, 65500),
        "no-height.jpg": resized_jpeg(jpeg, 0, 64),
        "cut.jpg": jpeg[: len(jpeg) // 2],
    }


def other_formats(folder: Path) -> dict[str, bytes]:
    """Files of formats that are not read, under the name of one that is."""
    picture = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    saved = {}
    for kind in ("TIFF", "EPS", "ICO", "PPM", "TGA", "PCX", "JPEG2000"):
        picture.save(folder / kind, format=kind)
        saved[f"{kind.casefold()}.jpg"] = (folder / kind).read_bytes()
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    return saved | {"svg.jpg": svg, "pdf.jpg": b"%PDF-1.7\n1 0 obj", "zip.jpg": b"PK\3\4" + b"\0" * 40}


def texts(root: Path, *, each: int = 8) -> Path:
    """A folder of two classes of text files."""
    for label, word in (("good", "fine"), ("bad", "dull")):
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            (root / label / f"{number}.txt").write_text(f"a {word} film, number {number}", encoding="utf-8")
    return root


def motions(root: Path, *, each: int = 8) -> Path:
    """A folder of two classes of CSV files, a series each."""
    for label, slope in (("up", 1), ("down", -1)):
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            rows = "".join(f"{step},{slope * step + number}\n" for step in range(9))
            (root / label / f"{number}.csv").write_text("x,y\n" + rows, encoding="utf-8")
    return root


def panel(path: Path, cell: Callable[[int, int], str] = lambda series, step: str(step * (series % 2))) -> Path:
    """A CSV panel of 24 series of two classes; ``cell(series, step)`` is the first channel."""
    rows = [
        f"s{series},{step},{cell(series, step)},{step % 3 + series / 10},{'ab'[series % 2]}"
        for series in range(24)
        for step in range(10)
    ]
    path.write_text("\n".join(["id,time,x,y,label", *rows]) + "\n", encoding="utf-8")
    return path


def days(path: Path, cell: Callable[[int], str] = lambda row: f"{row % 7}.5", *, rows: int = 160) -> Path:
    """A CSV table over time of two columns; ``cell(row)`` is the first."""
    start = np.datetime64("2024-01-01")
    lines = [f"{start + row},{cell(row)},{row * row % 11}" for row in range(rows)]
    path.write_text("\n".join(["time,x,y", *lines]) + "\n", encoding="utf-8")
    return path


def reviews(path: Path, *more: str, rows: int = 24) -> Path:
    """A CSV table of texts of two classes, and ``more`` lines below."""
    lines = [f"how {('nice', 'dull')[row % 2]} number {row},{'ab'[row % 2]}" for row in range(rows)]
    path.write_text("\n".join(["text,label", *lines, *more]) + "\n", encoding="utf-8")
    return path


def sentences(path: Path) -> Path:
    """A CoNLL file of two tags."""
    lines = [f"Anna{row} B-PER\nsees O\nBerlin{row % 3} B-LOC\n" for row in range(24)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
