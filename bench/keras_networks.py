"""The jobs of ``networks`` in Keras on each of its engines, where installed (extra ``bench``).

Each engine runs the loop that Keras' guides write for it, which spares what ``fit`` does around a step: on JAX and on
TensorFlow the whole step is compiled, data and state stay with the engine. ``bench.peers`` measures ``fit`` itself.
Keras' engine is chosen when the process starts, by ``KERAS_BACKEND``.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.network_jobs import EPSILON, RATE, Array, Network, NetworkJob, samples, weights
from bench.network_work import NetworkWork
from bench.step_memory import peak_megabytes

#: Of the losses: Keras keeps one bias where ``torch.nn`` has two that both learn, and rounds in another order.
TOLERANCE = 1e-2
#: What a contender is called: its engine, the class, its settings.
CONTENDERS: dict[str, tuple[str, str, Mapping[str, Any]]] = {
    "Keras on JAX": ("jax", "KerasOnJax", {}),
    "Keras on TensorFlow": ("tensorflow", "KerasOnTensorFlow", {"xla": False}),
    "Keras on TensorFlow, XLA": ("tensorflow", "KerasOnTensorFlow", {"xla": True}),
    "Keras on torch": ("torch", "KerasOnTorch", {}),
}


def installed() -> tuple[list[str], list[str]]:
    """The contenders that can run here, and the libraries that are missing for the others."""
    modules = {"keras", *(engine for engine, _, _ in CONTENDERS.values())}
    missing = sorted(module for module in modules if importlib.util.find_spec(module) is None)
    if "keras" in missing:
        return [], missing
    return [name for name, (engine, _, _) in CONTENDERS.items() if engine not in missing], missing


def keras_model(network: Network) -> Any:
    """The network with its first weights."""
    import keras

    layers = [getattr(keras.layers, layer.kind)(**layer.settings) for layer in network.layers]
    model = keras.Sequential([keras.Input(network.shape), *layers])
    model.set_weights(weights(network))
    return model


class KerasNetwork(NetworkWork):
    """What all engines do alike."""

    def __init__(self, job: NetworkJob) -> None:
        super().__init__(job)
        import keras

        self.model = keras_model(job.network)
        self.loss = keras.losses.SparseCategoricalCrossentropy()
        self.optimizer = keras.optimizers.Adam(RATE, epsilon=EPSILON)
        self.optimizer.build(self.model.trainable_variables)
        x, y = samples(job)
        size = job.size if job.mode == "training" else job.predict_batch
        count = job.batches if job.mode == "training" else job.predicted // size
        self.x = [self.tensor(x[n * size : (n + 1) * size]) for n in range(count)]
        self.y = [self.tensor(y[n * size : (n + 1) * size]) for n in range(count)]
        self.first = self.tensor(x[:1])

    def tensor(self, array: Array) -> Any:
        """An array as the engine keeps it."""
        raise NotImplementedError

    def step(self, x: Any, y: Any) -> Any:
        """One training step; the loss, perhaps still to be computed."""
        raise NotImplementedError

    def gradients(self) -> list[Any]:
        """Those of the first batch, before its step."""
        raise NotImplementedError

    def forward(self, x: Any) -> Array:
        """The answers to a batch."""
        raise NotImplementedError

    def train_first(self) -> tuple[float, list[Array]]:
        return float(self.step(self.x[0], self.y[0])), self.found

    def prove(self) -> Sequence[float]:
        if self.job.mode == "training":
            self.found = [np.asarray(gradient) for gradient in self.gradients()]
        return super().prove()

    def train(self) -> Sequence[Any]:
        losses = [self.step(x, y) for x, y in zip(self.x, self.y, strict=True)]
        float(losses[-1])  # engines that run ahead are waited for
        return losses

    def answer(self) -> Array:
        if self.job.mode == "single":
            return self.forward(self.first)
        return np.concatenate([self.forward(x) for x in self.x])

    def outputs(self) -> Array:
        return self.forward(self.x[0])

    def facts(self) -> Mapping[str, Any]:
        return self.told


class KerasOnTorch(KerasNetwork):
    """Keras on torch's eager operations."""

    def tensor(self, array: Array) -> Any:
        import torch

        return torch.from_numpy(array)

    def gradients(self) -> list[Any]:
        import torch

        variables = [variable.value for variable in self.model.trainable_variables]
        loss = self.loss(self.y[0], self.model(self.x[0], training=True))
        return list(torch.autograd.grad(loss, variables))

    def step(self, x: Any, y: Any) -> Any:
        import torch

        variables = self.model.trainable_variables
        loss = self.loss(y, self.model(x, training=True))
        self.model.zero_grad()
        loss.backward()
        with torch.no_grad():
            self.optimizer.apply([variable.value.grad for variable in variables], variables)
        return loss.detach()

    def forward(self, x: Any) -> Array:
        import torch

        with torch.no_grad():
            return self.model(x, training=False).numpy()  # type: ignore[no-any-return]

    def facts(self) -> Mapping[str, Any]:
        step = (lambda: self.step(self.x[0], self.y[0])) if self.job.mode == "training" else self.answer
        return {**self.told, "peak MiB": peak_megabytes(step)}


