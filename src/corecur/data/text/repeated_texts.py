"""Texts that stand in a source more than once: within a split, in two splits, under two labels."""

from __future__ import annotations

from collections.abc import Mapping

from corecur.data.text.text_sets import TextSet
from corecur.finding import Finding


def repeated_findings(splits: Mapping[str, TextSet]) -> list[Finding]:
    """Sentences on texts that are equal but for spaces at their ends, with the number of them and an example.

    >>> import torch
    >>> one = TextSet(("a", "b", "a"), torch.tensor([0, 1, 1]), ("x:1", "x:2", "x:3"))
    >>> repeated_findings({"train": one, "test": TextSet(("b ",), torch.tensor([1]), ("y:1",))})[-1].verdict
    '1 test text is in the train split too (y:1 is x:2).'
    """
    findings: list[Finding] = []
    earlier: dict[str, tuple[dict[str, int], TextSet]] = {}
    for split, texts in splits.items():
        first: dict[str, int] = {}
        keys = texts.contents()
        labels = None if texts.labels is None else texts.labels.tolist()
        copies, disputed = [], []
        for row, key in enumerate(keys):
            original = first.setdefault(key, row)
            if original != row:
                copies.append((texts.names[row], texts.names[original]))
                if labels is not None and labels[row] != labels[original]:
                    disputed.append((texts.names[row], texts.names[original]))
        findings += _sentence(copies, f"{split} text", ("is a copy of another", "are copies of others"), "copies")
        findings += _sentence(
            disputed, f"{split} text", ("is a copy with another label", "are copies with other labels"), "disputed"
        )
        for name, (known, others) in earlier.items():
            shared = [(texts.names[row], others.names[known[key]]) for row, key in enumerate(keys) if key in known]
            where = f"in the {name} split too"
            findings += _sentence(shared, f"{split} text", (f"is {where}", f"are {where}"), "leak")
        earlier[split] = (first, texts)
    return findings


def _sentence(pairs: list[tuple[str, str]], noun: str, verbs: tuple[str, str], kind: str) -> list[Finding]:
    if not pairs:
        return []
    copy, original = pairs[0]
    if len(pairs) == 1:
        return [Finding(kind, f"1 {noun} {verbs[0]} ({copy} is {original}).")]
    return [Finding(kind, f"{len(pairs):,} {noun}s {verbs[1]} (the first: {copy} is {original}).")]
