"""Classes that are empty, alone, too many, missing or in another order; copies across splits; for every kind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corecur.data.text.corpus import load_corpus
from corecur.errors import DataError
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.learner import Learner
from corecur.learners.sequence_tagger import SequenceTagger
from corecur.learners.series_classifier import SeriesClassifier
from corecur.learners.text_classifier import TextClassifier
from tests.conftest import write_shades
from tests.robustness.hostile_files import motions, panel, reviews, sentences, texts

Command = Callable[..., Any]
Source = Callable[[Path], Path]


def photos(root: Path) -> Path:
    return write_shades(root, {"dark": 6, "light": 6})


FOLDERS: dict[str, Source] = {"pictures": photos, "texts": texts, "series": motions}


@pytest.mark.parametrize("kind", FOLDERS)
def test_classes_that_cannot_be_learned_are_named(command: Command, tmp_path: Path, kind: str) -> None:
    def refused(spoil: Callable[[Path], object]) -> str:
        root = FOLDERS[kind](tmp_path / "set")
        spoil(sorted(root.iterdir())[0])
        result = command("train", root, "--epochs", 1, "--threads", 1)
        shutil.rmtree(root)
        assert result.exit_code == 1 and "Traceback" not in result.stderr
        return str(result.stderr)

    assert "pale" in refused(lambda first: first.with_name("pale").mkdir())
    name = sorted(FOLDERS[kind](tmp_path / "set").iterdir())[0].name
    assert name in refused(lambda first: [file.unlink() for file in sorted(first.iterdir())[1:]])
    # One folder of tables may be anything; the task has to be named to hear more.
    assert ("one class only" if kind != "series" else "nothing here that can be learned") in refused(shutil.rmtree)


def test_a_class_that_the_held_out_splits_lack_is_a_finding() -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (24, 8, 8)).astype(np.uint8)
    labels = np.arange(24) % 3
    series = np.random.default_rng(1).normal(size=(24, 9))
    words = [f"word number {row}" for row in range(24)]
    held = labels != 2
    for learner, samples in (
        (ImageClassifier(), pictures),
        (SeriesClassifier(), series),
        (TextClassifier(), np.array(words)),
    ):
        names = np.array(["a", "b", "c"])[labels]
        data = learner.read(samples, names, validation=(samples[held], names[held]), test=(samples[held], names[held]))
        missing = [finding for finding in data.findings if "'c'" in str(finding) and " split has no " in str(finding)]
        assert len(missing) == 2, (learner.title, data.findings)


def test_tags_are_held_to_the_same(tmp_path: Path) -> None:
    one = [["go", "on"]] * 6
    with pytest.raises(DataError, match="one tag only"):
        SequenceTagger().read(one, [["O", "O"]] * 6)
    with pytest.raises(DataError, match="5,000 at most"):
        rows = [[f"T{number}"] * 2 for number in range(6000)]
        SequenceTagger(threads=1).fit([["a", "b"]] * 6000, rows)
    with pytest.raises(DataError, match="'X'"):
        SequenceTagger().read(one, [["O", "V"]] * 6, test=([["go"]], [["X"]]))


# D08: the answers of a model are by name, whatever the order of the labels in what it is tested on.


def order_of_pictures(root: Path, names: tuple[str, ...]) -> Any:
    """Arrays whose labels are words in another order than that of their numbers."""
    shades = [20, 120, 220]
    pixels = np.random.default_rng(3).integers(-15, 15, (30, 8, 8))
    images = np.stack([shades[row % 3] + pixels[row] for row in range(30)]).astype(np.uint8)
    np.savez(root / "x.npz", images=images, labels=np.array(names)[np.arange(30) % 3])
    return root / "x.npz"


def order_of_series(root: Path, names: tuple[str, ...]) -> Any:
    """A .ts file that declares its classes in the order given."""
    steps = np.arange(12)
    lines = [
        f"{','.join(f'{value:.3f}' for value in (row % 3 - 1) * steps + row / 50)}:{names[row % 3]}"
        for row in range(30)
    ]
    declared = " ".join(sorted(names, reverse=names[0] > names[-1]))
    header = f"@problemName x\n@univariate true\n@classLabel true {declared}\n@data\n"
    (root / "x.ts").write_text(header + "\n".join(lines) + "\n", "utf-8")
    return root / "x.ts"


def order_of_texts(root: Path, names: tuple[str, ...]) -> Any:
    rows = [f"{('dull', 'so so', 'fine')[row % 3]} film number {row},{names[row % 3]}" for row in range(30)]
    ordered = rows if names[0] < names[-1] else rows[::-1]
    (root / "x.csv").write_text("\n".join(["text,label", *ordered]) + "\n", "utf-8")
    return root / "x.csv"


ORDERS: dict[str, tuple[Learner[Any, Any, Any], Callable[[Path, tuple[str, ...]], Any]]] = {
    "pictures": (ImageClassifier(epochs=20, threads=1, widths=(8, 16)), order_of_pictures),
    "series": (SeriesClassifier(epochs=40, threads=1), order_of_series),
    "texts": (TextClassifier(epochs=12, threads=1), order_of_texts),
}


@pytest.mark.parametrize("kind", ORDERS)
def test_labels_count_by_name_and_not_by_place(tmp_path: Path, kind: str) -> None:
    learner, make = ORDERS[kind]
    learner.fit(make(tmp_path, ("a", "b", "c")), validation=0.1, test=0)
    right = learner.evaluate(make(tmp_path, ("a", "b", "c")))
    turned = learner.evaluate(make(tmp_path, ("c", "b", "a")))
    assert right.classes == turned.classes == ("a", "b", "c")
    assert right.accuracy > 0.9
    # The same samples under exchanged names: where it said a for an a, it now says a for what is called c.
    assert np.array_equal(turned.confusion, right.confusion[::-1])
    for names in (("0", "1", "2"), ("A", "b", "c")):
        with pytest.raises(DataError) as refused:
            learner.evaluate(make(tmp_path, names))
        assert names[0] in str(refused.value) and "a, b, c" in str(refused.value)


def test_numbers_do_not_stand_for_names() -> None:
    images = np.zeros((6, 8, 8), np.uint8)
    learner = ORDERS["pictures"][0]
    if not learner.classes:
        pytest.skip("needs the model of the test above")
    with pytest.raises(DataError, match="a, b, c"):
        learner.evaluate(images, np.arange(6) % 3)


# D10: exact copies; near ones are for a data check.


def test_copies_across_splits_are_counted(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pictures = random.integers(0, 255, (40, 8, 8)).astype(np.uint8)
    series = random.normal(size=(40, 9))
    words = np.array([f"this is text {row}" for row in range(40)])
    labels = np.arange(40) % 2
    for learner, samples in ((ImageClassifier(), pictures), (SeriesClassifier(), series), (TextClassifier(), words)):
        taken = random.choice(40, 7, replace=False)
        fresh = samples[:0] if samples is words else samples[:3] + 1
        test = np.concatenate([samples[taken], fresh])
        data = learner.read(samples, labels, validation=0, test=(test, np.arange(len(test)) % 2))
        found = [f for f in data.findings if f.verdict.startswith("7 ") and "train split" in str(f)]
        assert len(found) == 1, (learner.title, data.findings)


def test_copies_that_a_draw_parts_are_counted() -> None:
    random = np.random.default_rng(0)
    pictures = random.integers(0, 255, (20, 8, 8)).astype(np.uint8).repeat(2, axis=0)
    series = random.normal(size=(20, 9)).repeat(2, axis=0)
    words = np.array([f"this is text {row}" for row in range(20)]).repeat(2)
    labels = (np.arange(20) % 2).repeat(2)
    for learner, samples in ((ImageClassifier(), pictures), (SeriesClassifier(), series), (TextClassifier(), words)):
        data = learner.read(samples, labels, validation=0, test=0.25)
        left = set(data.train.contents())
        shared = sum(key in left for key in data.test.contents())
        found = [
            finding for finding in data.findings if finding.verdict.startswith(f"{shared:,} of {len(data.test):,} test")
        ]
        assert shared > 0 and len(found) == 1, (learner.title, data.findings)
    tagged = SequenceTagger().read([["a", str(row // 2)] for row in range(60)], [["D", "N"]] * 60)
    assert any("copies of training samples" in str(finding) for finding in tagged.findings)


def test_tagged_and_plain_text_copies_are_counted() -> None:
    rows, tags = [["a", str(number)] for number in range(20)], [["D", "N"]] * 20
    tagged = SequenceTagger().read(rows, tags, validation=0, test=(rows[:7] + [["b", "c"]], tags[:8]))
    assert "7 of 8 test sentences are in the train split too." in map(str, tagged.findings)
    corpus = load_corpus(["one text", "another"], validation=["another ", "a third"])
    assert tuple(map(str, corpus.findings)) == ("1 of 2 validation documents are in the train split too (train[0]).",)


def test_clean_data_give_no_finding(tmp_path: Path) -> None:
    """What is told of bad data must not be told of good ones."""
    words = ("copy", "copies", "missing", "no value", "differ in writing", "set aside")
    sources: tuple[tuple[Learner[Any, Any, Any], Path], ...] = (
        (ImageClassifier(), write_shades(tmp_path / "set", {"dark": 30, "light": 30})),
        (TextClassifier(), reviews(tmp_path / "a.csv", rows=60)),
        (SeriesClassifier(), panel(tmp_path / "b.csv", lambda series, step: f"{series}.{step}")),
        (SequenceTagger(), sentences(tmp_path / "c.conll")),
    )
    for learner, source in sources:
        findings = learner.read(source).findings
        assert not any(word in str(finding) for finding in findings for word in words), findings
