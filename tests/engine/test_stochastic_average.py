"""The average of the last weights against its formula, and statistics of normalisations against torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from corecur.data.batches import TensorBatches
from corecur.engine.callbacks import LambdaCallback
from corecur.engine.losses import MeanSquaredError
from corecur.engine.norm_statistics import counting_statistics
from corecur.engine.stochastic_average import StochasticWeightAverage
from corecur.engine.trainer import Trainer
from corecur.errors import ConfigError
from corecur.layers.dense import Dense
from corecur.layers.dropout import Dropout
from corecur.layers.norm import BatchNormalization
from corecur.models import Input, Sequential

X = torch.randn(48, 3, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True)


def trainer() -> Trainer:
    torch.manual_seed(0)
    network = Sequential([Input((3,)), Dense(4), BatchNormalization(momentum=0.9), Dropout(0.2), Dense(1)])
    return Trainer(network, loss=MeanSquaredError(), optimizer=torch.optim.SGD(network.parameters(), lr=0.05))


def fit(one: Trainer, *callbacks: object) -> list[dict[str, object]]:
    torch.manual_seed(1)
    batches = TensorBatches(X, Y, batch_size=16, shuffle=True)
    return one.fit(batches, epochs=4, validation=TensorBatches(X, Y), callbacks=callbacks)  # type: ignore[arg-type]


def test_the_average_is_the_mean_of_the_last_weights() -> None:
    one, seen = trainer(), list[Tensor]()
    weight = one.network.dense.weight  # type: ignore[union-attr]
    note = LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(weight.detach().clone().double()))  # type: ignore[union-attr, operator]
    fit(one, note, StochasticWeightAverage(0.5))
    assert len(seen) == 12
    torch.testing.assert_close(weight.double(), torch.stack(seen[5:]).mean(0), atol=1e-6, rtol=1e-5)  # type: ignore[union-attr, operator]


def test_the_statistics_are_those_of_the_averaged_weights() -> None:
    one = trainer()
    fit(one, StochasticWeightAverage(0.5))
    network = one.network
    hidden = [network.dense(batch.inputs) for batch in TensorBatches(X, Y, batch_size=16, shuffle=True).epoch(0)]  # type: ignore[operator, union-attr]
    norm = network.batch_normalization
    torch.testing.assert_close(norm.running_mean, torch.stack([h.mean(0) for h in hidden]).mean(0))  # type: ignore[union-attr]
    torch.testing.assert_close(norm.running_var, torch.stack([h.var(0) for h in hidden]).mean(0))  # type: ignore[union-attr]


def test_the_training_goes_on_without_it() -> None:
    plain, averaged = trainer(), trainer()
    wanted, found = fit(plain), fit(averaged, StochasticWeightAverage(0.5))
    assert [row["loss"] for row in wanted] == [row["loss"] for row in found]
    assert wanted[0]["val_loss"] == found[0]["val_loss"] and wanted[-1]["val_loss"] != found[-1]["val_loss"]
    assert averaged.evaluate(TensorBatches(X, Y))["loss"] == found[-1]["val_loss"]


def test_a_training_that_ends_before_it_begins_keeps_its_weights() -> None:
    plain, averaged = trainer(), trainer()
    stop = LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(averaged, "stop_training", True))
    fit(averaged, StochasticWeightAverage(0.9), stop)
    torch.manual_seed(1)
    plain.fit(TensorBatches(X, Y, batch_size=16, shuffle=True), epochs=1)
    assert torch.equal(averaged.network.dense.weight, plain.network.dense.weight)  # type: ignore[union-attr, arg-type]


def test_counting_leaves_the_modes_and_the_momentum() -> None:
    network = trainer().network.eval()
    norm = network.batch_normalization
    with counting_statistics(network):
        network(X)
    assert not any(module.training for module in network.modules())
    network.train()
    before = norm.running_mean.clone()  # type: ignore[union-attr, operator]
    network(X)
    batch = network.dense(X).mean(0)  # type: ignore[operator, union-attr]
    torch.testing.assert_close(norm.running_mean, 0.9 * before + 0.1 * batch)  # type: ignore[union-attr]


def test_the_start_is_a_share() -> None:
    for start in (1.0, -0.1):
        with pytest.raises(ConfigError, match="start of a weight average"):
            StochasticWeightAverage(start)
