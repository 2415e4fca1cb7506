"""Columns beside text and label of a table of texts: those that give the label away, and those that say nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from corecur.data.quality.picture_check import telling
from corecur.data.text.text_columns import find_label_column, find_split_column, find_text_column
from corecur.data.text.text_files import TextReader
from corecur.data.text.text_tables import read_grid
from corecur.errors import DataError
from corecur.finding import Finding


def column_findings(files: Iterable[Path]) -> list[Finding]:
    """What is said of the other columns of tables of texts; a training does not read them.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.csv")
    ...     _ = file.write_text("text,label,stars\\n" + "a fine film,good,5\\na dull film,bad,1\\n" * 20)
    ...     print(*column_findings([file]))
    The column 'stars' gives the label 'label' away in 100 % of the rows; it is not read. (a.csv) Remedy: never make \
it an input.
    """
    findings: list[Finding] = []
    for file in files:
        try:
            grid = read_grid(file, TextReader(skip_bad=True))
        except DataError:
            continue  # told by the reading itself
        if grid is None:
            continue
        text = find_text_column(grid.columns)
        label = None if text is None else find_label_column(grid.columns, text_column=text)
        if text is None or label is None:
            continue
        for name, cells in grid.columns.items():
            if name in (text, label, find_split_column(grid.columns)):
                continue
            if not any(cell.strip() for cell in cells):
                findings.append(Finding("no-value", f"The column {name!r} has no value at all.", (file.name,),
                                        "remove it", "note"))  # fmt: skip
            elif len(set(cells)) == 1:
                findings.append(Finding("constant-column", f"The column {name!r} is {cells[0][:30]!r} in every row.",
                                        (file.name,), "remove it", "note"))  # fmt: skip
            elif (told := telling(cells, grid.columns[label])) is not None:
                share = f"{told:.0%}".replace("%", " %")
                verdict = f"The column {name!r} gives the label {label!r} away in {share} of the rows; it is not read."
                findings.append(Finding("leak-column", verdict, (file.name,), "never make it an input", "note"))
    return findings
