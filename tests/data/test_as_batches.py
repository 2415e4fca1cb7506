from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from corecur.data.as_batches import as_batches
from corecur.data.batches import TensorBatches
from corecur.data.loader_batches import LoaderBatches
from corecur.errors import ConfigError, DataError

X, Y = np.arange(20.0).reshape(10, 2), np.arange(10, dtype=np.int32)


class Rows(Dataset[object]):
    """A map-style dataset that makes its samples with a function."""

    def __init__(self, sample: Callable[[int], object], samples: int = 10) -> None:
        self.sample, self.samples = sample, samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, place: int) -> object:
        return self.sample(place)


class Stream(IterableDataset[object]):
    def __iter__(self) -> Iterator[object]:
        return iter(zip(X, Y, strict=True))


class Loader:
    """Somebody's own loader: it can be run through, and that is all."""

    def __iter__(self) -> Iterator[object]:
        return iter([(X, Y)])


@pytest.mark.parametrize(
    "x",
    [
        (X, Y),
        (X.tolist(), Y.tolist()),
        (torch.from_numpy(X), torch.from_numpy(Y)),
        (TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)),),
        (Rows(lambda i: (X[i], int(Y[i]))),),
        (Rows(lambda i: {"x": X[i], "y": Y[i]}),),
        (Stream(),),
        (DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), batch_size=4),),
        (iter([(X, Y)]),),
        (Loader(),),
    ],
    ids=[
        "arrays",
        "lists",
        "tensors",
        "tensor dataset",
        "dataset",
        "dict dataset",
        "stream",
        "loader",
        "iterator",
        "own loader",
    ],
)
def test_every_source_gives_the_same_samples(x: tuple[object, ...]) -> None:
    batches = list(as_batches(*x, batch_size=4))
    inputs, targets = (torch.cat([b[part] for b in batches]) for part in (0, 1))
    assert inputs.dtype == torch.float32 and targets.dtype == torch.int64
    assert inputs.tolist() == X.tolist() and targets.tolist() == Y.tolist()


def test_batches_are_returned_as_they_are() -> None:
    batches = TensorBatches(torch.zeros(3))
    assert as_batches(batches) is batches


def test_weights_and_several_inputs() -> None:
    (batch,) = as_batches((X, X[:, :1]), Y, np.ones(10), batch_size=99)
    assert [tuple(part.shape) for part in batch.inputs] == [(10, 2), (10, 1)] and batch.weights.tolist() == [1] * 10
    with_weights = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y), torch.full((10,), 2.0))
    (batch,) = as_batches(with_weights, batch_size=99)
    assert batch.weights.tolist() == [2] * 10


def test_a_small_dataset_is_read_once_and_a_random_one_is_not() -> None:
    reads: list[int] = []

    def counted(i: int) -> object:
        reads.append(i)
        return X[i], int(Y[i])

    batches = as_batches(Rows(counted), batch_size=4, shuffle=True)
    assert isinstance(batches, TensorBatches)
    seen = len(reads)
    assert len(list(batches.epoch(1))) == 3 and len(reads) == seen

    random = as_batches(Rows(lambda i: (torch.rand(2), i)), batch_size=4, shuffle=True)
    assert isinstance(random, LoaderBatches)
    orders = [[b.targets.tolist() for b in random.epoch(e)] for e in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1]


def test_a_large_dataset_goes_through_a_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corecur.data.as_batches.SMALL", 100)
    batches = as_batches(Rows(lambda i: (X[i], int(Y[i]))), batch_size=4)
    assert isinstance(batches, LoaderBatches) and batches.samples == 10
    assert torch.cat([b.targets for b in batches]).tolist() == Y.tolist()


@pytest.mark.parametrize("beside", [{"y": Y}, {"sample_weight": np.ones(10)}])
@pytest.mark.parametrize(
    "x", [DataLoader(TensorDataset(torch.zeros(10))), TensorDataset(torch.zeros(10)), TensorBatches(torch.zeros(10))]
)
def test_targets_beside_a_loader_are_refused(x: object, beside: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(beside))} cannot be given"):
        as_batches(x, **beside)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((X, Y[:-1]), "inputs 10, targets 9"),
        ((X, Y, np.ones(9)), "sample_weight"),
        ((np.full((3, 2), np.nan),), "NaN"),
        ((X, np.full(10, np.inf)), "targets"),
        ((np.array([None, 1], dtype=object),), "objects"),
        (([],), "no data"),
        ((TensorDataset(*[torch.zeros(3)] * 4),), "too many parts"),
        ((Rows(lambda i: X[i], samples=0),), "empty"),
        ((Rows(lambda i: object()),), "cannot be stacked"),
        ((Rows(lambda i: torch.zeros(i + 1)),), "cannot be stacked"),
        ((Rows(lambda i: (torch.full((2,), torch.inf), i)),), "NaN or infinite"),
    ],
)
def test_data_that_cannot_be_learned_from_is_refused(arguments: tuple[object, ...], says: str) -> None:
    with pytest.raises(DataError, match=says):
        as_batches(*arguments)
