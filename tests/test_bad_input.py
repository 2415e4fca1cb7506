"""Bad input through the command: a message that names the file, exit code 1 or 2, and nothing left behind."""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from corecur.errors import ConfigError, CorecurError, DataError, ShapeError
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.learners.forecaster import Forecaster
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.sequence_tagger import SequenceTagger
from corecur.learners.series_classifier import SeriesClassifier
from corecur.learners.text_classifier import TextClassifier
from corecur.learners.text_generator import TextGenerator
from corecur.models import Input, Sequential

Command = Callable[..., Any]


def damage(photos: Path, name: str, content: bytes) -> Path:
    """The folder with one more file in the class ``dark``."""
    (photos / "dark" / name).write_bytes(content)
    return photos


def huge_png() -> bytes:
    """A PNG file of a few hundred bytes that claims 50,000 × 50,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def no_path(photos: Path) -> Path:
    return photos.parent / "fotos"


def empty_folder(photos: Path) -> Path:
    (photos.parent / "nothing").mkdir()
    return photos.parent / "nothing"


def one_class(photos: Path) -> Path:
    shutil.rmtree(photos / "dark")
    shutil.rmtree(photos / "light")
    return photos


def class_with_one_sample(photos: Path) -> Path:
    for file in sorted((photos / "dark").iterdir())[1:]:
        file.unlink()
    return photos


def empty_class(photos: Path) -> Path:
    (photos / "pale").mkdir()
    return photos


def truncated_png(photos: Path) -> Path:
    return damage(photos, "cut.png", (photos / "dark" / "0.png").read_bytes()[:90])


def text_as_jpeg(photos: Path) -> Path:
    return damage(photos, "letter.jpg", b"Dear Sir or Madam,\n")


def empty_file(photos: Path) -> Path:
    return damage(photos, "empty.png", b"")


def gigantic_png(photos: Path) -> Path:
    return damage(photos, "huge.png", huge_png())


def table_of_nothing(photos: Path) -> Path:
    (photos.parent / "labels.csv").write_text("path,label\na.png,cat\n", encoding="utf-8")
    return photos.parent / "labels.csv"


def table_of_numbers(photos: Path) -> Path:
    (photos.parent / "load.csv").write_text("date,load\n2020-01-01,1.5\n2020-01-02,2.5\n", encoding="utf-8")
    return photos.parent / "load.csv"


def letters(photos: Path) -> Path:
    (photos.parent / "letters" / "kind").mkdir(parents=True)
    (photos.parent / "letters" / "kind" / "1.txt").write_text("thank you", encoding="utf-8")
    return photos.parent / "letters"


def papers(photos: Path) -> Path:
    (photos.parent / "papers").mkdir()
    (photos.parent / "papers" / "1.docx").write_bytes(b"PK")
    return photos.parent / "papers"


def arrays_that_differ(photos: Path) -> Path:
    np.savez(photos.parent / "a.npz", images=np.zeros((6, 8, 8), np.uint8), labels=np.arange(5))
    return photos.parent / "a.npz"


def arrays_with_nan(photos: Path) -> Path:
    images = np.full((6, 8, 8), 0.5)
    images[4, 2, 2] = np.nan
    np.savez(photos.parent / "nan.npz", images=images, labels=np.arange(6) % 2)
    return photos.parent / "nan.npz"


def pickled_arrays(photos: Path) -> Path:
    np.savez(photos.parent / "o.npz", images=np.array([{"a": 1}], dtype=object), labels=np.zeros(1))
    return photos.parent / "o.npz"


# What is done to a good folder of pictures, and what the message must name.
BAD_SOURCES: dict[Callable[[Path], Path], tuple[str, ...]] = {
    no_path: ("no such file or folder", "fotos", "did you mean", "photos"),
    empty_folder: ("the folder is empty", "nothing", "one folder per class"),
    one_class: ("one class only", "photos", "'grey'"),
    class_with_one_sample: ("fewer than two samples", "'dark' (1)"),
    empty_class: ("a class folder holds no picture", "pale/"),
    truncated_png: ("cut.png", "damaged or cut short", "--skip-bad"),
    text_as_jpeg: ("letter.jpg", "it is text, not a picture", "--skip-bad"),
    empty_file: ("empty.png", "empty (0 bytes)"),
    gigantic_png: ("huge.png", "2,500,000,000 pixels", "at most"),
    table_of_nothing: ("none of the pictures in the table exists", "labels.csv", "a.png"),
    table_of_numbers: ("too short", "load.csv", "2 rows", "a longer table"),
    letters: ("one class only", "letters", "1 texts of 'kind'", "add a class"),
    papers: ("nothing here that can be learned", "papers", "1 .docx", "image-classification", "forecasting"),
    arrays_that_differ: ("a.npz", "6 pictures, 5 labels"),
    arrays_with_nan: ("nan.npz", "NaN", "[4]"),
    pickled_arrays: ("o.npz", "object"),
}


@pytest.fixture
def photos(shades: Path, tmp_path: Path) -> Path:
    """A folder of pictures of one's own to spoil, with an empty folder for temporary files beside it."""
    return Path(shutil.copytree(shades, tmp_path / "photos"))


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("spoil", BAD_SOURCES, ids=lambda spoil: spoil.__name__)
def test_bad_sources(
    command: Command, photos: Path, tmp_path: Path, temporary: Path, spoil: Callable[[Path], Path]
) -> None:
    source = spoil(photos)
    before = sorted(tmp_path.rglob("*"))
    result = command("train", source, "--epochs", 1, "--threads", 1)
    assert result.exit_code in (1, 2), result.stdout
    assert all(word in result.stderr for word in BAD_SOURCES[spoil]), result.stderr
    assert "Traceback" not in result.stderr and result.stderr.startswith("corecur: ")
    assert sorted(tmp_path.rglob("*")) == before
    assert list(temporary.iterdir()) == []


