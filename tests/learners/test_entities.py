from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from corecur.learners.entities import Entity, are_entity_tags, entities_in

TAGS = st.lists(st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b"]), max_size=12)


def test_each_way_an_entity_begins_and_ends() -> None:
    assert entities_in([]) == [] == entities_in(["O", "O"])
    assert entities_in(["B-a", "B-a", "I-a"]) == [Entity(0, 1, "a"), Entity(1, 3, "a")]
    assert entities_in(["I-a", "I-b"]) == [Entity(0, 1, "a"), Entity(1, 2, "b")]
    assert entities_in(["B-a", "I-b", "O", "B-creative-work"])[-1] == Entity(3, 4, "creative-work")


@given(TAGS)
def test_written_again_they_are_the_same(tags: list[str]) -> None:
    found = entities_in(tags)
    again = ["O"] * len(tags)
    for first, last, kind in found:
        again[first:last] = [f"B-{kind}", *[f"I-{kind}"] * (last - first - 1)]
    assert entities_in(again) == found
    assert [tag == "O" for tag in again] == [tag == "O" for tag in tags]


def test_what_entity_tags_are() -> None:
    assert not are_entity_tags(["O", "O"]) and not are_entity_tags(["B-a", "NOUN"])
