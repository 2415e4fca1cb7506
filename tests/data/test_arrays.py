from __future__ import annotations

import numpy as np
import pytest
import torch

from corecur.data.arrays import as_inputs, as_targets, as_tensor, as_weights, check_lengths, is_several
from corecur.errors import DataError


@pytest.mark.parametrize(
    ("given", "inputs", "targets"),
    [
        (np.float64, torch.float32, torch.float32),
        (np.float16, torch.float32, torch.float32),
        (np.longdouble, torch.float32, torch.float32),
        (">f4", torch.float32, torch.float32),
        (np.uint8, torch.uint8, torch.int64),
        (np.int8, torch.int64, torch.int64),
        (np.uint16, torch.int64, torch.int64),
        (np.uint64, torch.int64, torch.int64),
        (">i4", torch.int64, torch.int64),
        (np.bool_, torch.float32, torch.int64),
    ],
)
def test_dtypes(given: str, inputs: torch.dtype, targets: torch.dtype) -> None:
    array = np.array([[0, 1], [1, 0]], dtype=given)
    for got, dtype in ((as_inputs(array), inputs), (as_targets(array), targets)):
        assert isinstance(got, torch.Tensor) and got.dtype == dtype and got.tolist() == [[0, 1], [1, 0]]


def test_tensors_lists_and_array_likes() -> None:
    assert as_inputs(torch.zeros(2, dtype=torch.float64)).dtype == torch.float32
    assert as_targets([1, 2]).tolist() == [1, 2] and as_inputs([[1.0], [2.0]]).shape == (2, 1)
    assert isinstance(as_inputs([[1, 2], [3, 4]]), torch.Tensor)
    several = as_inputs([np.zeros((3, 2)), torch.zeros(3, 1)])
    assert isinstance(several, tuple) and [len(part) for part in several] == [3, 3]
    assert not is_several([np.float32(1), np.float32(2)]) and not is_several([]) and not is_several(np.zeros((2, 2)))

    class ArrayLike:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            return np.arange(3.0)

    assert as_inputs(ArrayLike()).tolist() == [0, 1, 2]


def test_memory_is_shared_where_it_can_be() -> None:
    array = np.zeros((4, 3), dtype=np.float32)
    assert as_inputs(array).data_ptr() == array.ctypes.data
    assert as_inputs(array[1:, :2]).data_ptr() == array[1:].ctypes.data
    array.flags.writeable = False
    assert as_inputs(array).data_ptr() == array.ctypes.data  # and no warning, which would fail the test run
    assert as_inputs(np.arange(3, dtype=np.float32)[::-1]).tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (np.array([{}, {}], dtype=object), "Python objects"),
        ([[1, 2], [3]], "rectangular"),
        (np.array(["cat", "dog"]), "return_inverse"),
        (np.array([1 + 2j]), "not numbers"),
        (torch.tensor([1 + 2j]), "real numbers"),
        (torch.eye(2).to_sparse(), "dense"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "not numbers"),
        (3.0, "single number"),
        (None, "Python objects"),
        ([], "no data"),
        (np.zeros((0, 3)), "no data"),
        (np.array([2**64 - 1], dtype=np.uint64), "too large"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(wrong: object, says: str) -> None:
    with pytest.raises(DataError, match=says) as error:
        as_tensor(wrong, name="inputs", where="batch 3")
    assert "inputs, batch 3" in str(error.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_counted_and_placed(bad: float) -> None:
    array = np.ones((6, 4), dtype=np.float32)
    array[2, 1] = array[2, 3] = array[5, 0] = bad
    with pytest.raises(DataError, match=r"first in row 2[\s\S]*3 such numbers in 2 of 6 rows"):
        as_inputs(array)
    with pytest.raises(DataError, match="targets"):
        as_targets(array[:, 1])
    assert as_inputs(array, finite=False).shape == (6, 4)


def test_a_sum_that_overflows_is_no_bad_number() -> None:
    assert as_inputs(np.full(8, 3e38, dtype=np.float32)).shape == (8,)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ([1, 2], "does not fit"),
        ([[1, 1, 1]], "does not fit"),
        ([1, -1, 1], "row 1"),
        ([[1, 1], [1, 1], [1, -0.5]], r"(?s)row 2.*-0\.5"),
        ([0, 0, 0], "every sample_weight is 0"),
        ([1, np.nan, 1], "NaN"),
    ],
)
def test_wrong_weights_are_refused(weights: list[float], says: str) -> None:
    with pytest.raises(DataError, match=says):
        as_weights(weights, 3)


def test_weights_of_steps_and_of_samples_in_a_column() -> None:
    assert torch.equal(as_weights([[1, 0], [2, 3]], 2), torch.tensor([[1.0, 0.0], [2.0, 3.0]]))
    assert torch.equal(as_weights(np.array([[1], [2]]), 2), torch.tensor([1.0, 2.0]))


def test_lengths_that_differ_are_named() -> None:
    with pytest.raises(DataError, match=r"inputs and targets have different lengths[\s\S]*inputs 3, targets 4"):
        check_lengths(inputs=torch.zeros(3), targets=torch.zeros(4))
    with pytest.raises(DataError, match=r"inputs\[0\] and inputs\[1\][\s\S]*np.stack"):
        check_lengths(inputs=(torch.zeros(3), torch.zeros(4)))
