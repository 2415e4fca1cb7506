"""The jobs of ``networks`` in torch as one writes them by hand: eager, in ``channels_last``, and compiled.

B batch, C channels or features, H units, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.network_jobs import EPSILON, GATES, RATE, Array, Layer, Network, NetworkJob, samples, weights
from bench.network_work import NetworkWork
from bench.step_memory import peak_megabytes

#: Where Keras has torch's gates; of two gates that trade places this is also where torch has Keras'.
_ORDER = {"SimpleRNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 1, 2, 3)}
_KINDS: Mapping[str, Any] = {"SimpleRNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}


class Convolutional(nn.Module):
    """Convolutions with relu, poolings after some of them, dense layers: pictures (B, C, H, W) -> logits (B, K)."""

    def __init__(self, network: Network, *, channels_last: bool) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.pooled = [layer.kind == "MaxPooling2D" for layer in network.layers[1:]]
        self.pooled = [self.pooled[n] for n, layer in enumerate(network.layers[:-1]) if layer.kind == "Conv2D"]
        self.convolutions, self.dense = nn.ModuleList(), nn.ModuleList()
        self.last_map: tuple[int, ...] = ()
        for layer, shape in network.shapes:
            if layer.kind == "Conv2D":
                padding = layer.settings.get("padding", 0)
                self.convolutions.append(nn.Conv2d(shape[-1], layer.size, 3, padding=padding))
            elif layer.kind == "Dense":
                self.dense.append(nn.Linear(shape[-1], layer.size))
            elif layer.kind == "Flatten":
                self.last_map = shape

    def forward(self, x: Tensor) -> Tensor:
        for convolution, pooled in zip(self.convolutions, self.pooled, strict=True):
            x = F.relu(convolution(x))
            if pooled:
                x = F.max_pool2d(x, 2)
        if self.channels_last:
            x = x.permute(0, 2, 3, 1)  # a view of this memory; flattened as (C, H, W) it would be a copy
        x = x.flatten(1)
        for dense in self.dense[:-1]:
            x = F.relu(dense(x))
        logits: Tensor = self.dense[-1](x)
        return logits

    def to_keras(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Parameters, or their gradients, in Keras' layout."""
        found = []
        first_dense = 2 * len(self.convolutions)
        for place, tensor in enumerate(tensors):
            if tensor.ndim == 4:
                found.append(tensor.permute(2, 3, 1, 0))  # (F, C, 3, 3) -> (3, 3, C, F)
            elif tensor.ndim == 2 and place == first_dense and not self.channels_last:
                height, width, channels = self.last_map
                rows = tensor.T.reshape(channels, height, width, -1).permute(1, 2, 0, 3)
                found.append(rows.reshape(tensor.T.shape))
            else:
                found.append(tensor.T if tensor.ndim == 2 else tensor)
        return found

    def load(self, arrays: Sequence[Array]) -> None:
        """Take weights in Keras' layout."""
        first_dense = 2 * len(self.convolutions)
        for place, (parameter, array) in enumerate(zip(self.parameters(), arrays, strict=True)):
            value = torch.from_numpy(array)
            if value.ndim == 4:
                value = value.permute(3, 2, 0, 1)
            elif value.ndim == 2 and place == first_dense and not self.channels_last:
                value = value.reshape(*self.last_map, -1).permute(2, 0, 1, 3).reshape(value.shape).T
            elif value.ndim == 2:
                value = value.T
            parameter.data.copy_(value)


class Recurrent(nn.Module):
    """One stack of recurrent layers and a dense layer: sequences (B, T, C) -> logits (B, K), or (B, T, K)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        stack: list[Layer] = [layer for layer in network.layers if layer.kind in GATES]
        self.kind, self.every_step = network.kind, network.every_step
        self.stack = _KINDS[self.kind](network.shape[-1], stack[0].size, len(stack), batch_first=True)
        self.dense = nn.Linear(stack[-1].size, network.classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stack(x)[0]  # (B, T, H)
        logits: Tensor = self.dense(y if self.every_step else y[:, -1])
        return logits

    def _gates(self, tensor: Tensor) -> Tensor:
        blocks = tensor.chunk(GATES[self.kind])
        return torch.cat([blocks[place] for place in _ORDER[self.kind]])

    def to_keras(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Parameters' gradients in Keras' layout; where Keras has one bias, each of torch's two has its gradient."""
        found = []
        for layer in range(self.stack.num_layers):
            w, u, b, c = (self._gates(tensor) for tensor in tensors[4 * layer : 4 * layer + 4])
            found += [w.T, u.T, torch.stack([b, c]) if self.kind == "GRU" else b]
        return [*found, tensors[-2].T, tensors[-1]]

    def load(self, arrays: Sequence[Array]) -> None:
        """Take weights in Keras' layout."""
        parameters, given = list(self.parameters()), [torch.from_numpy(array) for array in arrays]
        for layer in range(self.stack.num_layers):
            kernel, recurrent, bias = given[3 * layer : 3 * layer + 3]
            b, c = bias if self.kind == "GRU" else (bias, torch.zeros_like(bias))
            for parameter, value in zip(parameters[4 * layer :], (kernel.T, recurrent.T, b, c), strict=False):
                parameter.data.copy_(self._gates(value))
        parameters[-2].data.copy_(given[-2].T)
        parameters[-1].data.copy_(given[-1])


