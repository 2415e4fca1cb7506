from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corecur.data.image_sizes import asked_size, choose_size, size_finding
from corecur.errors import ConfigError

SIDES = st.integers(1, 5000)


@given(st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=20))
def test_the_common_size_is_small_and_in_steps_of_eight_or_the_one_size_of_all(sizes: list[tuple[int, int]]) -> None:
    height, width = choose_size(sizes)
    if len(set(sizes)) == 1 and max(sizes[0]) <= 128:
        assert (height, width) == sizes[0]
    else:
        assert height % 8 == width % 8 == 0
        assert 8 <= height <= 96
        assert 8 <= width <= 96


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ([(28, 28)] * 3, (28, 28)),
        ([(128, 128)], (128, 128)),
        ([(129, 129)], (96, 96)),
        ([(1080, 1920)], (56, 96)),
        ([(50, 50), (50, 51), (50, 52)], (48, 48)),
        ([(10, 1000)], (8, 96)),
    ],
)
def test_known_sizes(sizes: list[tuple[int, int]], wanted: tuple[int, int]) -> None:
    assert choose_size(sizes) == wanted


def test_findings_speak_only_of_changed_pictures() -> None:
    assert size_finding([(8, 8)] * 4, (8, 8)) is None
    assert "are 300×200" in str(size_finding([(300, 200)], (96, 64)))
    assert "2 sizes" in str(size_finding([(300, 200), (10, 10)], (96, 64)))


@pytest.mark.parametrize("size", [0, -1, (1,), (8, 8, 3), (8, 0), 2.5, "64"])
def test_nonsense_sizes_are_refused(size: object) -> None:
    with pytest.raises(ConfigError, match="size"):
        asked_size(size)  # type: ignore[arg-type]
