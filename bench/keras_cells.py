"""The jobs of ``recurrent`` in Keras' layers, on torch and on JAX, where they are installed (extra ``bench``).

On JAX the step is compiled as ``fit`` would; what the compiler takes is part of the proof, not of the times. Keras'
engine is chosen when the process starts, by ``KERAS_BACKEND``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.sequences import Array, Job, inputs, lengths, proof, real_steps, weights
from bench.step_blocks import run_block
from bench.step_memory import peak_megabytes

ENGINES = {"torch": "KerasOnTorch", "jax": "KerasOnJax"}
#: torch's gates in Keras' order.
_ORDER = {"simple_rnn": (0,), "lstm": (0, 1, 2, 3), "gru": (1, 0, 2), "classic_gru": (1, 0, 2)}


def engines() -> tuple[list[str], list[str]]:
    """Keras' engines that can run here, and what is missing for the others."""
    if importlib.util.find_spec("keras") is None:
        return [], ["keras"]
    missing = [engine for engine in ENGINES if importlib.util.find_spec(engine) is None]
    return [engine for engine in ENGINES if engine not in missing], missing


def keras_arrays(job: Job) -> list[Array]:
    """The first weights as Keras' ``set_weights`` takes them."""
    order = _ORDER[job.cell]

    def gates(array: Array) -> Array:
        blocks = np.split(array, len(order))
        return np.concatenate([blocks[place] for place in order])

    arrays = []
    for directions in weights(job):
        for found in directions:
            w = {name: gates(array) for name, array in found.items()}
            two = job.cell == "gru"  # of Keras' layers only this one has both biases
            bias = np.stack([w["bias_ih"], w["bias_hh"]]) if two else w["bias_ih"] + w["bias_hh"]
            arrays += [w["weight_ih"].T, w["weight_hh"].T, bias]
    return arrays


def keras_model(job: Job) -> Any:
    """Inputs, and the mask where rows are padded -> the outputs at every step."""
    import keras

    kind, more = {
        "simple_rnn": (keras.layers.SimpleRNN, {}),
        "lstm": (keras.layers.LSTM, {}),
        "gru": (keras.layers.GRU, {"reset_after": True}),
        "classic_gru": (keras.layers.GRU, {"reset_after": False}),
    }[job.cell]
    x = keras.Input((job.steps, job.features))
    given = [x]
    mask = None
    if job.padding is not None:
        mask = keras.Input((job.steps,), dtype="bool")
        given.append(mask)
    y = x
    for _ in range(job.layers):
        layer = kind(job.units, return_sequences=True, recurrent_dropout=job.recurrent_dropout, **more)
        y = (keras.layers.Bidirectional(layer) if job.both_ways else layer)(y, mask=mask)
    model = keras.Model(given, y)
    # A layer with dropout also holds its generator's state, which is no weight of ours.
    for weight, array in zip(model.trainable_variables, keras_arrays(job), strict=True):
        weight.assign(array)
    return model


class KerasWork:
    """What both engines do alike."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.model = keras_model(job)
        self.real = real_steps(job)  # (B, T)
        self.given = [inputs(job)] + ([] if job.padding is None else [self.real])
        self.count = int(lengths(job).sum()) * job.outputs * job.directions

    def step(self, *, dropout: bool = True) -> tuple[Any, list[Any]]:
        """One step: outputs, and in training the gradients of all weights."""
        raise NotImplementedError

    def prove(self) -> Sequence[float]:
        y, gradients = self.step(dropout=False)
        matrices = [g for g, w in zip(gradients, self.model.trainable_variables, strict=False) if "kernel" in w.name]
        return proof(self.job, np.asarray(y), [float(np.linalg.norm(np.asarray(g))) for g in matrices])

    def run(self) -> int:
        return run_block(self.step)

    def facts(self) -> Mapping[str, Any]:
        """What ran, and the memory of a step."""
        raise NotImplementedError


class KerasOnTorch(KerasWork):
    """Keras on torch's eager operations."""

    def __init__(self, job: Job) -> None:
        import torch

        super().__init__(job)
        self.torch = torch
        self.tensors = [torch.from_numpy(array) for array in self.given]

    def step(self, *, dropout: bool = True) -> tuple[Any, list[Any]]:
        training = self.job.training
        with self.torch.set_grad_enabled(training):
            y = self.model(self.tensors, training=training and dropout)  # (B, T, D)
            if not training:
                return y.numpy(), []
            squares = y.square() if len(self.tensors) == 1 else y.square() * self.tensors[1][..., None]
            variables = [variable.value for variable in self.model.trainable_variables]
            gradients = self.torch.autograd.grad(squares.sum() / self.count, variables)
        return y.detach().numpy(), list(gradients)

    def facts(self) -> Mapping[str, Any]:
        from bench.torch_operations import Operations

        with Operations() as seen:
            self.step()
        return {"kernel": seen.recurrence, "peak MiB": peak_megabytes(self.step, times=2)}


class KerasOnJax(KerasWork):
    """Keras on JAX, the whole step compiled."""

    def __init__(self, job: Job) -> None:
        import jax

        super().__init__(job)
        self.jax = jax
        self.arrays = [jax.numpy.asarray(array) for array in self.given]
        self.trained = [variable.value for variable in self.model.trainable_variables]
        self.others = [variable.value for variable in self.model.non_trainable_variables]
        self.compiled: dict[bool, Any] = {}  # with dropout and without

    def _traced(self, dropout: bool) -> Any:
        training = self.job.training

        def outputs(trained: Any, others: Any, given: Any) -> Any:
            return self.model.stateless_call(trained, others, given, training=training and dropout)

        def loss(trained: Any, others: Any, given: Any) -> Any:
            y, others = outputs(trained, others, given)
            squares = y**2 if len(given) == 1 else y**2 * given[1][..., None]
            return squares.sum() / self.count, (y, others)

        def with_gradients(trained: Any, others: Any, given: Any) -> Any:
            (_, (y, others)), gradients = self.jax.value_and_grad(loss, has_aux=True)(trained, others, given)
            return y, others, gradients

        return with_gradients if training else outputs

    def step(self, *, dropout: bool = True) -> tuple[Any, list[Any]]:
        dropout = dropout and self.job.recurrent_dropout > 0
        given = (self.trained, self.others, self.arrays)
        if dropout not in self.compiled:
            self.compiled[dropout] = self.jax.jit(self._traced(dropout)).lower(*given).compile()
        found = self.jax.block_until_ready(self.compiled[dropout](*given))
        if dropout:
            self.others = found[1]  # the next pattern
        return found[0], list(found[2]) if self.job.training else []

    def facts(self) -> Mapping[str, Any]:
        # XLA keeps memory that the system's count of growth misses; its compiler knows what the step takes.
        sizes = self.compiled[self.job.recurrent_dropout > 0].memory_analysis()
        peak = sizes.temp_size_in_bytes + sizes.output_size_in_bytes
        return {"kernel": "XLA", "peak MiB": peak / 2**20}
