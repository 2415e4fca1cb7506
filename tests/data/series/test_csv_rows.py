"""CSV tables: separators, headers, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corecur.data.series.csv_rows import read_sheet, sheet_of
from corecur.errors import DataError


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
def test_separators_and_quotation_marks(separator: str) -> None:
    text = separator.join(["a", '"b, c; d"', "e"]) + "\n" + separator.join(["1", "2", "3"]) + "\n\n"
    assert [column.name for column in sheet_of(text, where="x").columns] == ["a", "b, c; d", "e"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a,b\n1,2", True),
        ("1,2\n3,4", False),
        ("2020-01-01,2\n2020-01-02,4", False),
        ("0,1,2\n5,6,7", True),
        (",0,1\n0,6,7", True),
        ("Date,Passengers\n1949-01,112", True),
        ("a,2\n1,3", True),
    ],
)
def test_headers(text: str, named: bool) -> None:
    assert sheet_of(text, where="x").named is named


def test_decimal_commas() -> None:
    column = sheet_of("x;y\n1,5;2\n-2,25;3\n", where="x").columns[0]
    np.testing.assert_array_equal(column.numbers(where="x"), [1.5, -2.25])


def test_thousands_are_refused_with_advice() -> None:
    column = sheet_of('x,y\n"1,234",2\n5,3\n', where="x").columns[0]
    with pytest.raises(DataError, match=r"write numbers as 1234\.5"):
        column.numbers(where="x")


def test_rows_are_counted_as_editors_do(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n\n3,4,5\n", "utf-8")
    with pytest.raises(DataError, match="row 4") as error:
        read_sheet(path)
    assert "3 cells" in str(error.value) and "2, as in the first row" in str(error.value)


def test_utf_16_and_bom(tmp_path: Path) -> None:
    for encoding in ("utf-16", "utf-8-sig"):
        path = tmp_path / "a.csv"
        path.write_bytes("a,b\n1,2\n".encode(encoding))
        assert [column.name for column in read_sheet(path).columns] == ["a", "b"]
