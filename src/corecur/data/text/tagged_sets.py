"""Sentences with a tag for every word, in memory.

Shapes: N sentences.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from corecur.errors import DataError
from corecur.finding import Finding

Words = tuple[str, ...]


@dataclass(frozen=True)
class TaggedSet:
    """Sentences of one split as words, their tags or None, and where each came from.

    Raises DataError where a sentence has more or fewer tags than words.

    >>> import torch
    >>> found = TaggedSet((("a", "cat"), ("go",)), (("DET", "NOUN"), ("VERB",)), ("f:1", "f:4"))
    >>> len(found), found.words, found.take(torch.tensor([1])).tags
    (2, 3, (('VERB',),))
    """

    sentences: tuple[Words, ...]
    tags: tuple[Words, ...] | None
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        counts = {len(self.sentences), len(self.names), *(() if self.tags is None else (len(self.tags),))}
        if len(counts) > 1:
            raise DataError("sentences, tags and names differ in number", got=sorted(counts))
        for words, tags, name in zip(self.sentences, self.tags or (), self.names, strict=False):
            if len(words) != len(tags):
                raise DataError(
                    "words and tags differ in number",
                    where=name,
                    got=f"{len(words)} words, {len(tags)} tags",
                    expected="a tag for every word",
                )

    def __len__(self) -> int:
        return len(self.sentences)

    @property
    def words(self) -> int:
        """How many words the sentences have."""
        return sum(map(len, self.sentences))

    def contents(self) -> tuple[Words, ...]:
        """The words of each sentence."""
        return self.sentences

    def take(self, index: Tensor) -> TaggedSet:
        """The sentences at ``index`` (M,) int64, in that order."""
        rows = index.tolist()
        tags = None if self.tags is None else tuple(self.tags[row] for row in rows)
        return TaggedSet(tuple(self.sentences[row] for row in rows), tags, tuple(self.names[row] for row in rows))


@dataclass(frozen=True)
class TaggedSource:
    """Everything a source of tagged sentences holds; ``classes`` are the tags of the training split in their order.

    >>> train = TaggedSet((("go",),), (("VERB",),), ("f:1",))
    >>> TaggedSource("f.conllu", "conllu", ("VERB",), train, None, None, ()).classes
    ('VERB',)
    """

    origin: str
    kind: str
    classes: tuple[str, ...]
    train: TaggedSet
    validation: TaggedSet | None
    test: TaggedSet | None
    findings: tuple[Finding, ...]
