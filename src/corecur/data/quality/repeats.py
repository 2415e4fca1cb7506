"""Samples that stand in a source more than once: within a split, in two splits, under two labels.

Shapes: N samples.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from corecur.errors import CorecurError
from corecur.finding import Finding, Level

#: Lines of evidence that a finding keeps.
MOST_LINES = 1_000
#: Held-out samples in the training data, as a share, above which a test says nothing.
_RUINED = 0.2


@dataclass(frozen=True)
class Listed:
    """Samples as a check sees them: what messages call each, the split and the label of each, and what they are.

    >>> Listed(["a"], ["train"], None).noun
    'sample'
    """

    names: Sequence[str]
    splits: Sequence[str]
    labels: Sequence[str] | None
    noun: str = "sample"
    plural: str = ""
    #: Samples so short that they repeat by chance.
    short: frozenset[int] = frozenset()
    #: What copies are to each other, in words.
    equal: str = "exactly the same as"

    def short_pairs(self, pairs: Iterable[tuple[int, int]]) -> frozenset[tuple[int, int]]:
        """The pairs of which both are short.

        >>> sorted(Listed([], [], None, short=frozenset({0, 1})).short_pairs([(0, 1), (1, 2)]))
        [(0, 1)]
        """
        return frozenset(pair for pair in pairs if self.short.issuperset(pair))

    def many(self, count: int) -> str:
        """So many of them, in words.

        >>> Listed([], [], None, "picture").many(2)
        '2 pictures'
        """
        return f"{count:,} {self.noun if count == 1 else self.plural or self.noun + 's'}"


def lines(evidence: Iterable[str]) -> tuple[str, ...]:
    """Evidence, cut where it gets long.

    >>> lines("ab")
    ('a', 'b')
    """
    left = iter(evidence)
    listed = tuple(islice(left, MOST_LINES))
    more = sum(1 for _ in left)
    return (*listed, f"… and {more:,} more") if more else listed


def refused(error: CorecurError, kind: str = "refused") -> Finding:
    """An error that would end a training, as a finding.

    >>> print(refused(CorecurError("the folder is empty", where="photos/", do="fill it")))
    The folder is empty. (photos/) Remedy: fill it.
    """
    evidence = tuple(str(part) for part in (error.where, error.got) if part is not None)
    return Finding(kind, f"{error.what[0].upper()}{error.what[1:]}.", evidence, error.do or "", "problem")


def same_keys(keys: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Pairs (first, later) of places with equal keys; None is equal to nothing.

    >>> same_keys(["a", "b", "a", None, None])
    [(0, 2)]
    """
    first: dict[Hashable, int] = {}
    return [(first[key], place) for place, key in enumerate(keys)
            if key is not None and first.setdefault(key, place) != place]  # fmt: skip


def repeat_findings(
    listed: Listed,
    pairs: Sequence[tuple[int, int]],
    *,
    near: bool,
    many: float,
    chance: frozenset[tuple[int, int]] = frozenset(),
) -> list[Finding]:
    """What is said of pairs (first, later) of copies; ``near`` where they are not equal, only nearly.

    Copies within a split are a warning from the share ``many`` of the samples on. Of ``chance``, the pairs that are no
    copies but the same by themselves, nothing graver than a note is said, unless their labels differ.

    >>> listed = Listed(["a", "b", "c"], ["train", "train", "test"], ["x", "y", "x"])
    >>> [found.kind for found in repeat_findings(listed, [(0, 1), (0, 2)], near=False, many=0.01)]
    ['disputed', 'leak']
    """
    kinds: dict[tuple[str, str, bool], list[tuple[int, int]]] = {}
    for first, later in pairs:
        splits, usual = sorted({listed.splits[first], listed.splits[later]}, key=_order), (first, later) in chance
        disputed = listed.labels is not None and listed.labels[first] != listed.labels[later]
        if disputed:
            kinds.setdefault(("disputed", "", False), []).append((first, later))
        if len(splits) > 1:
            kinds.setdefault(("leak", " and ".join(splits), usual), []).append((first, later))
        elif not disputed:
            kinds.setdefault(("copies", splits[0], usual), []).append((first, later))
    found = []
    for (kind, where, usual), chosen in kinds.items():
        found.append(_finding(listed, kind, where, chosen, near=near, many=math.inf if usual else many))
    return found


def _order(split: str) -> int:
    return {"train": 0, "validation": 1, "test": 2}.get(split, 3)


def _finding(
    listed: Listed, kind: str, where: str, pairs: Sequence[tuple[int, int]], *, near: bool, many: float
) -> Finding:
    count = len({later for _, later in pairs})
    alike, verb = "nearly the same as" if near else listed.equal, "is" if count == 1 else "are"
    another = "another" if count == 1 else "others"
    level: Level = "warning"
    labels = listed.labels or [""] * len(listed.names)
    evidence = lines(
        f"{listed.names[b]}" + (f" ({labels[b]})" if kind == "disputed" else "")
        + (" ~ " if near else " = ") + listed.names[a] + (f" ({labels[a]})" if kind == "disputed" else "")
        for a, b in pairs
    )  # fmt: skip
    if kind == "disputed":
        verdict = f"{listed.many(count)} {verb} {alike} {another} with another label"
        verdict += ": is one of the labels wrong?" if near else ": one of the labels is wrong."
        if listed.noun == "text" and not near:
            verdict = f"{verdict[:-1]}, or the text does not tell its class."
        remedy = "correct the label, or remove both"
        short = all(listed.short.issuperset(pair) for pair in pairs)
        if short or (near and listed.noun == "text"):  # a word may turn what a text says
            level = "note"
    elif many == math.inf:
        place = f"in {where} {verb} {alike} {another} in the other split" if kind == "leak" else ""
        verdict = f"{listed.many(count)} {place or f'of {where} {verb} {alike} {another}'}"
        verdict += ", as common phrases are."
        level, remedy = "note", ""
    elif kind == "leak":
        held = where.split(" and ")[-1]
        total = sum(split == held for split in listed.splits)
        verdict = f"{listed.many(count)} in {where} {verb} {alike} {another} in the other split: "
        verdict += f"results on {held} will be too good."
        remedy = f"remove {'it' if count == 1 else 'them'} from the training data"
        if near and count < many * total:  # less than a test is sure to
            level, verdict = "note", verdict.replace(verdict.rpartition(": ")[2], "too few to change results.")
        if not near and count > _RUINED * total and total >= 10:
            level = "problem"
    else:
        verdict = f"{listed.many(count)} of {where} {verb} {alike} {another}."
        remedy = "keep one of each, before splits are made of them"
        if len(pairs) < many * len(listed.names):
            level = "note"
    return Finding(f"near-{kind}" if near else kind, verdict, evidence, remedy, level)


def class_counts(listed: Listed) -> Mapping[str, Mapping[str, int]]:
    """How many samples each split has of each class.

    >>> class_counts(Listed("ab", ["train", "test"], ["x", "y"]))
    {'train': {'x': 1, 'y': 0}, 'test': {'x': 0, 'y': 1}}
    """
    labels = listed.labels or []
    classes = dict.fromkeys(labels)
    counts = {split: dict.fromkeys(classes, 0) for split in dict.fromkeys(listed.splits)}
    for split, label in zip(listed.splits, labels, strict=False):
        counts[split][label] += 1
    return counts