def test_bad_pictures_can_be_set_aside(command: Command, photos: Path) -> None:
    text_as_jpeg(truncated_png(photos))
    result = command("train", photos, "--epochs", 1, "--threads", 1, "--skip-bad")
    assert result.exit_code == 0, result.stderr
    assert "! 2 files could not be read and were set aside" in result.stdout and "letter.jpg" in result.stdout


def test_unusual_pictures_are_learned(command: Command, photos: Path) -> None:
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 60, (12, 12, 3), dtype=np.uint8))
    upright = colours.getexif()
    upright[0x0112] = 6
    dark = photos / "dark"
    colours.convert("CMYK").save(dark / "cmyk.jpg")
    colours.convert("P").save(dark / "palette.png")
    colours.convert("RGBA").save(dark / "alpha.png")
    colours.save(dark / "turned.jpg", exif=upright)
    colours.save(dark / "animated.gif", save_all=True, append_images=[colours])
    Image.fromarray(rng.integers(0, 9000, (12, 12)).astype(np.uint16)).save(dark / "deep.png")
    result = command("train", photos, "--epochs", 1, "--threads", 1)
    assert result.exit_code == 0, result.stderr
    assert "colour pictures" in result.stdout and "set aside" not in result.stdout


# Where the run folder cannot be: root may write everywhere, so files stand in the way.
BAD_OUTPUTS = {
    "a file": ("taken", "taken"),
    "below a file": ("taken/runs", "taken"),
    "in the data": ("photos/runs", "photos/runs"),
    "in no file system": ("/proc/runs", "/proc/runs"),
}


@pytest.mark.parametrize("case", BAD_OUTPUTS)
def test_unwritable_output(command: Command, photos: Path, tmp_path: Path, temporary: Path, case: str) -> None:
    out, named = BAD_OUTPUTS[case]
    if out.startswith("/proc") and not Path("/proc").is_dir():
        pytest.skip("this system has no /proc")
    (tmp_path / "taken").touch()
    before = sorted(tmp_path.rglob("*"))
    result = command("train", photos, "--epochs", 1, "--threads", 1, "--out", out)
    assert result.exit_code in (1, 2)
    assert named in result.stderr and "--out" in result.stderr and "Traceback" not in result.stderr
    assert sorted(tmp_path.rglob("*")) == before
    assert list(temporary.iterdir()) == []


BAD_QUESTIONS = {
    "no picture": ("nothing.png", "nothing.png"),
    "no picture in the folder": ("nothing", "no pictures in this folder"),
    "text": ("photos/dark/letter.jpg", "it is text"),
    "one bad file of a folder": ("photos", "letter.jpg"),
}


@pytest.mark.parametrize("case", BAD_QUESTIONS)
def test_bad_questions(command: Command, trained: Path, photos: Path, case: str) -> None:
    text_as_jpeg(photos)
    empty_folder(photos)
    source, named = BAD_QUESTIONS[case]
    result = command("predict", trained, source, "--json")
    assert result.exit_code == 1 and result.stdout == ""
    assert named in result.stderr and "Traceback" not in result.stderr


def test_labels_the_model_does_not_know(command: Command, trained: Path, photos: Path) -> None:
    (photos / "dark").rename(photos / "dusk")
    result = command("evaluate", trained, photos)
    assert result.exit_code == 1 and "dusk" in result.stderr and "dark, grey, light" in result.stderr


