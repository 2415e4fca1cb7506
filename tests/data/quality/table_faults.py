"""Faults of a table over time: a CSV file with a column date and columns of numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .faults import Plant, Planted, Random

COUNT = 4
Lines = list[list[str]]


def read(path: Path) -> tuple[list[str], Lines]:
    """Header and rows."""
    cells = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    return cells[0], cells[1:]


def write(path: Path, header: list[str], rows: Lines) -> Path:
    """The file with these rows."""
    path.write_text("\n".join(map(",".join, [header, *rows])) + "\n", encoding="utf-8")
    return path


def _places(rows: Lines, random: Random, count: int = COUNT) -> list[int]:
    able = np.arange(10, len(rows) - 10, 7)
    return sorted(random.choice(able, count, replace=False).tolist())


def _cells(path: Path, random: Random, kinds: str, value) -> Planted:  # type: ignore[no-untyped-def]
    header, rows = read(path)
    places = _places(rows, random)
    for number, place in enumerate(places):
        rows[place][1] = value(rows[place][1], number)
    write(path, header, rows)
    return Planted(frozenset(kinds.split()), tuple((f"row {place + 2}:",) for place in places))


def outliers(path: Path, random: Random) -> Planted:
    _, rows = read(path)
    top = max(abs(float(row[1])) for row in rows)
    return _cells(path, random, "outlier", lambda cell, n: f"{top * (60 + 5 * n):.4g}")


def sentinels(path: Path, random: Random) -> Planted:
    return _cells(path, random, "outlier", lambda cell, n: "-99999")


def words(path: Path, random: Random) -> Planted:
    return _cells(path, random, "not-numeric", lambda cell, n: ("error", "1.2.3", "12 kW", "inf")[n])


def unsorted(path: Path, random: Random) -> Planted:
    header, rows = read(path)
    places = _places(rows, random)
    for place in places:
        rows[place], rows[place + 3] = rows[place + 3], rows[place]
    write(path, header, rows)
    return Planted(frozenset({"time-order"}), tuple((f"row {place + 3} ", f"row {place + 5} ") for place in places))


def repeated(path: Path, random: Random) -> Planted:
    header, rows = read(path)
    places = _places(rows, random)
    times = [rows[place][0] for place in places]
    for place in reversed(places):
        rows.insert(place + 1, [rows[place][0], *rows[place + 1][1:]])
    write(path, header, rows)
    return Planted(frozenset({"time-twice"}), tuple((time[:16],) for time in times))


def gaps(path: Path, random: Random) -> Planted:
    header, rows = read(path)
    places = _places(rows, random)
    known = tuple((rows[place - 1][0][:16],) for place in places)
    for place in reversed(places):
        del rows[place : place + 5]
    write(path, header, rows)
    return Planted(frozenset({"time-gaps"}), known)


def missing(path: Path, random: Random) -> Planted:
    header, rows = read(path)
    for row in rows[len(rows) // 4 : len(rows) // 4 + max(40, len(rows) // 20)]:
        row[1] = ""
    write(path, header, rows)
    return Planted(frozenset({"missing-values"}), whole=True)


def stuck(path: Path, random: Random) -> Planted:
    header, rows = read(path)
    start = len(rows) // 3
    for row in rows[start : start + max(60, len(rows) // 20)]:
        row[1] = rows[start][1]
    write(path, header, rows)
    return Planted(frozenset({"stuck"}), whole=True)


def _with_column(path: Path, kind: str, values) -> Planted:  # type: ignore[no-untyped-def]
    header, rows = read(path)
    for row, value in zip(rows, values(rows), strict=True):
        row.append(value)
    write(path, [*header, "列"], rows)
    return Planted(frozenset({kind}), (("'列'", "列"),))


def constant(path: Path, random: Random) -> Planted:
    return _with_column(path, "constant-column", lambda rows: ["3.5"] * len(rows))


def empty(path: Path, random: Random) -> Planted:
    return _with_column(path, "no-value", lambda rows: [""] * len(rows))


def other_units(path: Path, random: Random) -> Planted:
    return _with_column(path, "leak-column", lambda rows: [f"{float(row[1]) * 1.8 + 32:.5f}" for row in rows])


def future(path: Path, random: Random) -> Planted:
    return _with_column(path, "leak-future", lambda rows: [row[1] for row in rows[2:]] + [rows[-1][1]] * 2)


def counter(path: Path, random: Random) -> Planted:
    return _with_column(path, "counter", lambda rows: [str(n) for n in range(len(rows))])


TABLE_FAULTS: dict[str, Plant] = {
    fault.__name__: fault
    for fault in (
        outliers, sentinels, words, unsorted, repeated, gaps, missing, stuck, constant, empty, other_units, future,
        counter,
    )
}  # fmt: skip


def metered(path: Path, *, rows: int = 900, seed: int = 0) -> Path:
    """Hours of a load and a temperature."""
    random = np.random.default_rng(seed)
    hours = np.datetime64("2021-03-01T00") + np.arange(rows)
    t = np.arange(rows)
    warm = 10 + 8 * np.sin(t / 24 * 2 * np.pi) + np.cumsum(random.normal(0, 0.3, rows))
    load = 100 + 30 * np.sin(t / 24 * 2 * np.pi + 1) + 8 * np.sin(t / 168 * 2 * np.pi) + random.normal(0, 4, rows)
    times = [str(hour).replace("T", " ") + ":00" for hour in hours]
    cells = [[time, f"{a:.3f}", f"{b:.2f}"] for time, a, b in zip(times, load, warm, strict=True)]
    return write(path, ["date", "load", "temperature"], cells)
