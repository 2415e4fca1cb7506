"""Tables over time from every kind of source, and what is refused or told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corecur.data.series.frequency import Frequency
from corecur.data.series.open_tables import load_table, load_tables
from corecur.data.series.time_table import check_table
from corecur.errors import ConfigError, DataError

DAYS = [f"2020-01-{day:02}" for day in range(1, 11)]


def write(folder: Path, text: str, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def days(rows: dict[str, str], head: str = "date,x") -> str:
    return head + "\n" + "".join(f"{day},{cell}\n" for day, cell in rows.items())


def test_a_plain_table(tmp_path: Path) -> None:
    text = "date,x,where,y\n" + "".join(f"{day},{row},here,{row * 2}.5\n" for row, day in enumerate(DAYS))
    table = load_table(write(tmp_path, text))
    assert table.names == table.targets == ("x", "y") and table.frequency == Frequency("day")
    np.testing.assert_array_equal(table.values, [[row, row * 2 + 0.5] for row in range(10)])
    assert table.values.dtype == torch.float64 and tuple(map(str, table.findings)) == (
        "Columns that are not numeric were left out: 'where' (row 2: 'here').",
    )
    table = load_table(tmp_path / "a.csv", targets="y")
    assert table.targets == ("y",) and table.target_places == (1,)
    table = load_table(tmp_path / "a.csv", columns=["y"])
    assert table.names == ("y",)
    with pytest.raises(DataError, match="did you mean 'x'"):
        load_table(tmp_path / "a.csv", targets=["xx"])
    with pytest.raises(DataError, match="'where' is not numeric"):
        load_table(tmp_path / "a.csv", targets=["where"])
    with pytest.raises(ConfigError, match="no column 'z'"):
        table.with_targets(["z"])


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("year,month,x", lambda r: f"{2019 + r // 12},{r % 12 + 1},{r}"),
        ("Month,x", lambda r: f"{2019 + r // 12}-{r % 12 + 1:02},{r}"),
        ("x,when", lambda r: f"{r},{2019 + r // 12}-{r % 12 + 1:02}-01"),
        ("Date;Time;x;;", lambda r: f"01.{r % 12 + 1:02}.{2019 + r // 12};00:00:00;{r},0;;"),
    ],
)
def test_times_wherever_they_are(tmp_path: Path, head: str, row: Any) -> None:
    table = load_table(write(tmp_path, head + "\n" + "".join(row(r) + "\n" for r in range(24))))
    assert table.frequency == Frequency("month") and table.names == ("x",)
    np.testing.assert_array_equal(table.values[:, 0], range(24))
    assert table.times is not None and str(table.times[0])[:10] == "2019-01-01"


def test_without_times_rows_are_steps(tmp_path: Path) -> None:
    table = load_table(write(tmp_path, "x,y\n" + "".join(f"{r % 3},{r}\n" for r in range(9))))
    assert table.times is None and table.times_after(3) is None and table.time_of(4) == "row 5"
    assert table.findings[0].verdict.startswith("There is no time column")
    table = load_table(write(tmp_path, "".join(f"{r % 3}\n" for r in range(9))))
    assert table.names == ("column 1",) and "no header" in str(table.findings[0])
    table = load_table(write(tmp_path, ",x\n" + "".join(f"{r},{r % 3}\n" for r in range(9))))
    assert table.names == ("x",) and any("counts the rows" in str(note) for note in table.findings)


def test_unsorted_rows_are_sorted_and_told(tmp_path: Path) -> None:
    mixed = dict(zip(DAYS[5:] + DAYS[:5], map(str, [*range(5, 10), *range(5)]), strict=True))
    table = load_table(write(tmp_path, days(mixed)))
    np.testing.assert_array_equal(table.values[:, 0], range(10))
    assert "were not in the order" in str(table.findings[0])


def test_a_repeated_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="stands twice") as error:
        load_table(write(tmp_path, "date,x\n2020-01-02,1\n2020-01-01,2\n2020-01-02,3\n"))
    assert "rows 2 and 4" in str(error.value) and "2020-01-02" in str(error.value) and "id=" in str(error.value)


def test_gaps_become_rows_that_repeat_the_past(tmp_path: Path) -> None:
    rows = {day: str(number) for number, day in enumerate(DAYS) if number not in (3, 4)}
    table = load_table(write(tmp_path, days(rows)))
    np.testing.assert_array_equal(table.values[:, 0], [0, 1, 2, 2, 2, 5, 6, 7, 8, 9])
    assert table.made_up is not None and table.made_up[:, 0].nonzero().flatten().tolist() == [3, 4]
    assert "2 rows between 2020-01-03 and 2020-01-06" in str(table.findings[0])
    assert "x, 2020-01-04 to 2020-01-05 (2)" in str(table.findings[1])
    assert table.times is not None and [str(time)[:10] for time in table.times] == DAYS
    kept = load_table(tmp_path / "a.csv", fill_gaps=False)
    assert len(kept) == 8 and kept.made_up is None


def test_missing_values_are_named_and_look_backwards(tmp_path: Path) -> None:
    cells = ["", "1", "NA", "nan", "?", "5", "6", "", "8", "9"]
    table = load_table(write(tmp_path, days(dict(zip(DAYS, cells, strict=True)))))
    np.testing.assert_array_equal(table.values[:, 0], [1, 1, 1, 1, 5, 6, 6, 8, 9])
    assert "The first 1 rows were left out: 'x'" in str(table.findings[0])
    assert str(table.findings[1]) == (
        "4 missing values repeat the last one before them: x, 2020-01-03 to 2020-01-05 (3); x, 2020-01-08."
    )
    assert table.times is not None and str(table.times[0])[:10] == "2020-01-02"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("date,x\n", "a header and no rows"),
        ("date,x\n2020-01-01,1\n2020-01-02,2,3\n", "row 3"),
        ("date,x,x\n2020-01-01,1,2\n", "two columns have one name"),
        ("date,x\n2020-01-01,a\n2020-01-02,b\n", "no column of numbers"),
        ("date,x\n2020-01-01,1\n2020-01-02,2\n2020-01-03,3\n2020-01-04,oops\n", "row 5"),
        ("date,x\n2020-01-01,1\n2020-01-02,inf\n", "infinite numbers"),
        ("date,x\n2020-01-01,1\nyesterday,2\n", "row 3"),
        ("date,x,y\n2020-01-01,1,\n2020-01-02,2,\n", "no column"),
        ("date,x\n2020-01-01,1\n2020-01-02,2\n2020-01-03,2\n2029-01-01,3\n", "more rows are missing than"),
        ("date,x,y\n" + "".join(f"{d},1,{'2' if n > 7 else ''}\n" for n, d in enumerate(DAYS)), "'y' begins too late"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    if message == "no column":  # the empty column is left out, unless it is asked for
        assert load_table(path).names == ("x",)
        with pytest.raises(DataError, match="has no value"):
            load_table(path, columns=["y"])
        return
    with pytest.raises(DataError) as error:
        load_table(path)
    assert message in str(error.value)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"PK\x03\x04\x00\x00" * 10)
    with pytest.raises(DataError, match="not text"):
        load_table(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_bytes("tempé,x\n1,2\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        load_table(tmp_path / "b.csv")


def test_panels_become_tables(tmp_path: Path) -> None:
    text = "date,store,x\n" + "".join(f"{day},{name},{n}\n" for n, day in enumerate(DAYS) for name in "ab")
    tables = load_tables(write(tmp_path, text))
    assert [table.name for table in tables] == ["a", "b"] and all(len(table) == 10 for table in tables)
    assert [table.name for table in load_tables(tmp_path / "a.csv", id="store")] == ["a", "b"]
    assert "series 'a'" in tables[0].title
    with pytest.raises(DataError, match="several series"):
        load_table(tmp_path / "a.csv")


def test_arrays_dicts_and_data_frames(tmp_path: Path) -> None:
    assert load_table(np.arange(9)).values.shape == (9, 1)
    assert load_table(torch.zeros(9, 2)).names == ("column 1", "column 2")
    times = np.array(DAYS, dtype="datetime64[ns]")
    table = load_table({"when": times, "x": list(range(9)) + [None]})
    assert table.frequency == Frequency("day") and table.values[-1, 0] == 8

    class Frame:
        columns, index = ["x"], times

        def __getitem__(self, name: str) -> np.ndarray:
            return np.arange(10.0)

    assert load_table(Frame()).frequency == Frequency("day")
    np.savez(tmp_path / "a.npz", values=np.arange(20.0).reshape(10, 2), times=times, names=["a", "b"])
    table = load_table(tmp_path / "a.npz")
    assert table.names == ("a", "b") and table.frequency == Frequency("day")
    np.save(tmp_path / "a.npy", np.arange(10.0))
    assert len(load_table(tmp_path / "a.npy")) == 10
    for wrong in (np.zeros((2, 3, 4)), {"x": [1, 2], "y": [1]}, {}, np.array(["a"])):
        with pytest.raises(DataError):
            load_table(wrong)


def test_a_target_that_never_changes_is_refused() -> None:
    table = load_table({"x": [1.0, 1.0, 1.0, 2.0], "y": [1.0, 2.0, 3.0, 4.0]})
    check_table(table)
    with pytest.raises(DataError, match="'x' is 1 in every row"):
        check_table(table, range(3))
    check_table(table.with_targets(["y"]), range(3))


def test_samples_are_the_same_every_time() -> None:
    first, second = load_table("demand"), load_table("demand")
    assert torch.equal(first.values, second.values) and first.frequency == Frequency("hour")
    assert load_table("passengers").frequency == Frequency("month")
    with pytest.raises(DataError, match="nothing to forecast"):
        load_table("waves")
    with pytest.raises(DataError, match="no such file"):
        load_table("no-such-file.csv")