BAD_MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no model": (shutil.rmtree, "no such model file"),
    "a picture": (lambda path: (shutil.rmtree(path), path.write_bytes(huge_png())), "not a corecur model file"),
    "an empty folder": (lambda path: (shutil.rmtree(path), path.mkdir()), "no model file in this folder"),
    "a member missing": (lambda path: (path / "weights.safetensors").unlink(), "weights.safetensors"),
    "a member changed": (lambda path: (path / "labels.json").write_text('["a", "b", "c"]'), "labels.json"),
    "a member too many": (lambda path: (path / "run.py").touch(), "run.py"),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_bad_models(command: Command, trained: Path, photos: Path, tmp_path: Path, case: str) -> None:
    spoil, named = BAD_MODELS[case]
    model = Path(shutil.copytree(trained, tmp_path / "model"))
    spoil(model)
    for words in (["info", model], ["predict", model, photos], ["evaluate", model, photos]):
        result = command(*words)
        assert result.exit_code == 1 and result.stdout == ""
        assert named in result.stderr and "model" in result.stderr and "Traceback" not in result.stderr


# the same from Python

IMAGES, LABELS = np.zeros((8, 8, 8), np.uint8), np.arange(8) % 2
BAD_ARRAYS: dict[str, tuple[Any, Any, str]] = {
    "labels missing": (IMAGES, None, "no labels"),
    "too few labels": (IMAGES, LABELS[:5], "8 pictures, 5 labels"),
    "one-hot labels": (IMAGES, np.eye(2)[LABELS], "argmax"),
    "fractions as labels": (IMAGES, LABELS / 3, "whole numbers"),
    "channels first": (np.zeros((8, 3, 8, 8), np.uint8), LABELS, "channels come last"),
    "NaN": (np.where(np.arange(8)[:, None, None] == 3, np.nan, IMAGES), LABELS, r"images\[3\]"),
    "infinity": (np.where(np.arange(8)[:, None, None] == 3, np.inf, IMAGES), LABELS, r"images\[3\]"),
    "no pictures": (IMAGES[:0], LABELS[:0], "no picture"),
    "already normalised": (IMAGES - 3.5, LABELS, "as they were before any normalisation"),
    "one class": (IMAGES, LABELS * 0, "one class only"),
    "objects": (np.array([None] * 8), LABELS, "Python objects"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays(case: str, tmp_path: Path) -> None:
    images, labels, named = BAD_ARRAYS[case]
    with pytest.raises(DataError, match=named):
        ImageClassifier(epochs=1, threads=1).fit(images, labels, out=tmp_path / "runs")
    assert list(tmp_path.iterdir()) == []


def small_model() -> Sequential:
    """A network that wants (batch, 8, 8, 3)."""
    return Sequential([Input((8, 8, 3)), Conv2D(4, 3, name="first_look"), Dense(2, name="answer")], name="signs")


@pytest.mark.parametrize("shape", [(2, 8, 8, 1), (2, 3, 8, 8), (2, 8, 8)])
def test_a_wrong_shape_names_the_layer(shape: tuple[int, ...]) -> None:
    model = small_model()
    model.compile("adam", "mse")
    for ask in (model, model.predict):
        with pytest.raises(ShapeError) as refused:
            ask(torch.zeros(shape) if ask is model else np.zeros(shape, np.float32))
        assert "signs" in str(refused.value) and "(batch, 8, 8, 3)" in str(refused.value)
    layer = model.get_layer("first_look")
    with pytest.raises(ShapeError, match="'first_look'"):
        layer(torch.zeros(shape))


@pytest.mark.parametrize(
    ("make", "meant"),
    [
        (lambda: small_model().compile("adm", "mse"), "'adam'"),
        (lambda: small_model().compile("adam", "categorical_crossentropi"), "'categorical_crossentropy'"),
        (lambda: small_model().compile("adam", "mse", metrics=["acuracy"]), "'accuracy'"),
        (lambda: Conv2D(4, 3, activation="rellu"), "'relu'"),
        (lambda: Conv2D(4, 3, kernel_initializer="he_unifrom"), "'he_uniform'"),
        (lambda: ImageClassifier(epoch=3), "'epochs'"),
        (lambda: ImageClassifier(model="block"), "'blocks'"),
    ],
)
def test_an_unknown_name_brings_the_nearest(make: Callable[[], object], meant: str) -> None:
    with pytest.raises(ConfigError) as refused:
        make()
    assert f"did you mean {meant}" in str(refused.value)


def test_an_unknown_layer_in_a_model_file_is_named(tmp_path: Path) -> None:
    from corecur import architecture

    description = json.dumps(architecture.describe(small_model()))
    spoiled = json.loads(description.replace('"Conv2D"', '"Conv2d7"'))
    with pytest.raises(CorecurError) as refused:
        architecture.build(spoiled)
    assert "Conv2d7" in str(refused.value) and "Conv2D" in str(refused.value)


@pytest.mark.parametrize(
    "learner", [TextGenerator, TextClassifier, SequenceTagger, SeriesClassifier, Forecaster, ImageClassifier]
)
def test_a_text_where_a_path_is_expected(learner: Any) -> None:
    with pytest.raises(DataError, match="path"):
        learner().read("a text, not the name of a file " * 500)