def made(job: NetworkJob, *, channels_last: bool = False) -> Convolutional | Recurrent:
    """The network with its first weights."""
    network = job.network
    convolves = network.kind == "Conv2D"
    module = Convolutional(network, channels_last=channels_last) if convolves else Recurrent(network)
    module.load(weights(network))
    return module


def inputs(x: Array, *, channels_last: bool) -> Tensor:
    """Samples as torch has them: pictures (B, H, W, C) -> (B, C, H, W) in the memory that is asked for."""
    tensor = torch.from_numpy(x)
    if tensor.ndim < 4:
        return tensor
    return tensor.permute(0, 3, 1, 2).contiguous(
        memory_format=torch.channels_last if channels_last else torch.contiguous_format
    )


def loss_of(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The mean cross-entropy of answers to x and classes (B,) or (B, T)."""
    return F.cross_entropy(network(x).flatten(0, -2), y.flatten())


def first_step_in_double(job: NetworkJob) -> tuple[Array, list[Array]]:
    """Outputs and gradients of the first batch in float64, with which every contender is compared."""
    module = made(job).double()
    x, y = samples(job)
    first = inputs(x[: job.size], channels_last=False).double()
    loss_of(module, first, torch.from_numpy(y[: job.size])).backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        outputs = module(first).softmax(-1)
    return outputs.numpy(), as_arrays(module)


def as_arrays(module: Convolutional | Recurrent) -> list[Array]:
    """The gradients of a module in Keras' layout."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    return [np.ascontiguousarray(gradient.numpy()) for gradient in module.to_keras(gradients)]


class TorchNetwork(NetworkWork):
    """torch, eager; ``channels_last`` and ``compiled`` are the two other ways. Adam is torch's fused one."""

    def __init__(self, job: NetworkJob, *, channels_last: bool = False, compiled: bool = False) -> None:
        super().__init__(job)
        x, y = samples(job)
        self.network = made(job, channels_last=channels_last)
        if channels_last:
            # torch's type stubs lack this form
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.train(job.mode == "training")
        self.x, self.y = inputs(x, channels_last=channels_last), torch.from_numpy(y)
        self.loss: Any = loss_of
        self.forward: Any = self.network
        if compiled:
            torch._dynamo.reset()  # networks before in this process count towards its limit of compilations
            self.loss, self.forward = torch.compile(loss_of), torch.compile(self.network)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=RATE, eps=EPSILON, fused=True)

    def step(self, number: int) -> Tensor:
        """One training step on the batch of that number; its loss."""
        rows = slice(number * self.job.size, (number + 1) * self.job.size)
        loss: Tensor = self.loss(self.network, self.x[rows], self.y[rows])
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def train_first(self) -> tuple[float, list[Array]]:
        return self.step(0).item(), as_arrays(self.network)

    def train(self) -> Sequence[Any]:
        return [self.step(number) for number in range(self.job.batches)]

    @torch.inference_mode()
    def answer(self) -> Array:
        if self.job.mode == "single":
            return self.forward(self.x[:1]).softmax(-1).numpy()  # type: ignore[no-any-return]
        parts = torch.split(self.x[: self.job.predicted], self.job.predict_batch)
        return torch.cat([self.forward(part).softmax(-1) for part in parts]).numpy()

    @torch.inference_mode()
    def outputs(self) -> Array:
        return self.network(self.x[: self.job.size]).softmax(-1).numpy()  # type: ignore[no-any-return]

    def facts(self) -> Mapping[str, Any]:
        step = (lambda: self.step(0)) if self.job.mode == "training" else self.answer
        return {**self.told, "peak MiB": peak_megabytes(step)}
