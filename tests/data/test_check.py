from __future__ import annotations

import numpy as np
import pytest
import torch

from corecur.data.check import class_findings, duplicate_findings, missing_findings, refuse_classes
from corecur.data.images import ImageSet
from corecur.errors import DataError


def image_set(values: list[int], labels: list[int], prefix: str = "") -> ImageSet:
    """Pictures of one value each: equal values are copies."""
    images = torch.tensor(values, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 4, 4, 1)
    return ImageSet(images, torch.tensor(labels), tuple(f"{prefix}{n}" for n in range(len(values))))


@pytest.mark.parametrize(
    ("numbers", "classes", "message"),
    [
        ([0, 0, 0], ("cat",), "one class only"),
        ([0, 0, 1], ("cat", "dog"), "'dog' \\(1\\)"),
        ([0, 0], ("cat", "dog"), "'dog' \\(0\\)"),
        ([], ("cat", "dog"), "no pictures"),
        (list(range(50)), tuple(map(str, range(50))), "numbers of their own"),
    ],
)
def test_what_cannot_be_learned_is_refused(numbers: list[int], classes: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        refuse_classes(np.array(numbers, dtype=np.int64), classes, where="photos")


def test_two_classes_of_two_are_enough() -> None:
    refuse_classes(np.array([0, 1, 1, 0]), ("cat", "dog"), where="photos")


def test_balanced_classes_give_no_finding() -> None:
    assert class_findings(np.arange(100) % 4, ("a", "b", "c", "d")) == []
    assert missing_findings(np.arange(4), ("a", "b", "c", "d"), split="test") == []


def test_few_samples_and_imbalance_are_told() -> None:
    few, imbalance = map(str, class_findings(np.repeat([0, 1, 2], [90, 30, 3]), ("a", "b", "c")))
    assert "'c' (3)" in few
    assert "'b'" not in few
    assert imbalance.startswith("Imbalance: 'a' has 90 training pictures, 'c' has 3.")


def test_long_lists_are_cut() -> None:
    assert "and 95 more" in str(class_findings(np.arange(200) % 100, tuple(map(str, range(100))))[0])
    assert "and 94 more" in str(missing_findings(np.array([0]), tuple(map(str, range(100))), split="test")[0])


def test_copies_are_found_within_and_across_splits() -> None:
    train = image_set([1, 2, 1, 3, 1], [0, 0, 0, 1, 1], "train/")
    test = image_set([9, 3, 2], [0, 1, 0], "test/")
    assert list(map(str, duplicate_findings({"train": train, "test": test}))) == [
        "2 train pictures are exact copies of others (the first: train/2 of train/0).",
        "1 train picture has a copy with another label (train/4 of train/0).",
        "2 test pictures are in the train split too (the first: test/1 of train/3).",
    ]


def test_one_changed_pixel_is_no_copy() -> None:
    images = torch.zeros(200, 8, 8, 3, dtype=torch.uint8)
    images.view(200, -1)[torch.arange(1, 192), torch.arange(1, 192)] = 1
    different = ImageSet(images[:192], None, tuple(map(str, range(192))))
    assert duplicate_findings({"train": different}) == []
