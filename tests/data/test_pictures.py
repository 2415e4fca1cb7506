from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from corecur.data.pictures import Header, as_channels, fit, quiet_pillow, read_header, read_picture
from corecur.errors import DataError

from .picture_files import pixels, png_header, save


def read(path: Path, channels: int = 3) -> np.ndarray:
    header = read_header(path)
    return read_picture(path, height=header.height, width=header.width, channels=channels)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".gif", ".webp"])
def test_grey_pixels_come_back_exactly(tmp_path: Path, suffix: str) -> None:
    array = pixels(0, 9, 7)
    path = save(tmp_path / f"a{suffix}", array, **({"lossless": True} if suffix == ".webp" else {}))
    assert np.array_equal(read(path, channels=1)[..., 0], array)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp"])
def test_colour_pixels_come_back_exactly(tmp_path: Path, suffix: str) -> None:
    array = pixels(0, 9, 7, 3)
    path = save(tmp_path / f"a{suffix}", array, **({"lossless": True} if suffix == ".webp" else {}))
    assert np.array_equal(read(path), array)
    assert read_header(path) == Header(9, 7, False)


def test_jpeg_is_close(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    path = save(tmp_path / "a.jpg", smooth, quality=95)
    assert np.abs(read(path, channels=1)[..., 0].astype(int) - smooth).max() <= 4
    assert read_header(path).grey


def test_16_bits_are_scaled_to_8(tmp_path: Path) -> None:
    deep = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    path = save(tmp_path / "a.png", deep)
    assert read(path, channels=1)[0, :, 0].tolist() == np.rint(deep[0] / 257).astype(int).tolist()
    assert read_header(path).grey


def test_alpha_is_laid_on_white(tmp_path: Path) -> None:
    array = pixels(1, 5, 6, 4)
    colour, alpha = array[..., :3].astype(np.float64), array[..., 3:] / 255
    wanted = colour * alpha + 255 * (1 - alpha)
    assert np.abs(read(save(tmp_path / "a.png", array)) - wanted).max() <= 1


def test_grey_with_alpha_stays_grey(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.array([[[0, 0], [10, 255]]], dtype=np.uint8), mode="LA").save(path)
    assert read(path, channels=1)[0, :, 0].tolist() == [255, 10]
    assert read_header(path).grey


def test_palette_becomes_colours_and_its_transparent_entry_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), mode="P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(tmp_path / "a.png", transparency=2)
    assert read(tmp_path / "a.png")[0].tolist() == [[255, 0, 0], [0, 255, 0], [255, 255, 255]]
    assert not read_header(tmp_path / "a.png").grey


def test_palette_of_greys_is_grey(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode="P")
    image.putpalette([200, 200, 200, 7, 7, 7])
    image.save(tmp_path / "a.png")
    assert read_header(tmp_path / "a.png").grey
    assert read(tmp_path / "a.png", channels=1)[0, :, 0].tolist() == [200, 7]


def test_cmyk_becomes_red_green_blue(tmp_path: Path) -> None:
    ink = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # magenta and yellow: red
    ink.save(tmp_path / "a.jpg", quality=100)
    assert np.abs(read(tmp_path / "a.jpg").astype(int) - [255, 0, 0]).max() <= 3


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png", channels=1)[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone_as_pillow_does(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", pixels(2, 6, 9, 3), exif=exif)
    with Image.open(path) as image:
        wanted = np.asarray(ImageOps.exif_transpose(image))
    header = read_header(path)
    assert (header.height, header.width) == wanted.shape[:2]
    assert np.array_equal(read(path), wanted)


def test_damaged_exif_does_not_spoil_the_picture(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", pixels(2, 6, 9, 3), exif=b"Exif\0\0nonsense")
    assert read(path).shape == (6, 9, 3)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path, suffix: str) -> None:
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    options = {"lossless": True} if suffix == ".webp" else {}
    first.save(tmp_path / f"a{suffix}", save_all=True, append_images=[second], **options)
    assert np.abs(read(tmp_path / f"a{suffix}").astype(int) - [255, 0, 0]).max() <= 1


