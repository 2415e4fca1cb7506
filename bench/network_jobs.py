"""The jobs of ``networks``: five networks of the articles, their data and first weights, the same for every contender.

A network is a list of Keras' class names and arguments, which are this package's too. Arrays of weights are in the
order and layout of Keras' ``set_weights``: kernels (height, width, C, F) and (C, U), recurrent ones (H, G), the gates
as Keras has them.

N samples, B batch, T time, C channels or features, F filters, U or H units, G gates · H, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]

#: So small an epsilon decides nothing, and libraries that place it differently take the same steps.
RATE, EPSILON = 1e-3, 1e-9
PREDICT_BATCH, PREDICT_BATCHES = 256, 2
GATES = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4}


@dataclass(frozen=True)
class Layer:
    """A layer by its class and its arguments."""

    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Filters or units; 0 where there are no weights."""
        return int(self.settings.get("filters", self.settings.get("units", 0)))

    def output(self, shape: Shape) -> Shape:
        """The shape of its output, without the batch."""
        if self.kind == "Conv2D":
            lost = 0 if self.settings.get("padding") == "same" else 2
            return (shape[0] - lost, shape[1] - lost, self.size)
        if self.kind == "MaxPooling2D":
            return (shape[0] // 2, shape[1] // 2, shape[2])
        if self.kind == "Flatten":
            return (math.prod(shape),)
        if self.kind in GATES and not self.settings.get("return_sequences"):
            return (self.size,)
        return (*shape[:-1], self.size)

    def arrays(self, shape: Shape) -> list[Shape]:
        """The shapes of its weights."""
        if self.kind == "Conv2D":
            return [(3, 3, shape[-1], self.size), (self.size,)]
        if self.kind == "Dense":
            return [(shape[-1], self.size), (self.size,)]
        if self.kind in GATES:
            gates = GATES[self.kind] * self.size
            return [(shape[-1], gates), (self.size, gates), (2, gates) if self.kind == "GRU" else (gates,)]
        return []

    def multiply_adds(self, shape: Shape) -> tuple[int, int]:
        """Of one sample: those that read the input, and those that read the layer's own state."""
        kernels = [math.prod(array) for array in self.arrays(shape) if len(array) > 1][:2]
        if self.kind in GATES:
            return shape[0] * kernels[0], shape[0] * kernels[1]
        positions = math.prod(self.output(shape)[:-1])
        return (positions * kernels[0] if kernels else 0), 0


def _conv(filters: int, **more: Any) -> Layer:
    return Layer("Conv2D", {"filters": filters, "kernel_size": 3, "activation": "relu", **more})


def _dense(units: int, activation: str) -> Layer:
    return Layer("Dense", {"units": units, "activation": activation})


def _recurrent(kind: str, *, every: bool) -> Layer:
    return Layer(kind, {"units": 128, "return_sequences": every})


POOL, FLATTEN = Layer("MaxPooling2D"), Layer("Flatten")


@dataclass(frozen=True)
class Network:
    """Layers over inputs of one shape; a step trains on ``batch`` samples, the ``pool`` batches take turns."""

    title: str
    shape: Shape
    layers: tuple[Layer, ...]
    batch: int
    pool: int

    @property
    def shapes(self) -> Iterator[tuple[Layer, Shape]]:
        """Every layer with the shape of its input."""
        shape = self.shape
        for layer in self.layers:
            yield layer, shape
            shape = layer.output(shape)

    @property
    def classes(self) -> int:
        """K."""
        return self.layers[-1].size

    @property
    def every_step(self) -> bool:
        """Whether there is an answer at each step of a sequence."""
        return len(self.shape) == 2 and bool(self.layers[-2].settings["return_sequences"])

    @property
    def kind(self) -> str:
        """The kind of the recurrent layers, or of the convolutions."""
        return self.layers[0].kind

    def flops(self, *, training: bool) -> float:
        """Floating-point operations in the products of one sample.

        In training three times those of the outputs, for the gradients of weights and inputs; the data need none.
        """
        total = 0
        for place, (layer, shape) in enumerate(self.shapes):
            of_input, of_state = layer.multiply_adds(shape)
            total += (3 if training else 1) * (of_input + of_state) - (of_input if training and place == 0 else 0)
        return 2.0 * total


#: The deep one is the article's up to its six convolutions, with the padding that 32 × 32 pixels need for them.
NETWORKS: dict[str, Network] = {
    "cnn": Network(
        "CNN 28×28×1",
        (28, 28, 1),
        (_conv(32), POOL, _conv(64), POOL, FLATTEN, _dense(128, "relu"), _dense(10, "softmax")),
        batch=32,
        pool=16,
    ),
    "six_conv": Network(
        "CNN 32×32×3, six convolutions",
        (32, 32, 3),
        (
            *(layer for filters in (32, 64, 128, 256) for layer in (_conv(filters, padding="same"), POOL)),
            *(_conv(256, padding="same"), _conv(512, padding="same"), POOL, FLATTEN, _dense(10, "softmax")),
        ),
        batch=32,
        pool=4,
    ),
    **{
        name: Network(
            f"{kind} 128 × 2",
            (40, 64),
            (_recurrent(kind, every=True), _recurrent(kind, every=False), _dense(64, "softmax")),
            batch=64,
            pool=4,
        )
        for name, kind in (("lstm", "LSTM"), ("gru", "GRU"))
    },
    "simple_rnn": Network(
        "simple RNN 128, output at each step",
        (40, 64),
        (_recurrent("SimpleRNN", every=True), _dense(10, "softmax")),
        batch=64,
        pool=8,
    ),
}


@dataclass(frozen=True)
class NetworkJob:
    """What a contender does with a network: ``training`` steps, ``predict`` in batches of 256, or ``single`` samples.

    ``truth`` is the file of ``network_truth`` that outputs and gradients are compared with.
    """

    name: str
    mode: str = "training"
    truth: str | None = None
    batch: int = 0  # the network's own, and its own number of batches, where 0
    pool: int = 0

    @property
    def network(self) -> Network:
        """The network itself."""
        return NETWORKS[self.name]

    @property
    def size(self) -> int:
        """B of a training step."""
        return self.batch or self.network.batch

    @property
    def batches(self) -> int:
        """How many batches take turns."""
        return self.pool or self.network.pool

    @property
    def predicted(self) -> int:
        """How many samples one call of ``predict`` answers."""
        return PREDICT_BATCH * PREDICT_BATCHES if not self.batch else 2 * self.batch

    @property
    def predict_batch(self) -> int:
        """In batches of how many."""
        return self.predicted // PREDICT_BATCHES

    @property
    def flops(self) -> float:
        """Floating-point operations in the products of one unit: a step, a batch of answers, an answer."""
        samples = {"training": self.size, "predict": self.predict_batch, "single": 1}[self.mode]
        return samples * self.network.flops(training=self.mode == "training")


def samples(job: NetworkJob) -> tuple[Array, Array]:
    """Noise (N, …) and classes (N,) or (N, T) that a random linear map gives them: something to learn."""
    network, draw = job.network, np.random.default_rng(0)
    count = max(job.size * job.batches, job.predicted)
    x = draw.standard_normal((count, *network.shape), dtype=np.float32)
    seen = x if network.every_step else x.mean(1) if len(network.shape) == 2 else x.reshape(count, -1)
    teacher = draw.standard_normal((seen.shape[-1], network.classes), dtype=np.float32)
    return x, (seen @ teacher).argmax(-1)


def weights(network: Network) -> list[Array]:
    """Kernels by Glorot's uniform rule, biases small but not 0, so that none can stand in another's place unseen."""
    draw, arrays = np.random.default_rng(1), []
    for layer, shape in network.shapes:
        for place, size in enumerate(layer.arrays(shape)):
            matrix = len(size) > 1 and place < 2 - (layer.kind not in GATES)
            taps = math.prod(size[:-2])
            bound = math.sqrt(6 / (taps * (size[-2] + size[-1]))) if matrix else 0.05
            arrays.append(draw.uniform(-bound, bound, size).astype(np.float32))
    return arrays


def answers_proof(outputs: Array) -> list[float]:
    """How long each answer (…, K) is once a random vector is added, which lets answers in another order differ."""
    rows = np.asarray(outputs, np.float64).reshape(-1, outputs.shape[-1])
    return np.linalg.norm(rows + np.random.default_rng(3).normal(0.0, 0.3, rows.shape[1]), axis=1).tolist()  # type: ignore[no-any-return]
