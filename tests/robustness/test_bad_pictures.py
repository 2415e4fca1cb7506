"""Damaged and hostile pictures in a set: all named, none decoded beyond its bounds, answers as documented."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from corecur.data import pictures
from corecur.data.open_images import load_images
from corecur.data.pictures import as_channels, quiet_pillow, read_picture
from corecur.errors import DataError
from tests.conftest import write_shades
from tests.robustness.hostile_files import black_png, liars, other_formats
from tests.robustness.memory_of import cost_of

Command = Callable[..., Any]
READ = """from corecur.data.pictures import read_picture
def work(path): read_picture(path, height=16, width=16, channels=3)"""


def spoiled(root: Path) -> set[str]:
    """A folder of 300 pictures in four formats: one in twenty cut, one in a hundred empty, one something else."""
    random, bad = np.random.default_rng(7), set()
    for number in range(300):
        suffix = (".png", ".jpg", ".gif", ".bmp")[number % 4]
        path = root / ("left", "right")[number % 2] / f"{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(path)
    files = sorted(root.rglob("*.*"))
    random.shuffle(files)  # type: ignore[arg-type]
    for place, path in enumerate(files[: 15 + 3 + 3]):
        data = path.read_bytes()
        kept = random.integers(1, len(data) - 24)  # the last 20 bytes of a PNG file are no pixels
        path.write_bytes(data[:kept] if place < 15 else b"" if place < 18 else b"<svg>a drawing</svg>")
        bad.add(path.name)
    return bad


def test_every_bad_file_is_named_and_no_other(command: Command, tmp_path: Path) -> None:
    bad = spoiled(tmp_path / "set")
    with pytest.raises(DataError) as refused:
        load_images(tmp_path / "set")
    assert f"{len(bad)} of 300 pictures cannot be read" in str(refused.value)
    assert "… and 11 more" in str(refused.value)

    result = command("train", tmp_path / "set", "--epochs", 1, "--threads", 1, "--skip-bad")
    assert result.exit_code == 0, result.stderr
    assert f"! {len(bad)} files could not be read and were set aside" in result.stdout
    kept = {path.name for path in map(Path, load_images(tmp_path / "set", skip_bad=True).train.names)}
    assert kept == {path.name for path in (tmp_path / "set").rglob("*.*")} - bad


def test_liars_are_refused_at_once_and_in_little_memory(tmp_path: Path) -> None:
    hostile = liars(tmp_path) | other_formats(tmp_path) | {"bits.png": black_png(50_000, 50_000, bits=1)}
    paths = [tmp_path / "set" / name for name in hostile]
    (tmp_path / "set").mkdir()
    for path in paths:
        path.write_bytes(hostile[path.name])
    cost = cost_of(READ, [str(path) for path in paths])
    accepted = [path.name for path, refusal in zip(paths, cost.refusals, strict=True) if refusal is None]
    assert accepted == []
    assert "2,500,000,000 pixels" in str(cost.refusals[-1])
    assert cost.seconds < 1 and cost.megabytes < 50, cost


def test_formats_outside_the_list_are_told_by_their_content(tmp_path: Path) -> None:
    for name, data in other_formats(tmp_path).items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError) as refused:
            read_picture(tmp_path / name, height=8, width=8, channels=3)
        assert refused.value.what.startswith("it is ") and name in str(refused.value)
    with pytest.raises(DataError, match="it is a TIFF file; PNG, JPEG, BMP, GIF and WebP are read"):
        read_picture(tmp_path / "tiff.jpg", height=8, width=8, channels=3)


def test_a_file_that_goes_while_it_is_read_is_named(tmp_path: Path) -> None:
    root = write_shades(tmp_path / "set", {"dark": 9, "light": 9})
    gone = root / "dark" / "4.png"

    def take_away(done: int, total: int) -> None:
        if done == total // 2:  # all headers, no pixels
            gone.unlink()

    with pytest.raises(DataError) as refused:
        load_images(root, progress=take_away)
    assert "1 of 18 pictures cannot be read" in str(refused.value) and f"{gone}: no such file" in str(refused.value)


# What docs/images.md says of unusual pictures, computed by other means.


def grey_of(rgb: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """ITU-R 601 luma of (…, 3), in the fixed point that Pillow documents."""
    red, green, blue = (rgb[..., place].astype(np.int64) for place in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)


RGB = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of a picture file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def deep_grey() -> tuple[bytes, NDArray[Any]]:
    values = np.random.default_rng(1).integers(0, 65536, (6, 6)).astype(np.uint16)
    expected = np.round(values.astype(np.float64) * 255 / 65535).astype(np.uint8)
    return saved(Image.fromarray(values)), np.repeat(expected[..., None], 3, axis=2)


def palette() -> tuple[bytes, NDArray[Any]]:
    colours = np.random.default_rng(2).integers(0, 256, (7, 3), dtype=np.uint8)
    numbers = np.random.default_rng(3).integers(0, 7, (6, 6), dtype=np.uint8)
    image = Image.fromarray(numbers)
    image.putpalette(colours.tobytes())
    return saved(image), colours[numbers]


def alpha() -> tuple[bytes, NDArray[Any]]:
    opacity = np.random.default_rng(4).integers(0, 256, (6, 6, 1), dtype=np.uint8)
    share = opacity / 255
    return saved(Image.fromarray(np.concatenate([RGB, opacity], 2))), RGB * share + 255 * (1 - share)


def transparent_palette() -> tuple[bytes, NDArray[Any]]:
    numbers = np.arange(36, dtype=np.uint8).reshape(6, 6) % 3
    image = Image.fromarray(numbers)
    image.putpalette(bytes([10, 20, 30, 40, 50, 60, 70, 80, 90]))
    colours = np.array([[10, 20, 30], [255, 255, 255], [70, 80, 90]])
    return saved(image, transparency=1), colours[numbers]


def turned(orientation: int, turn: Callable[[NDArray[Any]], NDArray[Any]]) -> tuple[bytes, NDArray[Any]]:
    image = Image.fromarray(RGB)
    notes = image.getexif()
    notes[0x0112] = orientation
    return saved(image, exif=notes), turn(RGB)


def animated() -> tuple[bytes, NDArray[Any]]:
    first, second = np.zeros((6, 6), np.uint8), np.full((6, 6), 255, np.uint8)
    file = saved(Image.fromarray(first), "GIF", save_all=True, append_images=[Image.fromarray(second)])
    return file, np.zeros((6, 6, 3))


def cmyk() -> tuple[bytes, NDArray[Any]]:
    ink = np.full((6, 6, 4), (40, 90, 160, 70), np.uint8)
    rest = 255 - ink.astype(np.float64)
    return saved(Image.frombytes("CMYK", (6, 6), ink.tobytes()), "JPEG", quality=100), (
        rest[..., :3] * rest[..., 3:] / 255
    )


def one_bit() -> tuple[bytes, NDArray[Any]]:
    bits = np.random.default_rng(5).integers(0, 2, (6, 6)).astype(bool)
    return saved(Image.fromarray(bits)), np.repeat((bits * 255)[..., None], 3, axis=2)


UNUSUAL: dict[str, tuple[Callable[[], tuple[bytes, NDArray[Any]]], float]] = {
    "16 bits": (deep_grey, 0),
    "palette": (palette, 0),
    "alpha": (alpha, 1),  # rounded twice by Pillow
    "transparent palette": (transparent_palette, 0),
    "animated": (animated, 0),
    "one bit": (one_bit, 0),
    "CMYK": (cmyk, 3),  # the JPEG of a constant colour
    "mirrored": (lambda: turned(2, lambda x: x[:, ::-1]), 0),
    "upside down": (lambda: turned(3, lambda x: x[::-1, ::-1]), 0),
    "flipped": (lambda: turned(4, lambda x: x[::-1]), 0),
    "transposed": (lambda: turned(5, lambda x: x.transpose(1, 0, 2)), 0),
    "turned right": (lambda: turned(6, lambda x: np.rot90(x, -1)), 0),
    "transversed": (lambda: turned(7, lambda x: np.rot90(x, 2).transpose(1, 0, 2)), 0),
    "turned left": (lambda: turned(8, np.rot90), 0),
}


@pytest.mark.parametrize("case", UNUSUAL)
def test_unusual_pictures_become_what_is_documented(tmp_path: Path, case: str) -> None:
    make, tolerance = UNUSUAL[case]
    data, expected = make()
    (tmp_path / "picture").write_bytes(data)
    with quiet_pillow():
        found = read_picture(tmp_path / "picture", height=6, width=6, channels=3)
        grey = read_picture(tmp_path / "picture", height=6, width=6, channels=1)
    assert np.abs(found - np.asarray(expected, dtype=np.float64)).max() <= tolerance
    assert np.abs(grey[..., 0] - grey_of(found).astype(np.int64)).max() <= 1


def lanczos(line: NDArray[Any], start: float, length: float, count: int) -> NDArray[np.float64]:
    """``count`` samples of a stretch of (n, …) by Lanczos' filter of three lobes, in float64."""
    step = length / count
    width = max(1.0, step)
    rows = []
    for centre in start + (np.arange(count) + 0.5) * step:
        x = (np.arange(len(line)) + 0.5 - centre) / width
        weights = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
        rows.append(np.tensordot(weights / weights.sum(), line, 1))
    return np.array(rows)


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (3, 7), (9, 2), (14, 11)])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 4), (9, 9)])
def test_any_shape_is_covered_and_cut_at_the_centre(
    tmp_path: Path, size: tuple[int, int], height: int, width: int
) -> None:
    values = np.random.default_rng(6).integers(60, 190, size, dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png", height=height, width=width, channels=1)[..., 0]
    scale = max(height / size[0], width / size[1])
    down, across = height / scale, width / scale
    wide = lanczos(values.astype(np.float64).T, (size[1] - across) / 2, across, width).T
    expected = lanczos(wide, (size[0] - down) / 2, down, height)
    # Where it shrinks more than three times, Pillow averages whole pixels first.
    assert np.abs(found - expected.clip(0, 255)).max() <= (1.5 if scale >= 1 / 3 else 8)


def test_large_pictures_in_strips_are_what_they_are_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    shapes = {"RGBA": (37, 23, 4), "LA": (37, 23, 2), "L": (37, 23), "RGB": (37, 23, 3)}
    images = [Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)) for shape in shapes.values()]
    images.append(Image.fromarray(random.integers(0, 65536, (37, 23)).astype(np.uint16)))
    images.append(images[3].convert("P"))
    for image in images:
        for channels in (1, 3):
            whole = np.asarray(as_channels(image, channels))
            monkeypatch.setattr(pictures, "STRIP_PIXELS", 100)
            assert np.array_equal(np.asarray(as_channels(image, channels)), whole)
            monkeypatch.undo()


def test_the_command_learns_beside_hostile_files(command: Command, shades: Path, tmp_path: Path) -> None:
    photos = Path(shutil.copytree(shades, tmp_path / "photos"))
    hostile = liars(tmp_path) | other_formats(tmp_path)
    for name, data in hostile.items():
        (photos / "dark" / name).write_bytes(data)
    refused = command("train", photos, "--epochs", 1, "--threads", 1)
    assert refused.exit_code == 1 and f"{len(hostile)} of {72 + len(hostile)} pictures cannot be read" in refused.stderr
    learned = command("train", photos, "--epochs", 1, "--threads", 1, "--skip-bad")
    assert learned.exit_code == 0 and f"! {len(hostile)} files could not be read" in learned.stdout, learned.stderr
