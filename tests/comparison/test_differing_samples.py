"""Where models differ: which samples are shown, how, and what is drawn of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corecur.comparison.candidates import open_candidates
from corecur.comparison.compare import compare
from corecur.comparison.differing_samples import apart_in, tags_in_words
from corecur.comparison.entries import Entry
from corecur.comparison.window_drawings import drawn_windows, said_again
from corecur.learners.answer_record import FIGURES, AnswerRecord, digest, read_record
from corecur.learners.forecaster import Forecaster
from corecur.learners.text_generator import TextGenerator

ACCURACY, ERROR = FIGURES["classes"][0], FIGURES["windows"][0]


def _classes(answers: str, truth: str) -> AnswerRecord:
    right = np.array([a == t for a, t in zip(answers, truth, strict=True)], float)
    names = tuple(f"{place}.png" for place in range(len(truth)))
    return AnswerRecord(
        "image-classification", "classes", names, tuple(map(digest, names)), {"right": right, "nats": 1 - right},
        truth=tuple(truth), answers=tuple(answers), labels=("a", "b", "c"),
    )  # fmt: skip


def test_of_several_runs_what_most_answered_is_shown() -> None:
    truth = "abca"
    one = Entry("one", (), tuple(_classes(each, truth) for each in ("abca", "abcb", "aacb")))
    two = Entry("two", (), tuple(_classes(each, truth) for each in ("abcb", "abab", "bbac")))
    shown, count, words = apart_in([one, two], ACCURACY)
    assert count == 1 and "mostly answer 1 of 4" in words
    assert (shown[0].name, shown[0].truth, shown[0].answers) == ("2.png", "c", ("c", "a (2 of 3)"))


def test_the_plainest_differences_come_first() -> None:
    truth = "aaaa"
    entries = [Entry(name, (), (_classes(each, truth),)) for name, each in (("one", "bcaa"), ("two", "cbba"))]
    shown, _, _ = apart_in(entries, ACCURACY)
    assert [one.name for one in shown] == ["2.png", "0.png", "1.png"]


def test_windows_that_overlap_are_shown_once() -> None:
    errors = np.array([1.0, 9.0, 8.0, 7.0, 1.0, 1.0, 5.0, 4.0])
    names = tuple(map(str, range(8)))
    record = AnswerRecord("forecasting", "windows", names, names, {"square": errors, "absolute": errors}, block=3)
    other = dataclasses.replace(record, counts={"square": np.ones(8), "absolute": np.ones(8)})
    shown, count, words = apart_in([Entry("a", (), (other,)), Entry("b", (), (record,))], ERROR)
    assert [one.name for one in shown] == ["1", "6"] and count == 5 and "none beside another" in words


def test_tags_are_shown_as_people_read_them() -> None:
    words = ["Ann", "Lee", "went", "to", "New", "York"]
    tagged = ["B-PER I-PER O O B-LOC I-LOC", "B-PER O O O O O", "O O O O O O"]
    assert tags_in_words(tagged, words, entities=True) == ["Ann Lee: PER, New York: LOC", "Ann: PER", "none"]
    assert tags_in_words(["B-PER O"], ["Ann…"], entities=True) == ["Ann…: PER"]
    assert tags_in_words(["O B-PER"], ["cut…"], entities=True) == ["…: PER"]  # a text too long to be kept whole


@pytest.fixture(scope="module")
def forecasts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    found = []
    for epochs in (1, 3):
        learner = Forecaster(epochs=epochs, threads=1, rows=600)
        run = learner.fit("demand", out=tmp_path_factory.mktemp("runs"), name=f"e{epochs}", baseline="none").run
        assert run is not None
        found.append(run.path)
    return found


def test_forecasts_of_both_are_drawn_with_the_values(forecasts: list[Path], tmp_path: Path) -> None:
    found = compare(*forecasts, page=tmp_path / "page.html", latency=False)
    assert found.apart and found.pictures.keys() == {one.place for one in found.apart}
    assert all(picture.count("<polyline") == 4 for picture in found.pictures.values())
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "Grey and black: the values" in page
    record = read_record(forecasts[0] / "answers.json")
    assert record is not None
    elsewhere = dataclasses.replace(record, contents=tuple(digest(name) for name in record.names))
    assert drawn_windows([[one] for one in open_candidates(forecasts)], elsewhere, [0, 1]) == {}


def test_what_is_drawn_has_the_error_that_was_kept(forecasts: list[Path]) -> None:
    """The forecast made again is the one that was tested."""
    from corecur.comparison.candidates import open_candidates

    candidate = open_candidates(forecasts)[0]
    record, place = candidate.record, 7
    _, truth, said = said_again(candidate, {record.contents[place]})[record.contents[place]]
    errors = (truth - said) / np.array(record.same["units"])
    assert (errors**2).mean() == pytest.approx(record.counts["square"][place], rel=1e-3)


def test_forecasts_of_folds_are_drawn_as_well(
    forecasts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each window by the two that did not learn from it: what is drawn is as wrong as what was tested."""
    seen: list[tuple[AnswerRecord, Any, dict[str, Any]]] = []

    def kept(candidates: Any, record: AnswerRecord, places: Sequence[int], **more: Any) -> dict[int, str]:
        seen.append((record, candidates, more))
        return drawn_windows(candidates, record, places, **more)

    monkeypatch.setattr("corecur.comparison.differing_samples.drawn_windows", kept)
    found = compare(*forecasts, folds=2, out=tmp_path / "out", page=tmp_path / "page.html", latency=False)
    assert found.apart and found.pictures.keys() == {one.place for one in found.apart}
    assert all(picture.count("<polyline") == 4 for picture in found.pictures.values())
    record, candidates, more = seen[0]  # the record is that of one of the two
    for place in found.pictures:
        errors = []
        for each in candidates:
            said = said_again(each[more["folds"][place]], {record.contents[place]}, more["pool"].train)
            _, truth, answer = said[record.contents[place]]
            errors.append((((truth - answer) / np.array(record.same["units"])) ** 2).mean())
        assert min(abs(error / record.counts["square"][place] - 1) for error in errors) < 1e-3


@pytest.mark.parametrize(("level", "kinds", "counted"), [("char", 3, "bits"), ("word", 2, "nats")])
def test_the_parts_of_a_text_add_up(level: str, kinds: int, counted: str, tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("The cat sat; the dog ran. It was 12 o'clock, and then 3! " * 60)
    learner = TextGenerator(level=level, epochs=1, units=8, batch_size=2, bptt_steps=16, threads=1)
    run = learner.fit(str(tmp_path / "book.txt"), out=tmp_path / "runs", test=0.2, baseline="none").run
    assert run is not None
    record = read_record(run.path / "answers.json")
    assert record is not None and len(record.parts) == kinds
    for name, whole in record.counts.items():
        parts = np.sum([part[name] for part in record.parts.values()], axis=0)
        assert parts == pytest.approx(whole, rel=1e-5), name
    assert counted in record.counts
    if level == "char":
        text = (tmp_path / "book.txt").read_text()[-int(record.counts["characters"].sum()) :]
        begins = sum(a.isalnum() and not b.isalnum() for a, b in zip(text[1:], text, strict=False))
        assert record.parts["first letters of words"]["characters"].sum() == pytest.approx(begins, abs=1)


def test_the_command_shows_the_parts(command: Callable[..., Any], forecasts: list[Path]) -> None:
    shown = command("compare", *forecasts, "--no-latency")
    assert shown.exit_code == 0 and "latency" not in shown.stdout and "MSE" in shown.stdout
