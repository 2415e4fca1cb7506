from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corecur.data.batches import Batch, TensorBatches, moved
from corecur.errors import ConfigError, DataError


@settings(max_examples=80, deadline=None)
@given(
    n=st.integers(1, 50), size=st.integers(1, 60), shuffle=st.booleans(), drop=st.booleans(), epoch=st.integers(0, 9),
    start=st.integers(0, 60),
)  # fmt: skip
def test_an_epoch_and_its_rest(n: int, size: int, shuffle: bool, drop: bool, epoch: int, start: int) -> None:
    x, y = torch.arange(n * 2.0).view(n, 2), torch.arange(n)
    batches = TensorBatches(x, y, y.float(), batch_size=size, shuffle=shuffle, seed=1, drop_last=drop)
    whole = list(batches.epoch(epoch))
    assert len(whole) == len(batches) == (n // size if drop else -(-n // size))
    for batch in whole:
        assert torch.equal(batch.inputs, x[batch.index]) and torch.equal(batch.targets, batch.index)
        assert torch.equal(batch.weights, batch.index.float())
    seen = torch.cat([b.index for b in whole]) if whole else torch.arange(0)
    assert len(seen.unique()) == len(seen) == (n // size * size if drop else n)
    if not shuffle:
        assert torch.equal(seen, torch.arange(len(seen)))
    rest = list(batches.epoch(epoch, start))
    assert len(rest) == max(len(whole) - start, 0)
    for a, b in zip(rest, whole[start:], strict=True):
        assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


def test_order_is_keyed_by_seed_and_epoch_and_leaves_the_global_generator_alone() -> None:
    x = torch.arange(100)
    before = torch.get_rng_state()

    def orders(seed: int) -> list[list[int]]:
        batches = TensorBatches(x, batch_size=9, shuffle=True, seed=seed)
        return [torch.cat([b.inputs for b in batches.epoch(e)]).tolist() for e in range(3)]

    first = orders(0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert orders(0) == first and len({tuple(o) for o in first + orders(1)}) == 6


def test_without_shuffling_batches_are_views() -> None:
    x = torch.zeros(10, 3)
    (first, *_) = TensorBatches(x, batch_size=4)
    assert first.inputs.data_ptr() == x.data_ptr()


def test_several_inputs_and_targets() -> None:
    a, b, y = torch.arange(5), torch.arange(5) * 10, torch.arange(5) * 100
    for shuffle in (False, True):
        for batch in TensorBatches((a, b), (y, y), batch_size=2, shuffle=shuffle):
            (p, q), (r, s) = batch.inputs, batch.targets
            assert torch.equal(p * 10, q) and torch.equal(r, p * 100) and torch.equal(r, s)


def test_transform_sees_batch_and_epoch() -> None:
    def add(batch: Batch, epoch: int) -> Batch:
        return batch._replace(inputs=batch.inputs + epoch)

    batches = TensorBatches(torch.zeros(4), batch_size=2, transform=add)
    assert [b.inputs.tolist() for b in batches.epoch(3)] == [[3, 3], [3, 3]]
    assert [b.inputs.tolist() for b in batches] == [[0, 0], [0, 0]]


def test_moving_keeps_every_part() -> None:
    batch = Batch((torch.ones(2), torch.zeros(2)), torch.ones(2), torch.ones(2), torch.arange(2))
    there = moved(batch, torch.device("meta"))
    assert [part.device.type for part in (*there.inputs, *there[1:])] == ["meta"] * 5
    assert moved(Batch(torch.ones(2)), torch.device("meta"))[1:] == (None, None, None)
    (on_device,) = TensorBatches(torch.ones(2), batch_size=2, device=torch.device("meta"))
    assert on_device.inputs.device.type == "meta"


@pytest.mark.parametrize("size", [0, -1, 2.0, True])
def test_a_wrong_batch_size_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match="batch size"):
        TensorBatches(torch.zeros(3), batch_size=size)


def test_wrong_data_and_start_are_refused() -> None:
    with pytest.raises(DataError, match="inputs and targets"):
        TensorBatches(torch.zeros(3), torch.zeros(2))
    with pytest.raises(DataError, match="no data"):
        TensorBatches(torch.zeros(0, 3))
    with pytest.raises(ConfigError, match="first batch"):
        next(TensorBatches(torch.zeros(3)).epoch(0, -1))
