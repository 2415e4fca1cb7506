"""``.arff`` files, against SciPy's reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import arff

from corecur.data.series.arff_files import gather_arff
from corecur.errors import DataError


def univariate(rows: list[str], steps: int) -> str:
    columns = "".join(f"@attribute att{step} numeric\n" for step in range(steps))
    return f"% made for a test\n@relation a\n\n{columns}@attribute target {{1,2}}\n\n@data\n" + "\n".join(rows) + "\n"


def test_equals_scipy(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = [",".join(f"{v:.6g}" for v in random.normal(size=7)) + f",{k}" for k in (1, 2, 2)]
    rows[1] = rows[1].replace(rows[1].split(",")[2], "?", 1)
    path = tmp_path / "a.arff"
    path.write_text(univariate(rows, 7), "utf-8")
    data, meta = arff.loadarff(path)
    part = gather_arff(path).parts["train"]
    wanted = np.array([[row[name] for name in meta.names()[:-1]] for row in data], dtype=np.float64)
    np.testing.assert_array_equal(np.stack(part.series)[..., 0], wanted)
    assert part.labels is not None and part.labels.tolist() == [row["target"].decode() for row in data]


@pytest.mark.parametrize("mark", ["'", '"'])
def test_relational_columns_hold_a_line_for_each_channel(tmp_path: Path, mark: str) -> None:
    text = (
        "@relation b\n@attribute relationalAtt relational\n@attribute att0 numeric\n@attribute att1 numeric\n"
        "@attribute att2 numeric\n@end relationalAtt\n@attribute activity {Standing,'Fast run'}\n@data\n"
        f"{mark}1,2,3\\n4,5,6{mark},Standing\n{mark}7,8,?\\n9,10,?{mark},{mark}Fast run{mark}\n"
    )
    path = tmp_path / "b.arff"
    path.write_text(text, "utf-8")
    found = gather_arff(path)
    np.testing.assert_array_equal(found.parts["train"].series[0], [[1, 4], [2, 5], [3, 6]])
    np.testing.assert_array_equal(found.parts["train"].series[1], [[7, 9], [8, 10]])  # padding taken off
    assert found.classes == ("Standing", "Fast run")


def test_bad_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.arff"
    path.write_text(univariate(["1,2,1", "1,1", "1,2,7", "1,x,2"], 2), "utf-8")
    reasons = [reason for _, reason in gather_arff(path).bad]
    assert reasons == ["2 values, not 3", "its label '7' is not declared", "could not convert string to float: 'x'"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@relation a\n@attribute x string\n@data\na\n", "not those of series"),
        ("@relation a\n@attribute x {a,b}\n@data\na\n", "no columns of numbers"),
        ("@relation a\n@attribute x real\n", "no @data line"),
        ("@relation a\n@attribute x real\n@data\n{0 1}\n", "sparse"),
        ("@relation a\n@attribute x real\n@data\n", "no series"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.arff"
    path.write_text(text, "utf-8")
    with pytest.raises(DataError, match=message):
        gather_arff(path)
