"""Faults of a panel: a CSV file with the columns id, time, x, y, label, split; a row a step."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .faults import Plant, Planted, Random

COUNT = 5
Series = dict[str, tuple[np.ndarray, str, str]]  # name -> values (T, C), label, split


def read(path: Path) -> Series:
    """The series of a file."""
    found: dict[str, list[list[str]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        cells = line.split(",")
        found.setdefault(cells[0], []).append(cells)
    return {
        name: (np.array([[float(c or "nan") for c in row[2:-2]] for row in rows]), rows[0][-2], rows[0][-1])
        for name, rows in found.items()
    }


def write(path: Path, series: Series, names: tuple[str, ...] = ()) -> Path:
    """The file of these series; NaN are empty cells."""
    width = next(iter(series.values()))[0].shape[1]
    names = names or tuple(f"channel{number}" for number in range(width))
    lines = [",".join(["id", "time", *names, "label", "split"])]
    for name, (values, label, split) in series.items():
        for step, row in enumerate(values):
            cells = ["" if np.isnan(v) else f"{v:.6g}" for v in row]
            lines.append(",".join([name, str(step), *cells, label, split]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _spoiled(path: Path, random: Random, kinds: str, change) -> Planted:  # type: ignore[no-untyped-def]
    series = read(path)
    train = [name for name, (_, _, split) in series.items() if split == "train"]
    names = [train[k] for k in random.choice(len(train), COUNT, replace=False)]
    for number, name in enumerate(names):
        values, label, split = series[name]
        series[name] = (change(values.copy(), number), label, split)
    write(path, series)
    return Planted(frozenset(kinds.split()), tuple((f"{name}:", f"'{name}'", f"series {name}") for name in names))


def _added(path: Path, random: Random, kinds: str, change) -> Planted:  # type: ignore[no-untyped-def]
    series = read(path)
    train = [name for name, (_, _, split) in series.items() if split == "train"]
    added = []
    for number, k in enumerate(random.choice(len(train), COUNT, replace=False)):
        added.append(f"new-{number}")
        series[added[-1]] = change(*series[train[k]], number)
    write(path, series)
    return Planted(frozenset(kinds.split()), tuple((name,) for name in added))


def dead(path: Path, random: Random) -> Planted:
    return _spoiled(path, random, "constant", lambda v, n: v * 0 + n * 0.3)


def scaled(path: Path, random: Random) -> Planted:
    return _spoiled(path, random, "scale", lambda v, n: v * (1000.0 if n % 2 else 200.0))


def missing(path: Path, random: Random) -> Planted:
    def change(values: np.ndarray, number: int) -> np.ndarray:
        values[len(values) // 3 : 2 * len(values) // 3] = np.nan
        return values

    return _spoiled(path, random, "missing-values", change)


def no_value(path: Path, random: Random) -> Planted:
    return _spoiled(path, random, "unusable", lambda v, n: v * np.nan)


def clipped(path: Path, random: Random) -> Planted:
    return _spoiled(path, random, "clipped",
                    lambda v, n: v.clip(np.quantile(v, 0.25, axis=0), np.quantile(v, 0.75, axis=0)))  # fmt: skip


def spike(path: Path, random: Random) -> Planted:
    def change(values: np.ndarray, number: int) -> np.ndarray:
        values[random.integers(len(values))] += 40 * values.std()
        return values

    return _spoiled(path, random, "spike scale", change)


def short(path: Path, random: Random) -> Planted:
    return _spoiled(path, random, "odd-length", lambda v, n: v[: len(v) // 8] if n % 2 else np.tile(v, (5, 1)))


def copies(path: Path, random: Random) -> Planted:
    return _added(path, random, "copies", lambda v, label, split, n: (v, label, split))


def leak(path: Path, random: Random) -> Planted:
    return _added(path, random, "leak", lambda v, label, split, n: (v, label, "test"))


def disputed(path: Path, random: Random) -> Planted:
    labels = sorted({label for _, label, _ in read(path).values()})
    return _added(path, random, "disputed",
                  lambda v, label, split, n: (v, next(x for x in labels if x != label), split))  # fmt: skip


def _nearly(values: np.ndarray, number: int, random: Random) -> np.ndarray:
    if number % 3 == 0:
        return values * 1.1 + 0.2
    noisy: np.ndarray = values + random.normal(0, 0.02, values.shape) * values.std()
    return noisy if number % 3 == 1 else noisy[1:]


def near_copies(path: Path, random: Random) -> Planted:
    return _added(path, random, "near-copies copies", lambda v, label, split, n: (_nearly(v, n, random), label, split))


def near_leak(path: Path, random: Random) -> Planted:
    return _added(path, random, "near-leak leak", lambda v, label, split, n: (_nearly(v, n, random), label, "test"))


def telling_channel(path: Path, random: Random) -> Planted:
    series = read(path)
    order = {label: k for k, label in enumerate(sorted({label for _, label, _ in series.values()}))}
    write(path, {name: (np.hstack([v, np.full((len(v), 1), 3.0 * order[label])]), label, split)
                 for name, (v, label, split) in series.items()})  # fmt: skip
    return Planted(frozenset({"leak-column"}), whole=True)


def constant_channel(path: Path, random: Random) -> Planted:
    series = read(path)
    write(path, {name: (np.hstack([v, np.full((len(v), 1), 7.0)]), *rest) for name, (v, *rest) in series.items()})
    return Planted(frozenset({"constant-column"}), whole=True)


def empty_channel(path: Path, random: Random) -> Planted:
    series = read(path)
    write(path, {name: (np.hstack([v, np.full((len(v), 1), np.nan)]), *rest) for name, (v, *rest) in series.items()})
    return Planted(frozenset({"no-value", "missing-values"}), whole=True)


def missing_class(path: Path, random: Random) -> Planted:
    series = read(path)
    gone = sorted({label for _, label, _ in series.values()})[0]
    write(path, {name: one for name, one in series.items() if one[1] != gone or one[2] == "train"})
    return Planted(frozenset({"missing-class"}), whole=True)


SERIES_FAULTS: dict[str, Plant] = {
    fault.__name__: fault
    for fault in (
        dead, scaled, missing, no_value, clipped, spike, short, copies, leak, disputed, near_copies, near_leak,
        telling_channel, constant_channel, empty_channel, missing_class,
    )
}  # fmt: skip


def played(path: Path, *, train: int = 30, test: int = 12, seed: int = 0) -> Path:
    """Noisy chirps, hums and steps in two channels."""
    random = np.random.default_rng(seed)
    series: Series = {}
    t = np.linspace(0, 1, 80)
    for split, count in (("train", train), ("test", test)):
        for label in ("chirp", "hum", "阶"):
            for number in range(count):
                a, b, c, d = random.uniform(0.5, 2, 4)
                base = {"chirp": np.sin(9 * a * t * (1 + b * t) + 3 * c), "hum": np.sin(20 * a * t + 6 * b),
                        "阶": np.tanh(8 * (t - 0.25 * b)) - np.tanh(9 * (t - 0.45 * c))}[label]  # fmt: skip
                walk = np.cumsum(random.normal(0, 0.1, (2, len(t))), 1)
                values = np.stack([base * d, base[::-1] * a], 1) + walk.T + random.normal(0, 0.05, (len(t), 2))
                series[f"{split}-{label}-{number}"] = (values, label, split)
    return write(path, series)
