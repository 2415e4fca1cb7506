"""Panels: many labelled series in one table."""

from __future__ import annotations

from pathlib import Path

import pytest

from corecur.data.series.open_series import load_series
from corecur.data.series.panels import gather_panel
from corecur.errors import DataError

ROWS = [f"{name},{step},{step * scale},{scale},{label}" for name, scale, label in
        [("a", 1, "up"), ("b", 2, "down"), ("c", 3, "up"), ("d", 4, "down")] for step in range(4)]  # fmt: skip
HEAD = "id,time,x,y,label\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "panel.csv"
    path.write_text(text, "utf-8")
    return path


def test_rows_are_sorted_within_each_series(tmp_path: Path) -> None:
    mixed = [*ROWS[2:4], *ROWS[4:], *ROWS[:2]]
    source = load_series(write(tmp_path, HEAD + "\n".join(mixed)))
    plain = load_series(write(tmp_path, HEAD + "\n".join(ROWS)))
    assert source.train.values[0].tolist() == plain.train.values[0].tolist()
    assert source.preparation.channels == ("x", "y") and source.train.names == ("a", "b", "c", "d")
    assert any("1 series were not in the order" in str(finding) for finding in source.findings)


def test_named_columns_and_a_split_column(tmp_path: Path) -> None:
    text = "who,x,what,split\n" + "".join(f"{w},{v},{k},{s}\n" for w, k, s in
        [("a", "u", "train"), ("b", "d", "train"), ("c", "u", "train"), ("e", "d", "train"), ("f", "u", "test")]
        for v in (1, 2, int(w, 16)))  # fmt: skip
    path = write(tmp_path, text)
    found = gather_panel(path, id="who", label="what")
    assert {split: list(part.names) for split, part in found.parts.items()} == {"train": list("abce"), "test": ["f"]}
    with pytest.raises(DataError, match="did you mean 'who'"):
        gather_panel(path, id="whom")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "a,0,1,2,up\na,0,1,2,up\n", "a time stands twice in the series 'a'"),
        (HEAD + "a,0,1,2,up\na,1,1,2,down\n", "two values in the column 'label'"),
        (HEAD + "a,0,1,2,up\n,1,1,2,up\n", "a row has no id"),
        (HEAD + "a,0,1,2,up\na,1,inf,2,up\n", "infinite"),
        (HEAD + "a,0,1,2,up\na,1,x,2,up\n", "'x' is not numeric"),
        (HEAD + "a,0,1,2,up\na,1,1,2\n", "row 3"),
        ("id,id,x,label\n1,1,2,up\n", "two columns have one name"),
        ("time,x,label\n0,1,up\n1,2,up\n", "which series a row belongs to"),
        ("id,time,x\na,0,1\nb,0,2\n", "have no labels"),
        ("id,time,label\na,0,up\nb,0,down\n", "no column of values"),
    ],
)
def test_bad_panels_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        load_series(write(tmp_path, text))
    assert message in str(error.value)


def test_a_series_without_label_is_bad(tmp_path: Path) -> None:
    rows = [row if not row.startswith("a") else row.replace("up", "") for row in ROWS]
    with pytest.raises(DataError, match="series 'a': it has no label"):
        load_series(write(tmp_path, HEAD + "\n".join(rows)))
