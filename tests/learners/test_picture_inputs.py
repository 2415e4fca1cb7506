from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from corecur.data.images import Preparation
from corecur.errors import DataError
from corecur.learners.picture_inputs import read_pictures

GREY, COLOUR = Preparation(6, 6, 1), Preparation(6, 6, 3)


def write(path: Path, value: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (6, 6), value).save(path)
    return path


def values(source: object, preparation: Preparation = GREY, *, skip_bad: bool = False) -> dict[str, int]:
    """The first pixel of each picture, by name."""
    names, images = read_pictures(source, preparation, skip_bad=skip_bad)
    assert images.shape[1:] == (6, 6, preparation.channels) and images.dtype == torch.uint8
    return dict(zip(names, images[:, 0, 0, 0].tolist(), strict=True))


def test_a_file_a_folder_and_a_list_of_both(tmp_path: Path) -> None:
    one = write(tmp_path / "one.png", 1)
    for number in (10, 9, 100):
        write(tmp_path / "many" / f"{number}.png", number)
    write(tmp_path / "many" / "deeper" / "7.bmp", 7)
    write(tmp_path / "many" / ".hidden.png", 3)
    (tmp_path / "many" / "notes.txt").write_text("not a picture")
    assert values(one) == values(str(one)) == values([one]) == {str(one): 1}
    many = ("9.png", "10.png", "100.png", "deeper/7.bmp")  # as people count, folders behind their files
    assert list(values([tmp_path / "many", one]).items()) == [
        *((str(tmp_path / "many" / name), int(Path(name).stem)) for name in many),
        (str(one), 1),
    ]


def test_a_link_in_a_circle_ends(tmp_path: Path) -> None:
    write(tmp_path / "a.png", 5)
    (tmp_path / "again").symlink_to(tmp_path)
    assert list(values(tmp_path)) == [str(tmp_path / "a.png")]


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize("shape", [(6, 6), (6, 6, 1), (1, 6, 6, 1), (1, 6, 6), (6, 6, 3), (6, 6, 4), (1, 6, 6, 3)])
def test_arrays_of_one_picture(kind: type, shape: tuple[int, ...]) -> None:
    array = kind(np.full(shape, 255, np.uint8))
    for preparation in (GREY, COLOUR):
        assert values(array, preparation) == {"picture 0": 255}


def test_arrays_of_several() -> None:
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 6, 6, 1), np.uint8)
    wanted = {"picture 0": 0, "picture 1": 1, "picture 2": 2}
    assert values(images) == values(images[..., 0]) == values(list(images)) == wanted


def test_pictures_of_another_size_are_brought_to_it() -> None:
    assert values(np.full((2, 9, 5), 7, np.uint8)) == {"picture 0": 7, "picture 1": 7}


def test_bad_files_are_named_or_left_out(tmp_path: Path) -> None:
    good, bad = write(tmp_path / "good.png", 3), tmp_path / "bad.png"
    bad.write_text("text")
    with pytest.raises(DataError, match=r"bad\.png: it is text"):
        values([good, bad])
    assert values([good, bad], skip_bad=True) == {str(good): 3}
    with pytest.raises(DataError, match=r"bad\.png: it is text"):
        values([bad], skip_bad=True)


@pytest.mark.parametrize(
    ("source", "message"),
    [([], "no pictures to answer for"), ("nowhere", "no such picture"), (np.zeros((0, 4, 4)), "no picture")],
)
def test_nothing_to_answer_for(source: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        values(source)


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match="no pictures in this folder"):
        values(tmp_path)
