"""Precision and recall of a check on faults planted in sets on which no bound of it was chosen.

The kinds of fault are those of ``test_planted_faults``; the sets are others, or other parts of sets.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.cbook
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_image

from corecur.data.open_images import load_images
from corecur.data.series.open_series import gather_labelled_series
from corecur.data.text.open_tagged import load_tagged
from corecur.learners.data_check import check
from tests.data.quality import picture_faults, series_faults, table_faults, tag_faults, text_faults
from tests.soak.test_planted_faults import DATA, Base, figures

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the data folder is not here")


def _pictures(room: Path) -> Iterator[Base]:
    faults = {**picture_faults.PICTURE_FAULTS, "telling_size": picture_faults.telling_size}
    digits = load_digits()
    yield _saved(room / "digits", (digits.images * 255 / 16).astype(np.uint8)[:800], digits.target[:800]), faults
    objects = load_images(DATA / "cifar10").train
    yield _saved(room / "cifar10", objects.images[12000:12800].numpy(), objects.labels[12000:12800].numpy()), faults
    photographs = [load_sample_image(f"{name}.jpg") for name in ("china", "flower")]
    patches = [photo[y : y + 40, x : x + 40] for photo in photographs for y in range(0, 400, 40)
               for x in range(0, 600, 40)]  # fmt: skip
    yield _saved(room / "patches", np.stack(patches), np.arange(len(patches)) // (len(patches) // 2)), faults
    for label in sorted(path for path in (DATA / "sign_digits").iterdir() if path.is_dir()):
        for number, path in enumerate(sorted(label.iterdir())[60:]):
            folder = room / "signs" / ("train" if number < 45 else "test") / label.name
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder)
    yield room / "signs", faults


def _saved(root: Path, pictures: np.ndarray, labels: np.ndarray) -> Path:
    """A folder of pictures, every fourth of a class for the test."""
    seen: Counter[int] = Counter()
    for pixels, label in zip(pictures, labels.tolist(), strict=True):
        seen[label] += 1
        folder = root / ("train" if seen[label] % 4 else "test") / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(pixels.squeeze())).save(folder / f"{seen[label]:03}.png")
    return root


def _texts(room: Path) -> Iterator[Base]:
    folder = DATA / "sentences"
    for name, file, count in (("customers", "custrev.all", 1500), ("sst", "stsa.binary.train", 1500),
                              ("trec", "TREC.train.all", 1500), ("subjective", "subj.all", 1500)):  # fmt: skip
        lines = (folder / file).read_text("latin-1").split("\n")
        yield _told(room / f"{name}.csv", [line.partition(" ")[::2] for line in lines if line], count)
    files = sorted((DATA / "tang_poems").glob("*.json"))
    poems = [poem for file in files for poem in json.loads(file.read_text("utf-8"))]
    known = [name for name, _ in Counter(poem["author"] for poem in poems).most_common(4)]
    written = [(poem["author"], "".join(poem["paragraphs"])) for poem in poems if poem["author"] in known]
    yield _told(room / "poems.csv", [one for one in written if len(one[1]) < 200], 1000)


def _told(path: Path, pairs: list[tuple[str, str]], count: int) -> Base:
    """A table of some texts with labels, without those of which anything is said."""
    order = np.random.default_rng(7).permutation(len(pairs))[:count].tolist()
    rows = [[pairs[k][1], pairs[k][0], "train" if place < 0.8 * count else "test"] for place, k in enumerate(order)]
    text_faults.write(path, rows)
    said = " ".join(line for found in check(path).findings for line in found.evidence)
    kept = [row for place, row in enumerate(rows) if f".csv:{place + 2} " not in said + " "]
    return text_faults.write(path, kept), text_faults.TEXT_FAULTS


def _series(room: Path) -> Iterator[Base]:
    for name in ("ArrowHead", "ACSF1", "OSULeaf", "PickupGestureWiimoteZ"):
        _, gathered = gather_labelled_series(str(DATA / "series" / name))
        series = {f"{split}-{k}": (one, str(part.labels[k]), split)  # type: ignore[index]
                  for split, part in gathered.parts.items() for k, one in enumerate(part.series[:200])}  # fmt: skip
        yield series_faults.write(room / f"{name}.csv", series), series_faults.SERIES_FAULTS


def _tables(room: Path) -> Iterator[Base]:
    shutil.copy(DATA / "series" / "Airline.csv", room / "airline.csv")
    yield room / "airline.csv", table_faults.TABLE_FAULTS
    lines = (DATA / "ett" / "ETTh1.csv").read_text().splitlines()
    (room / "ett.csv").write_text("\n".join([lines[0], *lines[9000:13000]]) + "\n")
    yield room / "ett.csv", table_faults.TABLE_FAULTS
    lines = Path(str(matplotlib.cbook.get_sample_data("Stocks.csv", asfileobj=False))).read_text().splitlines()
    cells = [line.split(",") for line in lines if not line.startswith("#")]
    old = [place for place, cell in enumerate(cells[1]) if cell]  # the columns that begin with the table
    months = [[row[0].removesuffix("-01"), *row[1:]] for row in cells
              if row[0].endswith(("Date", "-01")) and all(row[place] for place in old)]  # fmt: skip
    (room / "stocks.csv").write_text("\n".join(",".join(row[place] for place in old) for row in months) + "\n")
    yield room / "stocks.csv", table_faults.TABLE_FAULTS


def _tags(room: Path) -> Iterator[Base]:
    for name, first in (("wnut17", 1700), ("ud_english_ewt", 5000)):
        found, root, seen = load_tagged(DATA / name, skip_bad=True), room / name, set[tuple[str, ...]]()
        root.mkdir()
        for file, part, start, count in (("train.conll", found.train, first, 1500),
                                         ("test.conll", found.validation, 0, 300)):  # fmt: skip
            assert part is not None
            kept: tag_faults.Sentences = []
            for words, tags in zip(part.sentences[start:], (part.tags or ())[start:], strict=True):
                if words not in seen and len(kept) < count:
                    seen.add(words)
                    kept.append([(w, t if name == "wnut17" else f"B-{t}") for w, t in zip(words, tags, strict=True)])
            tag_faults.write(root / file, kept)
        yield root, tag_faults.TAG_FAULTS
    text = (DATA / "tang_poems" / "poet.tang.3000.json").read_text("utf-8")
    poems = [poem["paragraphs"] for poem in json.loads(text)]
    lines = list(dict.fromkeys(line for poem in poems for line in poem if 8 <= len(line) <= 16))
    verses = [[(sign, "O" if sign in "，。？！；" else "B-VERSE" if k in (0, len(line) // 2) else "I-VERSE")
               for k, sign in enumerate(line)] for line in lines]  # fmt: skip
    (room / "verses").mkdir()
    tag_faults.write(room / "verses" / "train.conll", verses[:1500])
    tag_faults.write(room / "verses" / "test.conll", verses[1500:1800])
    yield room / "verses", tag_faults.TAG_FAULTS


KINDS: dict[str, tuple[Callable[[Path], Iterator[Base]], str]] = {
    "pictures": (_pictures, "auto"),
    "texts": (_texts, "auto"),
    "series": (_series, "auto"),
    "tables": (_tables, "forecasting"),
    "tags": (_tags, "auto"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_planted_faults_in_held_out_data(kind: str, tmp_path: Path) -> None:
    whole = figures(kind, *KINDS[kind], tmp_path)
    assert whole.recall >= 0.95 and whole.precision >= 0.95
