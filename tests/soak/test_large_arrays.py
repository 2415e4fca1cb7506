"""Arrays of more than 2 GiB: the last samples come out as they do alone, and so do their gradients."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F

from corecur.data.memory import available_memory
from corecur.engine.optimizers import SGD, Adam, Optimizer
from corecur.kernels.choose import Choice, last_path
from corecur.kernels.native_softmax import class_losses, probabilities
from corecur.layers.conv_block import Geometry, run_block
from corecur.layers.gru import GRU
from corecur.layers.lstm import LSTM
from corecur.layers.simple_rnn import SimpleRNN
from tests.kernels.needs_kernels import needs_kernels

pytestmark = [
    needs_kernels,
    pytest.mark.skipif(available_memory() < 16 * 2**30, reason="needs 16 GiB of memory"),
]

LARGE = 2**31 // 4  # floats in 2 GiB
TAIL = 3


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    torch.manual_seed(0)
    yield
    gc.collect()


@pytest.mark.parametrize(("layer", "steps", "features"), [(SimpleRNN, 512, 520), (LSTM, 600, 8), (GRU, 600, 8)])
def test_a_recurrent_layer(layer: type[SimpleRNN | LSTM | GRU], steps: int, features: int) -> None:
    """The input, or the gates, are more than 2 GiB."""
    units = 8 if layer is SimpleRNN else 128
    kept = {SimpleRNN: features, LSTM: 4 * units, GRU: 3 * units}[layer]
    rows = LARGE // (steps * kept) + TAIL
    net = layer(units, return_sequences=True)
    x = torch.randn(1, steps, features).expand(rows, steps, features).contiguous()
    x[-TAIL:] = torch.randn(TAIL, steps, features)
    x.requires_grad_()
    y = net(x)
    assert last_path() == Choice("native", "corecur's own kernel over the whole sequence")
    pull = torch.randn(TAIL, steps, units)
    (y[-TAIL:] * pull).sum().backward()
    found = [y[-TAIL:].detach().clone(), x.grad[-TAIL:].clone(), *(p.grad.clone() for p in net.parameters())]
    assert float(x.grad[:-TAIL].abs().max()) == 0.0
    tail = x.detach()[-TAIL:].clone().requires_grad_()
    del x, y
    net.zero_grad()
    y = net(tail)
    (y * pull).sum().backward()
    for many, few in zip(found, [y, tail.grad, *(p.grad for p in net.parameters())], strict=True):
        torch.testing.assert_close(many, few, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("size", "channels", "filters", "kernel"), [(28, 32, 32, "winograd"), (64, 3, 8, "direct")])
def test_a_convolution(size: int, channels: int, filters: int, kernel: str) -> None:
    samples = LARGE // (size * size * channels) + TAIL
    geometry = Geometry((3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
    weight, bias = torch.randn(filters, channels, 3, 3) / 10, torch.randn(filters)
    x = torch.randn(samples, size, size, channels)

    def run(x: torch.Tensor) -> list[torch.Tensor]:
        x, w = x.requires_grad_(), weight.clone().requires_grad_()
        y = run_block(x, w, bias, geometry, activation="relu", pool="max")
        assert y is not None
        y[-TAIL:].square().sum().backward()
        return [y[-TAIL:].detach().clone(), x.grad[-TAIL:].clone(), w.grad]

    tail = x[-TAIL:].clone()
    many = run(x)
    assert (last_path() or Choice("", "")).kernel == kernel
    del x
    for found, expected in zip(many, run(tail), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_softmax_and_cross_entropy() -> None:
    classes = 1000
    scores = torch.randn(LARGE // classes + TAIL, classes)
    labels = torch.randint(classes, (len(scores),))
    found = probabilities(scores)
    torch.testing.assert_close(found[-TAIL:], torch.softmax(scores[-TAIL:], -1))
    del found
    scores.requires_grad_()
    losses = class_losses(scores, labels, 0.0, -1)
    losses[-TAIL:].sum().backward()
    tail = scores.detach()[-TAIL:].clone().requires_grad_()
    expected = F.cross_entropy(tail, labels[-TAIL:], reduction="none")
    expected.sum().backward()
    torch.testing.assert_close(losses[-TAIL:], expected)
    torch.testing.assert_close(scores.grad[-TAIL:], tail.grad)


@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.9), Adam(0.1)])
def test_an_optimizer(optimizer: Optimizer) -> None:
    """One weight of more than 2 GiB."""
    weight = torch.nn.Parameter(torch.zeros(LARGE + TAIL))
    weight.grad = torch.zeros(LARGE + TAIL)
    few = torch.nn.Parameter(torch.zeros(TAIL))
    few.grad = torch.tensor([1.0, -2.0, 3.0])
    weight.grad[-TAIL:] = few.grad
    for parameter in (weight, few):
        step = optimizer.make([parameter])
        for _ in range(2):
            step.step()
        del step
    torch.testing.assert_close(weight.detach()[-TAIL:], few.detach())
    assert float(weight.detach()[:-TAIL].abs().max()) == 0.0
