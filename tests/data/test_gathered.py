from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corecur.data.gathered import Gathered, Part, class_numbers, classes_of, natural_key
from corecur.errors import DataError


def part(labels: list[object]) -> Part:
    return Part([], np.array(labels), [str(n) for n in range(len(labels))])


@given(st.lists(st.integers(0, 10**6)))
def test_numbers_in_names_sort_by_value(numbers: list[int]) -> None:
    names = [f"img{n}.png" for n in numbers]
    assert sorted(names, key=natural_key) == [f"img{n}.png" for n in sorted(numbers)]


@given(st.lists(st.text(), unique=True))
def test_the_order_of_names_does_not_depend_on_where_they_stood(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


def test_classes_are_the_distinct_labels() -> None:
    assert classes_of(Gathered("x", {"train": part([10, 2, 10, 0])})) == ("0", "2", "10")
    assert classes_of(Gathered("x", {"train": part(["b", "a", "b"])})) == ("a", "b")
    assert classes_of(Gathered("x", {"train": part(["b", "a"])}, classes=("b", "a"))) == ("b", "a")


@given(st.lists(st.integers(0, 12), min_size=1))
def test_numbers_name_the_class_of_each_label(labels: list[int]) -> None:
    classes = classes_of(Gathered("x", {"train": part(list(labels))}))
    numbers = class_numbers(np.array(labels), classes, where="train")
    assert [classes[n] for n in numbers] == [str(label) for label in labels]


def test_an_unknown_label_is_named_with_the_nearest_class() -> None:
    with pytest.raises(DataError, match="did you mean 'truck'"):
        class_numbers(np.array(["car", "truk"]), ("car", "truck"), where="test")


def test_no_labels_give_no_numbers() -> None:
    assert class_numbers(np.array([], dtype=str), ("a",), where="test").shape == (0,)