class KerasOnTensorFlow(KerasNetwork):
    """Keras on TensorFlow: the step is a graph, compiled by XLA where asked for."""

    def __init__(self, job: NetworkJob, *, xla: bool) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        super().__init__(job)
        import tensorflow as tf

        model, loss_of, optimizer = self.model, self.loss, self.optimizer

        def with_gradients(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = loss_of(y, model(x, training=True))
            return loss, tape.gradient(loss, model.trainable_variables)

        def step(x: Any, y: Any) -> Any:
            loss, gradients = with_gradients(x, y)
            optimizer.apply(gradients, model.trainable_variables)
            return loss

        def forward(x: Any) -> Any:
            return model(x, training=False)

        self.with_gradients = with_gradients
        self.compiled_step = tf.function(step, jit_compile=xla)
        self.compiled_forward = tf.function(forward, jit_compile=xla)

    def tensor(self, array: Array) -> Any:
        import tensorflow as tf

        return tf.constant(array)

    def gradients(self) -> list[Any]:
        return list(self.with_gradients(self.x[0], self.y[0])[1])

    def step(self, x: Any, y: Any) -> Any:
        return self.compiled_step(x, y)

    def forward(self, x: Any) -> Array:
        return self.compiled_forward(x).numpy()  # type: ignore[no-any-return]


class KerasOnJax(KerasNetwork):
    """Keras on JAX: the whole step compiled, its state given up to it."""

    def __init__(self, job: NetworkJob) -> None:
        super().__init__(job)
        import jax

        self.jax = jax
        model, loss_of, optimizer = self.model, self.loss, self.optimizer

        def loss(trained: Any, others: Any, x: Any, y: Any) -> Any:
            answers, others = model.stateless_call(trained, others, x, training=True)
            return loss_of(y, answers), others

        self.value_and_grad = jax.value_and_grad(loss, has_aux=True)

        def step(state: Any, x: Any, y: Any) -> Any:
            trained, others, moments = state
            (value, others), gradients = self.value_and_grad(trained, others, x, y)
            trained, moments = optimizer.stateless_apply(moments, gradients, trained)
            return value, (trained, others, moments)

        def forward(trained: Any, others: Any, x: Any) -> Any:
            return model.stateless_call(trained, others, x, training=False)[0]

        self.compiled_step = jax.jit(step, donate_argnums=0)
        self.compiled_forward = jax.jit(forward)
        held = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
        # A step may use its state's memory for the next one, so that Keras' own arrays are not handed over.
        self.state = tuple([jax.numpy.array(variable.value) for variable in variables] for variables in held)

    def tensor(self, array: Array) -> Any:
        import jax

        return jax.numpy.asarray(array)

    def gradients(self) -> list[Any]:
        trained, others, _ = self.state
        given = (trained, others, self.x[0], self.y[0])
        # needed once: compiled without care, which takes a part of the time
        quickly = {"xla_backend_optimization_level": 0}
        return list(self.jax.jit(self.value_and_grad, compiler_options=quickly)(*given)[1])

    def step(self, x: Any, y: Any) -> Any:
        loss, self.state = self.compiled_step(self.state, x, y)
        return loss

    def forward(self, x: Any) -> Array:
        return np.asarray(self.compiled_forward(*self.state[:2], x))
