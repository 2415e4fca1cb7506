from __future__ import annotations

from pathlib import Path

import pytest

from corecur.data.series.table_kind import holds_time_table

DATED = "\n".join(f"2024-01-{day:02d},{day},{day * day}" for day in range(1, 29))
TABLES = {
    "dates and numbers": f"date,load,wind\n{DATED}",
    "no header": DATED,
    "tabs": f"date\tload\twind\n{DATED}".replace(",", "\t"),
    "semicolons and decimal commas": "date;load\n01.02.2024;3,5\n02.02.2024;4,5\n",
    "a ragged row further down": f"date,load,wind\n{DATED}\n2024-02-01,3\n",
    "a wrong time further down": f"date,load,wind\n{DATED}\nyesterday,3,4\n",
    "a name twice": f"date,load,load\n{DATED}",
    "a text column of single words": "date,load,state\n2024-01-01,3,on\n2024-01-02,4,off\n",
}
OTHERS = {
    "no times": "a,b\n1,2\n3,4\n",
    "no numbers": "date,note\n2024-01-01,on\n2024-01-02,off\n",
    "classes": "date,x,label\n2024-01-01,3,walk\n2024-01-02,4,run\n",
    "texts": "date,stars,review\n2024-01-01,3,it was quite good indeed\n2024-01-02,4,I would come back again\n",
    "pictures": "path,label\na.png,cat\nb.png,dog\n",
    "nothing": "",
    "a header alone": "date,load\n",
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_over_time(case: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(TABLES[case], "utf-8")
    assert holds_time_table(path) and holds_time_table(str(path))


@pytest.mark.parametrize("case", OTHERS)
def test_other_tables(case: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(OTHERS[case], "utf-8")
    assert not holds_time_table(path)


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\0\1\2")
    (tmp_path / "a.png").write_text(TABLES["dates and numbers"], "utf-8")
    assert not any(map(holds_time_table, (tmp_path, tmp_path / "a.csv", tmp_path / "a.png", tmp_path / "no.csv")))
