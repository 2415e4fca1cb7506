from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from corecur.data.batches import Batch
from corecur.data.loader_batches import EpochSampler, LoaderBatches
from corecur.errors import ConfigError, DataError

X, Y = torch.arange(10.0).view(5, 2), torch.arange(5)


def test_a_data_loader_gives_what_a_plain_loop_over_it_gives() -> None:
    loader = DataLoader(TensorDataset(X, Y), batch_size=2, shuffle=True)
    torch.manual_seed(3)
    expected = [(x.tolist(), y.tolist()) for x, y in loader]
    torch.manual_seed(3)
    batches = LoaderBatches(loader)
    assert [(b.inputs.tolist(), b.targets.tolist()) for b in batches] == expected
    assert (len(batches), batches.samples, batches.batch_size) == (3, 5, 2)


@pytest.mark.parametrize(
    "item",
    [
        (X, Y, torch.ones(5)),
        [X.numpy(), Y.tolist(), [1] * 5],
        {"image": X, "label": Y, "sample_weight": torch.ones(5, dtype=torch.float64)},
        Batch(X, Y, torch.ones(5)),
    ],
)
def test_every_form_of_an_item(item: object) -> None:
    (batch,) = LoaderBatches([item])
    assert torch.equal(batch.inputs, X) and torch.equal(batch.targets, Y) and torch.equal(batch.weights, torch.ones(5))
    assert batch.weights.dtype == torch.float32 and batch.index is None


def test_inputs_alone_and_several_inputs() -> None:
    (alone,) = LoaderBatches([X])
    assert torch.equal(alone.inputs, X) and alone.targets is None
    (several,) = LoaderBatches([([X, X], Y)])
    assert isinstance(several.inputs, tuple) and torch.equal(several.targets, Y)


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ({"foto": X}, "the keys foto"),
        ((X, Y, Y, Y), "too many parts"),
        ((X, np.array(["a"])), "targets, batch 2"),
        (None, "batch 2"),
    ],
)
def test_an_item_that_is_no_batch_is_refused(item: object, says: str) -> None:
    with pytest.raises(DataError, match=says):
        list(LoaderBatches([X, item]))


def test_the_sampler_is_told_the_epoch_and_a_resumed_epoch_goes_on() -> None:
    def batches() -> LoaderBatches:
        return LoaderBatches(DataLoader(TensorDataset(X, Y), batch_size=2, sampler=EpochSampler(5, seed=0)))

    epochs = [[b.targets.tolist() for b in batches().epoch(e)] for e in range(4)]
    assert all(sorted(sum(e, [])) == [0, 1, 2, 3, 4] for e in epochs) and len({str(e) for e in epochs}) > 1
    assert [[b.targets.tolist() for b in batches().epoch(e, 1)] for e in range(4)] == [e[1:] for e in epochs]


def test_a_generator_runs_once_and_has_no_length() -> None:
    batches = LoaderBatches((X, Y) for _ in range(2))
    with pytest.raises(TypeError, match="generator"):
        len(batches)
    assert len([*batches.epoch(0)]) == 2
    with pytest.raises(DataError, match=r"no batch[\s\S]*epoch 1[\s\S]*generator"):
        next(batches.epoch(1))


def test_resuming_at_the_end_of_an_epoch_gives_nothing() -> None:
    assert list(LoaderBatches([X, X]).epoch(0, 2)) == []
    with pytest.raises(ConfigError):
        list(LoaderBatches([X]).epoch(0, -1))


def test_an_iterable_dataset_has_no_known_size() -> None:
    class Stream(IterableDataset[torch.Tensor]):
        def __iter__(self) -> Iterator[torch.Tensor]:
            return iter(X)

    batches = LoaderBatches(DataLoader(Stream(), batch_size=2))
    assert batches.samples is None and [len(b.inputs) for b in batches] == [2, 2, 1]
    with pytest.raises(TypeError):
        len(batches)


def test_transform_and_device() -> None:
    batches = LoaderBatches(
        [(X, Y)],
        device=torch.device("meta"),
        transform=lambda batch, epoch: batch._replace(inputs=batch.inputs + epoch),
    )
    (batch,) = batches.epoch(1)
    assert batch.inputs.device.type == batch.targets.device.type == "meta"


def test_what_cannot_be_run_through_is_refused() -> None:
    with pytest.raises(DataError, match="no batches"):
        LoaderBatches(3)
