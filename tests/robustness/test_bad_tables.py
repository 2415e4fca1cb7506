"""Tables with something wrong in a cell, a row or the header: an error that names it or a finding, never a NaN loss."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import write_shades
from tests.robustness.hostile_files import days, panel, reviews

Command = Callable[..., Any]
Spoil = Callable[[Path], Path]


def at(row: int, cell: str, usual: str = "{}.5") -> Callable[[int], str]:
    """A column of which one cell is another."""
    return lambda place: cell if place == row else usual.format(place % 7)


def time_table(cell: str) -> Spoil:
    return lambda path: days(path, at(50, cell))


def edited(make: Spoil, old: str, new: str) -> Spoil:
    """A file with something replaced in it, once."""

    def spoil(path: Path) -> Path:
        text = make(path).read_text("utf-8")
        assert old in text
        path.write_bytes(text.replace(old, new, 1).encode("utf-8", "surrogateescape"))
        return path

    return spoil


def with_line(make: Spoil, line: str) -> Spoil:
    """A file with another line at its end."""

    def spoil(path: Path) -> Path:
        with make(path).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        return path

    return spoil


def series(cell: Callable[[int, int], str]) -> Spoil:
    return lambda path: panel(path, cell)


def one_cell(cell: str) -> Spoil:
    return series(lambda number, step: cell if (number, step) == (3, 4) else str(step * (number % 2)))


def listing(path: Path) -> Path:
    """A table of pictures of two classes."""
    write_shades(path.parent / "set", {"dark": 10, "light": 10})
    rows = [f"set/{shade}/{number}.png,{shade}" for shade in ("dark", "light") for number in range(10)]
    path.write_text("\n".join(["path,label", *rows]) + "\n", encoding="utf-8")
    return path


# What is spoiled, and the words of the refusal.
REFUSED: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "time: infinity": (time_table("inf"), ("'x' has infinite numbers", "row 52")),
    "time: too large": (time_table("1e400"), ("'x' has infinite numbers", "row 52")),
    "time: too large for float32": (time_table("1e308"), ("too large to compute with", "2024-02-20")),
    "time: a word": (time_table("abc"), ("'x' is not numeric", "row 52", "'abc'")),
    "time: a decimal comma": (time_table('"1,5"'), ("'x' is not numeric", "write numbers as 1234.5")),
    "time: a decimal comma in a comma table": (time_table("1,5"), ("row 52", "4 cells", "3, as in the first row")),
    "time: one name twice": (edited(days, "time,x,y", "time,x,x"), ("two columns have one name", "'x'")),
    "time: a ragged row": (with_line(days, "2025-01-01,3"), ("row 162", "2 cells")),
    "time: a zero byte": (time_table("\0"), ("the file is not text",)),
    "time: no such day": (with_line(days, "2025-02-30,1,2"), ("no time", "row 162", "2025-02-30")),
    "time: no time": (with_line(days, ",1,2"), ("no time", "row 162", "an empty cell")),
    "time: a time twice": (with_line(days, "2024-01-01,1,2"), ("a time stands twice", "rows 2 and 162")),
    "time: begins too late": (lambda path: days(path, lambda row: "1" if row > 150 else ""), ("begins too late",)),
    "panel: infinity": (one_cell("-inf"), ("'x' has infinite numbers", "row 36")),
    "panel: too large for float32": (one_cell("1e39"), ("s3", "step 5", "too large")),
    "panel: a word": (one_cell("abc"), ("'x' is not numeric", "row 36")),
    "panel: one name twice": (edited(panel, "x,y", "x,x"), ("two columns have one name",)),
    "panel: a ragged row": (with_line(panel, "s1,3"), ("row 242", "2 cells")),
    "panel: a zero byte": (one_cell("\0"), ("the file is not text",)),
    "panel: two labels": (with_line(panel, "s1,99,3,1,a"), ("two values in the column 'label'", "row 242")),
    "panel: no id": (with_line(panel, ",99,3,1,a"), ("a row has no id", "row 242")),
    "panel: no label": (with_line(panel, "s99,99,3,1,"), ("s99", "no label")),
    "texts: no label": (with_line(reviews, "what is this,"), ("a text has no label", ":26")),
    "texts: one name twice": (edited(reviews, "text,label", "text,TEXT"), ("two columns have one name",)),
    "texts: a ragged row": (with_line(reviews, "a,b,c"), (":26", "3 columns")),
    "texts: an open quotation mark": (with_line(reviews, '"never closed,a'), (":26", "1 columns")),
    "pictures: one name twice": (edited(listing, "path,label", "path,path"), ("two columns have one name",)),
    "pictures: a ragged row": (with_line(listing, "set/dark/1.png"), ("row 22", "1 cells")),
    "pictures: no label": (with_line(listing, "set/dark/1.png,"), ("a row has no label", "row 22")),
    "pictures: a zero byte": (with_line(listing, "set/dark/1\0.png,dark"), ("no such file", "row 22")),
    "pictures: a line end": (with_line(listing, '"set/dark/1\n.png",dark'), ("no such file", "row 23")),
    "pictures: no picture": (with_line(listing, "/etc/hostname,dark"), ("hostname: ",)),
    "pictures: a folder": (with_line(listing, "set/dark,dark"), ("not a file", "row 22")),
    "pictures: an endless cell": (with_line(listing, f"{'x' * 200_000},dark"), ("row 22", "field limit")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_place(command: Command, tmp_path: Path, case: str) -> None:
    spoil, words = REFUSED[case]
    result = command("train", spoil(tmp_path / "table.csv"), "--epochs", 1, "--threads", 1)
    assert result.exit_code == 1, result.stdout
    assert all(word in result.stderr for word in ("table.csv", *words)), result.stderr
    assert "Traceback" not in result.stderr and not (tmp_path / "runs").exists()


# What is spoiled, and the words of the finding with which it is learned from all the same.
LEARNED: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "time: NaN": (time_table("nan"), ("1 missing values repeat the last one before them: x, 2024-02-20",)),
    "time: empty": (time_table(""), ("1 missing values repeat",)),
    "time: mark of the byte order": (edited(days, "time", "\ufefftime"), ()),
    "time: decimal commas": (lambda path: semicolons(days(path)), ("to forecast: x, y",)),
    "time: constant": (lambda path: days(path, lambda row: "5"), ("never change", "'x'")),
    "time: all missing": (lambda path: days(path, lambda row: ""), ("not numeric were left out: 'x'",)),
    "time: beyond 2^53": (lambda path: days(path, lambda row: str(2**53 + row)), ()),
    "time: beyond float32's zero": (lambda path: days(path, lambda row: f"{row % 9}e-310"), ()),
    "time: near float32's end": (lambda path: days(path, lambda row: f"{row % 9}e37"), ()),
    "panel: NaN": (one_cell("nan"), ("1 values of 1 train series are missing",)),
    "panel: constant": (series(lambda number, step: "7"), ()),
    "panel: all missing": (series(lambda number, step: ""), ("The column 'x' has no value at all",)),
    "panel: beyond float32's zero": (series(lambda number, step: f"{number % 2}e-310"), ()),
    "texts: empty": (with_line(reviews, ",a"), ("1 of 25 train texts are empty",)),
    "texts: NA as labels": (with_line(reviews, "x y z,NA\nz y x,NA\ny,NA"), ("labelled 'NA'", "missing label")),
    "texts: a line end": (with_line(reviews, '"two\nlines",a'), ()),
    "texts: a zero byte": (with_line(reviews, "nothing \0 here,a"), ()),
    "texts: latin-1": (with_line(lambda path: latin(reviews(path)), ""), ("Windows-1252",)),
    "texts: one label in two spellings": (with_line(reviews, "u,1\nv,1\nw,1\nx,1.0\ny,1.0\nz,1.0"), ("'1.0' and '1'",)),
    "texts: one text only": (lambda path: same(reviews(path)), ("copies with other labels",)),
    "pictures: NA as labels": (
        lambda path: edited(edited(edited(listing, "0.png,dark", "0.png,NA"), "1.png,dark", "1.png,NA"),
                            "2.png,dark", "2.png,NA")(path),
        ("3 training pictures are labelled 'NA'",),
    ),
}  # fmt: skip


def semicolons(path: Path) -> Path:
    path.write_text(path.read_text("utf-8").replace(",", ";").replace(".", ","), "utf-8")
    return path


def latin(path: Path) -> Path:
    path.write_bytes(path.read_bytes() + "caf\xe9 noir,a\n".encode("latin-1"))
    return path


def same(path: Path) -> Path:
    path.write_text("text,label\n" + "the same text,a\nthe same text,b\n" * 12, "utf-8")
    return path


@pytest.mark.parametrize("case", LEARNED)
def test_learned_with_a_finding(command: Command, tmp_path: Path, case: str) -> None:
    spoil, words = LEARNED[case]
    result = command("train", spoil(tmp_path / "table.csv"), "--epochs", 1, "--threads", 1)
    assert result.exit_code == 0, result.stderr
    assert all(word in result.stdout for word in words), result.stdout
    (run,) = (tmp_path / "runs").iterdir()
    for line in (run / "metrics.jsonl").read_text("utf-8").splitlines():
        losses = [value for name, value in json.loads(line).items() if "loss" in name]
        assert losses and all(value is not None and math.isfinite(value) for value in losses)


def test_bad_rows_can_be_set_aside(command: Command, tmp_path: Path) -> None:
    source = reviews(tmp_path / "table.csv", "a,b,c", "no label,", ",a", "good line,b")
    result = command("train", source, "--epochs", 1, "--threads", 1, "--skip-bad")
    assert result.exit_code == 0, result.stderr
    assert "2 bad items were set aside" in result.stdout and "1 of" in result.stdout
