"""Entities written as tags: B-kind begins one, I-kind goes on, O is outside (Ramshaw & Marcus 1995).

T tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Entity(NamedTuple):
    """Tokens ``first`` to ``last`` (not included) of a sentence, and what they are."""

    first: int
    last: int
    kind: str


def are_entity_tags(tags: Iterable[str]) -> bool:
    """Whether these tags are O, B-kind and I-kind, and not parts of speech or the like.

    >>> are_entity_tags(["O", "B-person", "I-person"]), are_entity_tags(["NOUN", "VERB"]), are_entity_tags(["O"])
    (True, False, False)
    """
    found = set(tags)
    return any(tag.startswith(("B-", "I-")) for tag in found) and all(
        tag == "O" or tag.startswith(("B-", "I-")) for tag in found
    )


def entities_in(tags: Sequence[str]) -> list[Entity]:
    """The entities of a sentence of tags (T,); an I- that goes on with nothing begins one, as conlleval counts.

    >>> entities_in(["B-person", "I-person", "O", "I-place"])
    [Entity(first=0, last=2, kind='person'), Entity(first=3, last=4, kind='place')]
    """
    found: list[Entity] = []
    first, kind = 0, ""
    for place, tag in enumerate([*tags, "O"]):
        mark, _, name = tag.partition("-")
        if kind and (mark != "I" or name != kind):
            found.append(Entity(first, place, kind))
            kind = ""
        if mark in ("B", "I") and not kind:
            first, kind = place, name
    return found