def test_fit_covers_and_cuts_the_centre() -> None:
    array = np.zeros((4, 12), dtype=np.uint8)
    array[:, 4:8] = 100
    assert fit(Image.fromarray(array), height=4, width=4)[..., 0].tolist() == [[100] * 4] * 4


def test_fit_does_not_alias() -> None:
    checks = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert np.abs(fit(Image.fromarray(checks), height=8, width=8).astype(int) - 127).max() <= 12


def test_fit_keeps_proportions() -> None:
    # A centred disc stays a disc: as wide as high.
    y, x = np.mgrid[-60:60, -100:100]
    small = fit(Image.fromarray(((x**2 + y**2 < 50**2) * 255).astype(np.uint8)), height=30, width=40)[..., 0]
    assert (small[15] > 127).sum() == pytest.approx((small[:, 20] > 127).sum(), abs=1)


def test_large_jpeg_read_small_looks_like_the_whole(tmp_path: Path) -> None:
    y, x = np.mgrid[0:800, 0:1000]
    path = save(tmp_path / "a.jpg", (x * 200 / 1000 + y * 55 / 800).astype(np.uint8), quality=95)
    small = read_picture(path, height=40, width=50, channels=1)[..., 0].astype(int)
    with Image.open(path) as image:
        wanted = np.asarray(image.resize((50, 40), Image.Resampling.BOX)).astype(int)
    assert np.abs(small - wanted).max() <= 3


def test_as_channels_makes_grey_exact_grey() -> None:
    grey = pixels(3, 4, 4)
    assert np.array_equal(np.asarray(as_channels(Image.fromarray(np.stack([grey] * 3, axis=-1)), 1)), grey)


def refuse(path: Path, what: str) -> DataError:
    with pytest.raises(DataError, match=what) as caught:
        read_picture(path, height=8, width=8, channels=3)
    assert str(path) in str(caught.value)
    return caught.value


def test_missing_and_empty_files_are_named(tmp_path: Path) -> None:
    refuse(tmp_path / "a.png", "no such file")
    (tmp_path / "b.png").touch()
    refuse(tmp_path / "b.png", "empty")
    (tmp_path / "c.png").mkdir()
    refuse(tmp_path / "c.png", "not a file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    refuse(tmp_path / "a.png", "not a file")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".webp", ".bmp"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = save(tmp_path / f"a{suffix}", pixels(4, 40, 40, 3))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    refuse(path, "damaged|cut short")


def test_text_renamed_is_called_text(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("<html>Not found: größer</html>", encoding="utf-8")
    refuse(tmp_path / "a.jpg", "it is text, not a picture")


def test_other_formats_are_called_by_name(tmp_path: Path) -> None:
    data = io.BytesIO()
    Image.fromarray(pixels(0, 4, 4)).save(data, "TIFF")
    (tmp_path / "a.png").write_bytes(data.getvalue())
    refuse(tmp_path / "a.png", "TIFF")
    (tmp_path / "b.png").write_bytes(pixels(0, 100).tobytes())
    refuse(tmp_path / "b.png", "not a picture")


def test_a_suffix_does_not_decide_the_format(tmp_path: Path) -> None:
    array = pixels(5, 4, 4, 3)
    save(tmp_path / "a.png", array).rename(tmp_path / "a.jpg")
    assert np.array_equal(read(tmp_path / "a.jpg"), array)


@pytest.mark.parametrize("sides", [(50_000, 50_000), (10_001, 10_000), (2**31 - 1, 1)])
def test_huge_pictures_are_refused_by_their_header(tmp_path: Path, sides: tuple[int, int]) -> None:
    (tmp_path / "a.png").write_bytes(png_header(*sides))
    with quiet_pillow():
        refuse(tmp_path / "a.png", "100,000,000 are decoded")


def test_a_picture_at_the_limit_is_not_called_too_large(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(9_000, 9_000))
    assert read_header(tmp_path / "a.png") == Header(9_000, 9_000, False)
