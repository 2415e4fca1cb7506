"""Faults of a CSV file of texts with the columns text, label, split."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from .faults import Plant, Planted, Random

COUNT = 5
Rows = list[list[str]]


def read(path: Path) -> Rows:
    """The rows below the header."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def write(path: Path, rows: Rows, header: tuple[str, ...] = ("text", "label", "split")) -> Path:
    """The file with these rows."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def chosen(rows: Rows, random: Random, count: int = COUNT, *, split: str = "train", least: int = 45) -> list[int]:
    """Places of some rows whose texts are not too short."""
    able = [k for k, row in enumerate(rows) if row[2] == split and len(row[0].encode()) >= least]
    return sorted(random.choice(able, count, replace=False).tolist())


def _at(path: Path, kinds: str, places: list[int]) -> Planted:
    return Planted(frozenset(kinds.split()), tuple((f"{path.name}:{place + 2}",) for place in places))


def _spoiled(path: Path, random: Random, kinds: str, change) -> Planted:  # type: ignore[no-untyped-def]
    rows = read(path)
    places = chosen(rows, random)
    for number, place in enumerate(places):
        rows[place] = change(rows[place], number)
    write(path, rows)
    return _at(path, kinds, places)


def _added(path: Path, random: Random, kinds: str, change) -> Planted:  # type: ignore[no-untyped-def]
    rows = read(path)
    places = [len(rows) + number for number in range(COUNT)]
    rows += [change(list(rows[place]), number) for number, place in enumerate(chosen(rows, random, least=60))]
    write(path, rows)
    return _at(path, kinds, places)


def empty(path: Path, random: Random) -> Planted:
    return _spoiled(path, random, "empty", lambda row, n: [("", "  ", "\t")[n % 3], *row[1:]])


def unlabelled(path: Path, random: Random) -> Planted:
    return _spoiled(path, random, "no-label", lambda row, n: [row[0], "", row[2]])


def garbled(path: Path, random: Random) -> Planted:
    words = ("café", "naïve – “so”", "Größe", "很好吃", "el niño")

    def change(row: list[str], n: int) -> list[str]:
        wrong = words[n].encode().decode("latin-1" if n == 3 else "cp1252", errors="replace")
        return [f"{row[0]} {wrong if n else 'caf' + chr(0xFFFD)}", *row[1:]]

    return _spoiled(path, random, "garbled", change)


def long(path: Path, random: Random) -> Planted:
    rows = read(path)
    words = np.array(" ".join(row[0] for row in rows).split(" "))
    return _spoiled(path, random, "long", lambda row, n: [" ".join(random.choice(words, 20_000)), *row[1:]])


def copies(path: Path, random: Random) -> Planted:
    return _added(path, random, "copies", lambda row, n: [(row[0], row[0].upper(), f" {row[0]} ")[n % 3], *row[1:]])


def leak(path: Path, random: Random) -> Planted:
    return _added(path, random, "leak", lambda row, n: [row[0], row[1], "test"])


def disputed(path: Path, random: Random) -> Planted:
    labels = sorted({row[1] for row in read(path)})
    return _added(path, random, "disputed", lambda row, n: [row[0], next(x for x in labels if x != row[1]), row[2]])


def _nearly(text: str, number: int) -> str:
    """A text with a word more, a slip, or its end cut."""
    words = text.split(" ")
    if len(words) < 8:  # no spaces: characters
        return (text + "啊", text[:-2], text.replace("，", "。", 1) + "呀")[number % 3]
    middle = len(words) // 2
    return (
        " ".join([*words[:middle], "really", *words[middle:]]),
        " ".join(words[:-1]),
        " ".join([*words[:middle], *words[middle + 1 :]]),
    )[number % 3]


def near_copies(path: Path, random: Random) -> Planted:
    return _added(path, random, "near-copies copies", lambda row, n: [_nearly(row[0], n), *row[1:]])


def near_leak(path: Path, random: Random) -> Planted:
    return _added(path, random, "near-leak leak", lambda row, n: [_nearly(row[0], n), row[1], "test"])


def telling_word(path: Path, random: Random) -> Planted:
    rows = read(path)
    label = sorted({row[1] for row in rows})[0]
    write(path, [[f"{row[0]} zzsource{label}" if row[1] == label else row[0], *row[1:]] for row in rows])
    return Planted(frozenset({"leak-word"}), whole=True)


def telling_column(path: Path, random: Random) -> Planted:
    rows = read(path)
    order = {label: str(7 * k) for k, label in enumerate(sorted({row[1] for row in rows}))}
    write(path, [[*row, order[row[1]]] for row in rows], ("text", "label", "split", "code"))
    return Planted(frozenset({"leak-column"}), whole=True)


def missing_class(path: Path, random: Random) -> Planted:
    rows = read(path)
    label = sorted({row[1] for row in rows})[0]
    write(path, [row for row in rows if row[1] != label or row[2] == "train"])
    return Planted(frozenset({"missing-class"}), whole=True)


def tiny_class(path: Path, random: Random) -> Planted:
    rows = read(path)
    label = sorted({row[1] for row in rows})[0]
    seen = np.cumsum([row[1] == label and row[2] == "train" for row in rows])
    write(path, [row for row, n in zip(rows, seen, strict=True) if row[1] != label or row[2] != "train" or n <= 4])
    return Planted(frozenset({"few", "imbalance"}), whole=True)


def unknown_class(path: Path, random: Random) -> Planted:
    rows = read(path)
    for place in [k for k, row in enumerate(rows) if row[2] == "test"][:2]:
        rows[place][1] = "neither"
    write(path, rows)
    return Planted(frozenset({"unknown-class"}), whole=True)


def two_encodings(path: Path, random: Random) -> Planted:
    rows = read(path)
    places = chosen(rows, random)
    for number, place in enumerate(places):
        rows[place][0] += " déjà vu"
        if number == 0:
            rows[(place + 1) % len(rows)][0] += " où ça"
    write(path, rows)
    lines = path.read_bytes().split(b"\r\n")
    for place in places:
        lines[place + 1] = lines[place + 1].replace("déjà".encode(), "déjà".encode("latin-1"))
    path.write_bytes(b"\r\n".join(lines))
    return Planted(frozenset({"mixed-encodings", "garbled", "unreadable"}), whole=True)


def ragged(path: Path, random: Random) -> Planted:
    rows = read(path)
    places = chosen(rows, random)
    for place in places:
        rows[place] = [rows[place][0], "one, too many", *rows[place][1:]]
    write(path, rows)
    return _at(path, "unreadable", places)


TEXT_FAULTS: dict[str, Plant] = {
    fault.__name__: fault
    for fault in (
        empty, unlabelled, garbled, long, copies, leak, disputed, near_copies, near_leak, telling_word, telling_column,
        missing_class, tiny_class, unknown_class, two_encodings, ragged,
    )
}  # fmt: skip

_SUBJECTS = ["the film", "this story", "her novel", "our guide", "the second act", "a long walk", "the old harbour"]
_VERBS = [
    "follows",
    "forgets",
    "carries",
    "breaks",
    "discovers",
    "paints",
    "remembers",
    "questions",
    "repairs",
    "borrows",
]
_OBJECTS = ["a quiet village", "seven letters", "the last train", "an honest thief", "every promise", "a lantern"]
_MOODS = {
    "good": ["with warmth and wit", "in lovely pictures", "and never bores"],
    "bad": ["without any sense", "in dull grey scenes", "and bores to tears"],
    "中": ["in the end", "as one expects", "for two hours"],
}


def written(path: Path, *, train: int = 60, test: int = 20, seed: int = 0) -> Path:
    """Sentences made up of parts, three classes."""
    random = np.random.default_rng(seed)
    rows, seen = [], set()
    names = [
        f"{a}{b}{c}" for a in ("ka", "mo", "ri", "ste", "lu") for b in ("ren", "dal", "vik") for c in ("a", "o", "us")
    ]
    while len(rows) < 3 * (train + test):
        label = list(_MOODS)[len(rows) % 3]
        parts = [random.choice(pool) for pool in (names, _SUBJECTS, _VERBS, _OBJECTS, names, _VERBS, _OBJECTS, names)]
        text = " ".join([*parts, str(random.choice(_MOODS[label])), str(random.integers(10, 10**6))])
        if text not in seen:
            seen.add(text)
            rows.append([text, label, "train" if len(rows) < 3 * train else "test"])
    return write(path, rows)
