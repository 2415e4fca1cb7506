"""Precision and recall of a check on faults planted in real data: pictures, texts, series, tables, tags.

Every kind of data has three sets or more, real ones and made-up ones, and ten kinds of fault or more; both figures are
to be 0.95 or better over each kind. Findings on the clean sets are left out of the count and printed.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corecur.data.open_images import load_images
from corecur.data.series.open_series import gather_labelled_series
from corecur.data.series.open_tables import load_table
from corecur.data.text.open_tagged import load_tagged
from corecur.learners.data_check import check
from tests.data.quality import picture_faults, series_faults, table_faults, tag_faults, text_faults
from tests.data.quality.faults import Plant, Score, measure

DATA = Path(__file__).parents[3] / "shared" / "data"
Base = tuple[Path, dict[str, Plant]]

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the data folder is not here")


def _pictures(room: Path) -> Iterator[Base]:
    faults = {**picture_faults.PICTURE_FAULTS, "telling_size": picture_faults.telling_size}
    yield picture_faults.drawn(room / "drawn"), faults
    for name, train, test in (("mnist", 60, 20), ("cifar10", 60, 20)):
        source = load_images(DATA / name).train
        root, seen = room / name, dict[int, int]()
        for pixels, label in zip(source.images[:3000].numpy(), (source.labels[:3000]).tolist(), strict=True):
            number = seen[label] = seen.get(label, 0) + 1
            if number <= train + test:
                folder = root / ("train" if number <= train else "test") / str(label)
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.squeeze()).save(folder / f"{number:03}.png")
        yield root, {**faults, "inverted": picture_faults.inverted} if name == "mnist" else faults
    for label in sorted(path for path in (DATA / "sign_digits").iterdir() if path.is_dir()):
        for number, path in enumerate(sorted(label.iterdir())[:60]):
            folder = room / "signs" / ("train" if number < 45 else "test") / label.name
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder)
    yield room / "signs", faults


def _texts(room: Path) -> Iterator[Base]:
    yield text_faults.written(room / "made.csv"), text_faults.TEXT_FAULTS
    lines = (DATA / "sentences" / "rt-polarity.all").read_text("latin-1").split("\n")
    polarity = [(text, label) for label, _, text in (line.partition(" ") for line in lines) if text]
    with next((DATA / "waimai").glob("*.csv")).open(encoding="utf-8") as file:
        waimai = [(row[1], row[0]) for row in list(csv.reader(file))[1:]]
    reviews = [(path.read_text("latin-1").replace("\n", " "), label) for label in ("pos", "neg")
               for path in sorted((DATA / "movie_reviews" / label).iterdir())[:120]]  # fmt: skip
    for name, pairs, count in (("polarity", polarity, 1200), ("waimai", waimai, 1500), ("reviews", reviews, 240)):
        order = np.random.default_rng(5).permutation(len(pairs))[:count].tolist()
        rows = [[*pairs[k], "train" if place < 0.8 * count else "test"] for place, k in enumerate(order)]
        path = text_faults.write(room / f"{name}.csv", rows)
        said = " ".join(line for found in check(path).findings for line in found.evidence)
        kept = [row for place, row in enumerate(rows) if f".csv:{place + 2} " not in said + " "]
        yield text_faults.write(path, kept), text_faults.TEXT_FAULTS


def _series(room: Path) -> Iterator[Base]:
    yield series_faults.played(room / "played.csv"), series_faults.SERIES_FAULTS
    for name in ("GunPoint", "JapaneseVowels", "BasicMotions", "ItalyPowerDemand"):
        _, gathered = gather_labelled_series(str(DATA / "series" / name))
        series = {f"{split}-{k}": (one[:, :6], str(part.labels[k]), split)  # type: ignore[index]
                  for split, part in gathered.parts.items() for k, one in enumerate(part.series[:300])}  # fmt: skip
        yield series_faults.write(room / f"{name}.csv", series), series_faults.SERIES_FAULTS


def _tables(room: Path) -> Iterator[Base]:
    yield table_faults.metered(room / "metered.csv"), table_faults.TABLE_FAULTS
    lines = (DATA / "ett" / "ETTh1.csv").read_text().splitlines()
    (room / "ett.csv").write_text("\n".join(lines[:3000]) + "\n")
    yield room / "ett.csv", table_faults.TABLE_FAULTS
    table = load_table("demand")
    times = [] if table.times is None else [str(when).replace("T", " ")[:16] for when in table.times]
    rows = [[when, *(f"{value:.4f}" for value in row)] for when, row in zip(times, table.values.tolist(), strict=True)]
    yield table_faults.write(room / "demand.csv", ["date", *table.names], rows), table_faults.TABLE_FAULTS


def _tags(room: Path) -> Iterator[Base]:
    yield tag_faults.told(room / "told"), tag_faults.TAG_FAULTS
    for name in ("wnut17", "ud_english_ewt"):
        found, root, seen = load_tagged(DATA / name, skip_bad=True), room / name, set[tuple[str, ...]]()
        root.mkdir()
        for file, part, count in (("train.conll", found.train, 1500), ("test.conll", found.test, 300)):
            kept: tag_faults.Sentences = []
            for words, tags in zip(part.sentences, part.tags or (), strict=True) if part is not None else ():
                if words not in seen and len(kept) < count:
                    seen.add(words)
                    kept.append([(w, t if name == "wnut17" else f"B-{t}") for w, t in zip(words, tags, strict=True)])
            tag_faults.write(root / file, kept)
        yield root, tag_faults.TAG_FAULTS


KINDS: dict[str, tuple[Callable[[Path], Iterator[Base]], str]] = {
    "pictures": (_pictures, "auto"),
    "texts": (_texts, "auto"),
    "series": (_series, "auto"),
    "tables": (_tables, "forecasting"),
    "tags": (_tags, "auto"),
}


def figures(kind: str, bases: Callable[[Path], Iterator[Base]], task: str, room: Path) -> Score:
    """Plant faults in the sets of a kind one after another, print what each gives, and add it up."""
    whole = Score()
    for path, faults in bases(room):
        own = Score()
        clean = measure(path, faults, own, scratch=room / "spoiled", task=task)
        words = f"recall {own.recall:.3f} ({own.planted}), precision {own.precision:.3f} ({own.said})"
        print(f"\n{kind} {path.name}: {len(faults)} faults, {words}; clean: {[str(one)[:90] for one in clean]}")
        print("\n".join(own.remarks), flush=True)
        for name in ("found", "planted", "right", "said"):
            setattr(whole, name, getattr(whole, name) + getattr(own, name))
    print(f"{kind} in all: recall {whole.recall:.3f}, precision {whole.precision:.3f}")
    return whole


@pytest.mark.parametrize("kind", KINDS)
def test_planted_faults_in_real_data(kind: str, tmp_path: Path) -> None:
    whole = figures(kind, *KINDS[kind], tmp_path)
    assert whole.recall >= 0.95 and whole.precision >= 0.95
