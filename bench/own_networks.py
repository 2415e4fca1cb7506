"""The jobs of ``networks`` in this package: ``Model.fit``, ``Model.predict``, and the model called for one sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from bench.network_jobs import EPSILON, RATE, Array, Network, NetworkJob, samples, weights
from bench.network_work import NetworkWork
from bench.step_memory import peak_megabytes
from corecur.engine.callback import Callback, Logs
from corecur.engine.optimizers import Adam
from corecur.kernels import last_path
from corecur.kernels.room import release_room
from corecur.layers import LAYERS
from corecur.models import Sequential


def own_model(network: Network) -> Sequential:
    """The network with its first weights."""
    first, *others = network.layers
    model = Sequential(
        [
            LAYERS[first.kind](**first.settings, input_shape=network.shape),
            *(LAYERS[layer.kind](**layer.settings) for layer in others),
        ]
    )
    model.set_weights(weights(network))
    return model


class OwnNetwork(NetworkWork):
    """This package's model on tensors in memory."""

    def __init__(self, job: NetworkJob) -> None:
        super().__init__(job)
        self.x, self.y = map(torch.from_numpy, samples(job))
        self.model = own_model(job.network)
        self.model.compile(Adam(RATE, epsilon=EPSILON), "sparse_categorical_crossentropy")
        self.model.train(job.mode == "training")

    def _fit(self, batches: int) -> Sequence[float]:
        count, losses = batches * self.job.size, Losses()
        self.model.fit(
            self.x[:count],
            self.y[:count],
            batch_size=self.job.size,
            shuffle=False,
            verbose=0,
            callbacks=[losses] if self.proving else [],
        )
        return losses.found

    proving = False

    def prove(self) -> Sequence[float]:
        self.proving = True
        found = super().prove()
        self.proving = False
        return found

    def train_first(self) -> tuple[float, list[Array]]:
        (loss,) = self._fit(1)
        return float(loss), self._gradients()

    def _gradients(self) -> list[Array]:
        """Those the step left, in Keras' layout: another model of this form takes them as weights."""
        other = own_model(self.job.network)
        other.load_state_dict({name: parameter.grad for name, parameter in self.model.named_parameters()})
        arrays = iter(other.get_weights())
        found = []
        for layer, shape in self.job.network.shapes:
            for size in layer.arrays(shape):
                array = next(arrays)
                # Keras' one bias is the sum of our two, each of which has its gradient
                found.append(array / 2 if layer.kind in ("LSTM", "SimpleRNN") and len(size) == 1 else array)
        return found

    def train(self) -> Sequence[float]:
        return self._fit(self.job.batches)

    def answer(self) -> Array:
        if self.job.mode == "single":
            with torch.inference_mode():
                return self.model(self.x[:1]).numpy()  # type: ignore[no-any-return]
        found = self.model.predict(self.x[: self.job.predicted], batch_size=self.job.predict_batch)
        return found.numpy()  # type: ignore[no-any-return]

    def outputs(self) -> Array:
        return self.model.predict(self.x[: self.job.size]).numpy()  # type: ignore[no-any-return]

    def facts(self) -> Mapping[str, Any]:
        path = last_path()
        kernel = {} if path is None else {"kernel": path.kernel}
        step = (lambda: self._fit(1)) if self.job.mode == "training" else self.answer
        return {**self.told, **kernel, "peak MiB": peak_megabytes(step, forget=release_room)}


class Losses(Callback):
    """The loss of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.found.append(float((logs or {})["loss"]))
