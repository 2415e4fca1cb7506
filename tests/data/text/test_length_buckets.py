from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from corecur.data.batches import Batch
from corecur.data.text.length_buckets import BucketBatches
from corecur.data.text.token_arrays import TokenArrays
from corecur.engine.losses import MeanSquaredError
from corecur.engine.trainer import Trainer
from corecur.errors import ConfigError, DataError

LENGTHS = torch.randint(0, 60, (500,), generator=torch.Generator().manual_seed(0)).tolist()
ROWS = [[10 * n + 2] * length for n, length in enumerate(LENGTHS)]
TOKENS = TokenArrays.of(ROWS)


@settings(max_examples=30)
@given(st.integers(1, 64), st.integers(1, 9), st.integers(0, 5), st.booleans(), st.booleans())
def test_an_epoch_holds_every_sample_once(size: int, pool: int, epoch: int, shuffle: bool, by_length: bool) -> None:
    batches = BucketBatches(TOKENS, batch_size=size, pool=pool, shuffle=shuffle, by_length=by_length, seed=1)
    found = list(batches.epoch(epoch))
    assert len(found) == len(batches)
    assert sorted(torch.cat([batch.index for batch in found]).tolist()) == list(range(500))
    assert max(len(batch.index) for batch in found) <= size
    for batch in found[:3]:
        wanted = pad_sequence(
            [torch.tensor(ROWS[n], dtype=torch.int64) for n in batch.index.tolist()], batch_first=True
        )
        assert torch.equal(batch.inputs[:, : wanted.shape[1]], wanted) and not batch.inputs[:, wanted.shape[1] :].any()


@settings(max_examples=20)
@given(st.integers(0, 20), st.integers(0, 3))
def test_a_resumed_epoch_is_the_exact_rest(start: int, epoch: int) -> None:
    batches = BucketBatches(TOKENS, torch.arange(500), batch_size=32, shuffle=True, seed=3)
    whole, rest = list(batches.epoch(epoch)), list(batches.epoch(epoch, start))
    assert len(rest) == max(0, len(whole) - start)
    for a, b in zip(whole[start:], rest, strict=True):
        assert torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets)


def test_orders_follow_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        torch.rand(3)  # the global generator must not matter
        return torch.cat(BucketBatches(TOKENS, batch_size=32, shuffle=True, seed=seed).plan(epoch)).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(*pair)) for pair in ((0, 0), (0, 1), (1, 0))}) == 3


def test_buckets_waste_little() -> None:
    def waste(**options: bool) -> float:
        batches = BucketBatches(TOKENS, batch_size=16, **options)
        return 1 - sum(LENGTHS) / sum(batch.inputs.numel() for batch in batches)

    assert waste(shuffle=True) < 0.1 < 0.3 < waste()
    assert waste(by_length=True) < 0.1


def test_targets_at_every_step_weights_several_inputs_and_transform() -> None:
    tags = TokenArrays.of([[7] * length for length in LENGTHS])

    def marked(batch: Batch, epoch: int) -> Batch:
        return batch._replace(weights=batch.weights + epoch)

    batches = BucketBatches(
        (TOKENS, tags), tags, torch.zeros(500), batch_size=8, target_padding=-1, shuffle=True, transform=marked
    )
    batch = next(batches.epoch(4))
    words, others = batch.inputs
    assert torch.equal(batch.targets == -1, others == 0) and words.shape == others.shape
    assert batch.weights.tolist() == [4.0] * 8
    assert (batches.samples, len(batches)) == (500, 63)


def test_drop_last_leaves_the_short_batch_out() -> None:
    batches = BucketBatches(TOKENS, batch_size=64, drop_last=True, shuffle=True)
    assert [len(batch.index) for batch in batches] == [64] * 7


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="batch size"):
        BucketBatches(TOKENS, batch_size=0)
    with pytest.raises(DataError, match="different lengths"):
        BucketBatches(TOKENS, torch.zeros(3))
    with pytest.raises(DataError, match="one number for every token"):
        BucketBatches(TOKENS, TokenArrays.of([[1]] * 500))
    with pytest.raises(DataError, match="no data"):
        BucketBatches(TokenArrays.of([]))
    with pytest.raises(ConfigError, match="before its first"):
        next(BucketBatches(TOKENS).epoch(0, -1))


def test_the_trainer_takes_them() -> None:
    class Length(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.zeros(1))

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return (tokens != 0).float().sum(1, keepdim=True) * self.scale

    network = Length()
    trainer = Trainer(network, loss=MeanSquaredError(), optimizer=torch.optim.SGD(network.parameters(), lr=2e-4))
    targets = torch.tensor(LENGTHS, dtype=torch.float32)[:, None]
    trainer.fit(BucketBatches(TOKENS, targets, batch_size=32, shuffle=True), epochs=3)
    assert abs(float(network.scale.detach()) - 1) < 0.05
