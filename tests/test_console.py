from __future__ import annotations

import csv
import io
import math

import pytest
import torch

from corecur import console
from corecur.learners.evaluation import evaluate_classifier, predictions, probabilities_listing
from corecur.learners.fit_result import FitResult
from corecur.learners.image_recipe import ImageRecipe
from corecur.learners.learner import NoReading

Captured = pytest.CaptureFixture[str]


def test_a_table_keeps_a_long_name_on_its_line(capsys: Captured) -> None:
    name = "deep/" * 60 + "picture.png"
    answers = predictions(torch.tensor([[0.75, 0.25]]), [name], ["cat", "dog"])
    console.say_listing(probabilities_listing(answers, what="file", top=3))
    header, row = capsys.readouterr().out.splitlines()
    assert row == f"{name}  cat         75.0 %  dog 25.0 %"
    assert header.split() == ["file", "label", "probability", "then"]


def test_of_many_classes_the_weakest_are_shown(capsys: Captured) -> None:
    labels = torch.arange(100)
    answers = torch.where(labels < 7, labels + 1, labels)  # the first seven are wrong
    result = evaluate_classifier(torch.eye(100)[answers], labels, [f"class {k}" for k in range(100)])
    console.say_outcome(result)
    said = capsys.readouterr().out
    assert all(f"class {k} " in said for k in range(8))
    assert "… and 60 classes that do better" in said and said.count("\nclass ") == 41


def test_the_recipe_can_be_typed_back(capsys: Captured) -> None:
    recipe = ImageRecipe(widths=(8, 16), test_time_views=True)
    console.say_recipe(recipe, NoReading(), "image-classification")
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if line.startswith("  --")]
    settings = {name[2:].replace("-", "_"): value for name, value in lines}
    read = settings | {"widths": tuple(settings["widths"].split(","))}
    assert ImageRecipe.model_validate(read) == recipe


def test_a_result_without_test_and_run_says_nothing(capsys: Captured) -> None:
    console.say_result(FitResult())
    assert capsys.readouterr().out == ""


def test_files_are_counted_on_a_terminal_only(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    console.count_files(10, 1000)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    for done in (10, 1000):
        console.count_files(done, 1000)
    console.count_files(3, 30)
    assert capsys.readouterr().err == "reading files: 10 of 1,000\rreading files: 1,000 of 1,000\n"


def test_json_is_json(capsys: Captured) -> None:
    console.say_json({"ä": [1]})
    assert capsys.readouterr().out == '{"ä": [1]}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        console.say_json(math.nan)


# What a spreadsheet would run: OWASP's list (CWE-1236), behind blanks and in wide forms too.
FORMULAS = (
    "=1+1", "=cmd|' /C calc'!A0", "+1+1", "-1+1|cmd", "@SUM(A1)", "\t=1+1", "\r=1+1", "\n=1+1", " =1+1", "＝1+1",
    "＋1+1", "－1+1", "＠SUM(A1)", '=HYPERLINK("http://x","y")', "-", "+", "-inf", "--1", "+a.png",
)  # fmt: skip
NUMBERS = ("0.5", "-0.5", "+3", "-1e-05", "1E9", ".5", "-7", "5.")
HARMLESS = ("a=b", "a-b.png", "2024-01-01", "", "'quoted", "caf\xe9", 'say "x"', "two\nlines", "a,b", "cr\rhere")


@pytest.mark.parametrize("cell", FORMULAS)
def test_no_cell_of_a_csv_is_a_formula(cell: str) -> None:
    header, row = csv.reader(io.StringIO(console.as_csv([cell, "b"], [[cell, "0.5"]]), newline=""))
    assert header[0] == row[0] == "'" + cell and row[1] == "0.5"


@pytest.mark.parametrize("cell", NUMBERS + HARMLESS)
def test_other_cells_of_a_csv_stay_as_they_are(cell: str) -> None:
    ((found, other),) = csv.reader(io.StringIO(console.as_csv([cell, "b"], []), newline=""))
    assert (found, other) == (cell, "b")
