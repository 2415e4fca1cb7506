"""Faults of folders of pictures: train/ and test/ with a folder for each class."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from .faults import Plant, Planted, Random

COUNT = 5


def files(root: Path, split: str = "train", label: str | None = None) -> list[Path]:
    """The pictures of a split in order."""
    return sorted(path for path in (root / split).rglob("*") if path.is_file() and label in (None, path.parent.name))


def chosen(root: Path, random: Random, count: int = COUNT, split: str = "train") -> list[Path]:
    """Some pictures of a split."""
    found = files(root, split)
    return [found[k] for k in random.choice(len(found), count, replace=False)]


def name(path: Path) -> str:
    """What a check calls a picture: its folder and its name."""
    return f"{path.parent.name}/{path.name}"


def _named(kinds: str, paths: list[Path]) -> Planted:
    return Planted(frozenset(kinds.split()), tuple((name(path),) for path in paths))


def truncated(root: Path, random: Random) -> Planted:
    paths = chosen(root, random)
    for path in paths:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
    return _named("unreadable", paths)


def text_as_picture(root: Path, random: Random) -> Planted:
    paths = chosen(root, random)
    for path in paths:
        path.write_text("<html>not found</html>")
    return _named("unreadable", paths)


def copies(root: Path, random: Random) -> Planted:
    added = []
    for number, path in enumerate(chosen(root, random)):
        added.append(path.with_name(f"copie 复制 {number}{path.suffix}"))
        shutil.copy(path, added[-1])
    return _named("copies", added)


def leak(root: Path, random: Random) -> Planted:
    added = []
    for number, path in enumerate(chosen(root, random)):
        added.append(root / "test" / path.parent.name / f"again{number}{path.suffix}")
        shutil.copy(path, added[-1])
    return _named("leak", added)


def disputed(root: Path, random: Random) -> Planted:
    added = []
    classes = sorted(path.name for path in (root / "train").iterdir())
    for number, path in enumerate(chosen(root, random)):
        other = next(label for label in classes if label != path.parent.name)
        added.append(root / "train" / other / f"twin{number}{path.suffix}")
        shutil.copy(path, added[-1])
    return _named("disputed", added)


def changed(picture: Image.Image, number: int) -> Image.Image:
    """A picture as it comes back from elsewhere: encoded again, of another size, a little cut, a little brighter."""
    w, h = picture.size
    if number % 5 == 0:
        buffer = io.BytesIO()
        picture.convert("RGB").save(buffer, "JPEG", quality=70)
        return Image.open(io.BytesIO(buffer.getvalue()))
    if number % 5 == 1:
        return picture.resize((w * 2, h * 2), Image.Resampling.BICUBIC)
    if number % 5 == 2 and min(w, h) >= 32:
        cut = max(1, round(min(w, h) * 0.03))
        return picture.crop((cut, cut, w - cut, h)).resize((w, h), Image.Resampling.BICUBIC)
    if number % 5 == 3:
        return picture.point(lambda v: min(255, round(v * 1.08 + 4)))
    noise = np.random.default_rng(number).normal(0, 2, np.asarray(picture).shape)
    return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))


def near_leak(root: Path, random: Random) -> Planted:
    added = []
    for number, path in enumerate(chosen(root, random)):
        added.append(root / "test" / path.parent.name / f"almost{number}.png")
        changed(Image.open(path), number).save(added[-1])
    return _named("near-leak leak", added)


def near_copies(root: Path, random: Random) -> Planted:
    added = []
    for number, path in enumerate(chosen(root, random)):
        added.append(path.with_name(f"almost{number}.png"))
        changed(Image.open(path), number).save(added[-1])
    return _named("near-copies copies", added)


def blank(root: Path, random: Random) -> Planted:
    paths = chosen(root, random)
    for number, path in enumerate(paths):
        picture = Image.open(path)
        Image.new(picture.mode, picture.size, 0 if number % 2 else (255 if picture.mode == "L" else (9, 9, 9))).save(
            path
        )
    return _named("constant", paths)


def odd_sizes(root: Path, random: Random) -> Planted:
    paths = chosen(root, random, 3)
    for number, path in enumerate(paths):
        picture = Image.open(path)
        w, h = picture.size
        size = [(w * 5, h * 5), (w * 6, max(4, h // 2)), (max(4, w // 4), max(4, h // 4))][number]
        picture.resize(size).save(path)
    return _named("odd-size", paths)


def noise(root: Path, random: Random) -> Planted:
    paths = chosen(root, random)
    for path in paths:
        shape = np.asarray(Image.open(path)).shape
        Image.fromarray(random.integers(0, 256, shape).astype(np.uint8)).save(path.with_suffix(".png"))
        if path.suffix != ".png":
            path.unlink()
    return _named("noise", [path.with_suffix(".png") for path in paths])


def missing_class(root: Path, random: Random) -> Planted:
    shutil.rmtree(sorted((root / "test").iterdir())[0])
    return Planted(frozenset({"missing-class", "refused"}), whole=True)


def tiny_class(root: Path, random: Random) -> Planted:
    for path in files(root, "train", sorted((root / "train").iterdir())[0].name)[3:]:
        path.unlink()
    return Planted(frozenset({"few", "imbalance"}), whole=True)


def telling_size(root: Path, random: Random) -> Planted:
    label = sorted((root / "train").iterdir())[0].name
    for split in ("train", "test"):
        for path in files(root, split, label):
            picture = Image.open(path)
            picture.resize((picture.width + 8, picture.height + 8)).save(path)
    return Planted(frozenset({"leak-feature"}), whole=True)


def hidden(root: Path, random: Random) -> Planted:
    paths = chosen(root, random)
    for path in paths:
        path.rename(path.with_suffix(".dat"))
    return _named("hidden-pictures", [path.with_suffix(".dat") for path in paths])


def misnamed(root: Path, random: Random) -> Planted:
    paths = chosen(root, random)
    for path in paths:
        picture = Image.open(path)
        picture.load()
        picture.save(path, "GIF" if picture.mode == "L" else "BMP")
    return _named("misnamed", paths)


PICTURE_FAULTS: dict[str, Plant] = {
    fault.__name__: fault
    for fault in (
        truncated, text_as_picture, copies, leak, disputed, near_leak, near_copies, blank, odd_sizes, noise,
        missing_class, tiny_class, hidden, misnamed,
    )
}  # fmt: skip


def inverted(root: Path, random: Random) -> Planted:
    """Only where all pictures have one background."""
    paths = chosen(root, random)
    for path in paths:
        picture = Image.open(path)
        Image.fromarray(255 - np.asarray(picture)).save(path)
    return _named("inverted", paths)


def drawn(root: Path, *, classes: int = 3, train: int = 40, test: int = 12, side: int = 48, seed: int = 0) -> Path:
    """Coloured shapes on wavy grounds, a folder a class, with train and test around them."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    for split, count in (("train", train), ("test", test)):
        for label in range(classes):
            folder = root / split / ("圆", "square", "dots")[label]
            folder.mkdir(parents=True)
            for number in range(count):
                a, b, c, d = random.uniform(2, 9, 4)
                ground = np.sin(a * x + b * y + c)[..., None] * random.uniform(20, 60, 3) + random.uniform(60, 190, 3)
                ground = ground + np.sin(d * x * y * 3)[..., None] * random.uniform(10, 40, 3)
                u, v, r = *random.uniform(0.3, 0.7, 2), random.uniform(0.1, 0.25)
                inside = [(x - u) ** 2 + (y - v) ** 2 < r * r, (abs(x - u) < r) & (abs(y - v) < r),
                          (np.sin(x * 40) * np.sin(y * 40) > 0.3) & (abs(x - u) < r)][label]  # fmt: skip
                ground[inside] = random.uniform(0, 255, 3)
                pixels = (ground + random.normal(0, 3, ground.shape)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    return root
