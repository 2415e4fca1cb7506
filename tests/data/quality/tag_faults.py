"""Faults of a folder of CoNLL files, train.conll and test.conll."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .faults import Plant, Planted, Random

COUNT = 5
Sentences = list[list[tuple[str, str]]]


def read(path: Path) -> Sentences:
    """The sentences of a file."""
    blocks = path.read_text(encoding="utf-8").strip("\n").split("\n\n")
    return [[(row.split("\t")[0], row.split("\t")[-1]) for row in block.split("\n")] for block in blocks]


def write(path: Path, sentences: Sentences) -> None:
    """The file with these sentences."""
    path.write_text("\n\n".join("\n".join(f"{w}\t{t}" for w, t in one) for one in sentences) + "\n", encoding="utf-8")


def line_of(sentences: Sentences, place: int) -> int:
    """The line a sentence begins on."""
    return 1 + sum(len(one) + 1 for one in sentences[:place])


def _spoiled(root: Path, random: Random, kinds: str, change, able) -> Planted:  # type: ignore[no-untyped-def]
    path = root / "train.conll"
    sentences = read(path)
    fit = [k for k, one in enumerate(sentences) if able(one)]
    places = sorted(random.choice(fit, COUNT, replace=False).tolist())
    for number, place in enumerate(places):
        sentences[place] = change(list(sentences[place]), number)
    write(path, sentences)
    return Planted(frozenset(kinds.split()), tuple((f"train.conll:{line_of(sentences, k)}",) for k in places))


def _long(one: list[tuple[str, str]]) -> bool:
    return len(one) >= 8 and len({t for _, t in one}) > 1


def broken(root: Path, random: Random) -> Planted:
    def change(one: list[tuple[str, str]], number: int) -> list[tuple[str, str]]:
        at = next(k for k, (_, tag) in enumerate(one) if tag.startswith("B-"))
        one[at] = (one[at][0], "I" + one[at][1][1:])
        return one

    return _spoiled(root, random, "broken-tags", change, lambda one: any(t.startswith("B-") for _, t in one))


def untagged(root: Path, random: Random) -> Planted:
    return _spoiled(root, random, "unreadable", lambda one, n: [(one[0][0], ""), *one[1:]], _long)


def slips(root: Path, random: Random) -> Planted:
    def change(one: list[tuple[str, str]], number: int) -> list[tuple[str, str]]:
        at = next(k for k, (_, tag) in enumerate(one) if tag.startswith("B-"))
        kind = one[at][1][2:]
        one[at] = (one[at][0], "B-" + (kind[:-2] + kind[-1] + kind[-2] if len(kind) > 3 else kind.lower()))
        return one

    path = root / "train.conll"
    sentences = read(path)
    fit = [k for k, one in enumerate(sentences) if any(t.startswith("B-") for _, t in one)]
    place = int(random.choice(fit))
    sentences[place] = change(list(sentences[place]), 0)
    write(path, sentences)
    return Planted(frozenset({"rare-tags", "broken-tags"}), ((f"train.conll:{line_of(sentences, place)}",),))


def garbled(root: Path, random: Random) -> Planted:
    return _spoiled(
        root, random, "garbled", lambda one, n: [("ZÃ¼rich" if n else "caf\ufffd", one[0][1]), *one[1:]], _long
    )


def endless(root: Path, random: Random) -> Planted:
    def change(one: list[tuple[str, str]], number: int) -> list[tuple[str, str]]:
        return [(f"{word}{k}", tag) for k in range(60) for word, tag in one]

    return _spoiled(root, random, "long", change, _long)


def _added(root: Path, random: Random, kinds: str, change, name: str) -> Planted:  # type: ignore[no-untyped-def]
    train, target = read(root / "train.conll"), read(root / name)
    fit = [k for k, one in enumerate(train) if _long(one)]
    first = len(target)
    target += [change(list(train[k])) for k in random.choice(fit, COUNT, replace=False)]
    write(root / name, target)
    return Planted(frozenset(kinds.split()),
                   tuple((f"{name}:{line_of(target, k)}",) for k in range(first, len(target))))  # fmt: skip


def copies(root: Path, random: Random) -> Planted:
    return _added(root, random, "copies", lambda one: one, "train.conll")


def leak(root: Path, random: Random) -> Planted:
    return _added(root, random, "leak", lambda one: one, "test.conll")


def disputed(root: Path, random: Random) -> Planted:
    def change(one: list[tuple[str, str]]) -> list[tuple[str, str]]:
        at = next(k for k, (_, tag) in enumerate(one) if tag != "O")
        return [(w, "O" if k >= at else t) for k, (w, t) in enumerate(one)]

    return _added(root, random, "disputed", change, "train.conll")


def unknown_tag(root: Path, random: Random) -> Planted:
    test = read(root / "test.conll")
    place = int(random.integers(len(test)))
    test[place] = [(test[place][0][0], "B-XYZZY"), *test[place][1:]]
    write(root / "test.conll", test)
    return Planted(frozenset({"unknown-class", "broken-tags"}), ((f"test.conll:{line_of(test, place)}",),))


def two_encodings(root: Path, random: Random) -> Planted:
    path = root / "train.conll"
    sentences = read(path)
    sentences[0] = [("Zürich", sentences[0][0][1]), *sentences[0][1:]]
    write(path, sentences)
    path.write_bytes(path.read_bytes() + b"\nM\xfcnchen\tO\nist\tO\n")
    return Planted(frozenset({"mixed-encodings", "garbled", "unreadable"}), whole=True)


TAG_FAULTS: dict[str, Plant] = {
    fault.__name__: fault
    for fault in (broken, untagged, slips, garbled, endless, copies, leak, disputed, unknown_tag, two_encodings)
}


def told(root: Path, *, train: int = 150, test: int = 40, seed: int = 0) -> Path:
    """Made-up news with people, places and firms."""
    random = np.random.default_rng(seed)
    root.mkdir(parents=True)
    firsts, ends = ("Ada", "Ben", "Cho", "Dai", "Eva", "李"), ("berg", "son", "ova", "ton", "ham", "明")
    verbs = ["visited", "left", "bought", "praised", "joined", "sold", "opened", "closed", "toured", "painted"]
    rest = ["after a long winter", "with two old friends", "before the vote", "in heavy rain", "for the third time"]
    seen: set[str] = set()
    for name, count in (("train.conll", train), ("test.conll", test)):
        sentences: Sentences = []
        while len(sentences) < count:
            person = [(str(random.choice(firsts)), "B-PER"), (f"{random.choice(firsts)}{random.choice(ends)}", "I-PER")]
            place = [(f"{random.choice(firsts)}{random.choice(ends)}{random.integers(99)}", "B-PLACE")]
            firm = [(f"{random.choice(ends).title()}", "B-FIRM"), ("& Co", "I-FIRM")]
            tail = [(word, "O") for word in str(random.choice(rest)).split()]
            one = [*person, (str(random.choice(verbs)), "O"), *(place if random.random() < 0.5 else firm), *tail]
            if str(one) not in seen:
                seen.add(str(one))
                sentences.append([(word.replace(" ", "_"), tag) for word, tag in one])
        write(root / name, sentences)
    return root
