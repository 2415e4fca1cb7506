"""``.ts`` files: what the format says, and every way a file can break it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corecur.data.series.open_series import load_series
from corecur.data.series.ts_files import gather_ts
from corecur.errors import DataError

HEAD = "@problemName moves\n@timestamps false\n@univariate false\n@dimensions 2\n@classLabel true up down\n@data\n"


def write(folder: Path, text: str, name: str = "a.ts") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_dimensions_lengths_and_missing_values(tmp_path: Path) -> None:
    found = gather_ts(write(tmp_path, "# a comment\n" + HEAD + "1,2,3:4,?,6:up\n\n7,8:NaN,10:down\n"))
    part = found.parts["train"]
    assert part.labels is not None and part.labels.tolist() == ["up", "down"]
    np.testing.assert_array_equal(part.series[0], [[1, 4], [2, np.nan], [3, 6]])
    np.testing.assert_array_equal(part.series[1], [[7, np.nan], [8, 10]])
    assert found.channels == ("dimension 1", "dimension 2")


def test_time_stamps_with_colons_in_them(tmp_path: Path) -> None:
    text = (
        "@timestamps true\n@classLabel true a b\n@data\n(2020-01-01 10:30,1.5),(2020-01-01 10:31,2.5):(0,3),(1,?):a\n"
    )
    found = gather_ts(write(tmp_path, text))
    np.testing.assert_array_equal(found.parts["train"].series[0], [[1.5, 3], [2.5, np.nan]])
    assert len(found.findings) == 1


def test_comments_in_latin_1(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    path.write_bytes("# Müller\n".encode("latin-1") + b"@univariate true\n@classLabel true a b\n@data\n1,2:a\n3,4:b\n")
    assert len(gather_ts(path).parts["train"]) == 2


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1,2:up", "1 dimension, not 2"),
        ("1,2:3,4:5,6:up", "3 dimensions, not 2"),
        ("1,2:3,4:uP", "not declared by @classLabel (did you mean 'up'?)"),
        ("1,2:3,4:", "it has no label"),
        ("1,2:3,4,5:up", "its dimensions differ in length: 2, 3"),
        ("1,x:3,4:up", "could not convert"),
        ("1,inf:3,4:up", "step 2 of channel 1 is infinite"),
        ("?,?:?,?:up", "every value is missing"),
    ],
)
def test_a_bad_row_is_named_or_set_aside(tmp_path: Path, row: str, reason: str) -> None:
    good = "1,2:3,4:up\n2,2:3,4:down\n3,2:3,4:up\n4,2:3,4:down\n"
    path = write(tmp_path, HEAD + good + row + "\n")
    with pytest.raises(DataError) as error:
        load_series(path)
    assert reason in str(error.value) and "1 of 5" in str(error.value)
    source = load_series(path, skip_bad=True)
    assert len(source.train) == 4
    assert any("set aside" in str(finding) and reason in str(finding) for finding in source.findings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("@problemName a\n", "no @data line"),
        (HEAD, "a header and no series"),
        ("@univariate maybe\n@data\n1,2\n", "neither true nor false"),
        ("@dimensions two\n@data\n1,2\n", "@dimensions is no number"),
        ("@classLabel true\n@data\n1,2\n", "names no class"),
        ("1,2,3\n@data\n", "data before the @data line"),
        ("@targetLabel true\n@data\n1,2:0.5\n", "measured values"),
        ("@univariate true\n@classLabel false\n@data\n1,2\n3,4\n", "have no labels"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_series(write(tmp_path, text))


def test_series_length_is_held(tmp_path: Path) -> None:
    text = "@univariate true\n@equalLength true\n@seriesLength 3\n@classLabel true a b\n@data\n1,2,3:a\n1,2:b\n"
    assert gather_ts(write(tmp_path, text)).bad == (("a.ts, row 7", "2 steps, not 3 as @seriesLength says"),)
