"""Parts that run as one program give what torch gives part by part in float64, there and back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from corecur.errors import ConfigError
from corecur.kernels.convolution import Block
from corecur.kernels.native import KINDS
from corecur.kernels.stretch import learn, run_by_torch, run_stretch, run_to_softmax
from corecur.kernels.stretch_parts import ConvolutionPart, DensePart, Part, RecurrentPart, TapsPart, TurnPart
from tests.kernels.needs_kernels import needs_kernels
from tests.kernels.threads import threads_of_torch

pytestmark = needs_kernels

CONVOLUTIONS: tuple[Part, ...] = (
    ConvolutionPart(Block((3, 3), activation="relu", pool="max"), False, 16),
    ConvolutionPart(Block((3, 3), padding=(1, 1, 1, 1), activation="tanh"), True, 12),
    ConvolutionPart(Block((3, 3), activation="relu", pool="average"), True, 9),
    DensePart(20, "tanh", flat=True),
    DensePart(7, "relu"),
    DensePart(3, "linear"),
)


def weights_of_convolutions(*, bias: bool = True) -> list[Tensor | None]:
    shapes: list[tuple[int, ...]] = [(16, 2, 3, 3), (12, 16, 3, 3), (9, 12, 3, 3), (20, 9 * 2 * 2), (7, 20), (3, 7)]
    found: list[Tensor | None] = []
    for shape in shapes:
        weight = torch.randn(shape) / torch.tensor(shape[1:]).prod().sqrt()
        if len(shape) == 4:
            weight = weight.contiguous(memory_format=torch.channels_last)
        found += [weight.requires_grad_(), torch.randn(shape[0]).requires_grad_() if bias else None]
    return found


Run = Callable[[Tensor, Sequence[Tensor | None]], Tensor]


def gradients(run: Run, x: Tensor, weights: Sequence[Tensor | None], dtype: torch.dtype) -> list[Tensor]:
    """The output and all gradients, in float64."""
    x = x.detach().to(dtype).requires_grad_(x.requires_grad)
    own = [None if w is None else w.detach().to(dtype).requires_grad_(w.requires_grad) for w in weights]
    y = run(x, own)
    y.mul(torch.linspace(0.5, 1.5, y.numel(), dtype=dtype).view(y.shape)).sum().backward()
    return [y.detach().double(), *(t.grad.double() for t in (x, *own) if t is not None and t.grad is not None)]


def by_torch(parts: Sequence[Part]) -> Run:
    def run(x: Tensor, weights: Sequence[Tensor | None]) -> Tensor:
        found = run_by_torch(parts, x, weights)
        assert found is not None
        return found

    return run


def assert_as_exact(ours: list[Tensor], stock: list[Tensor], truth: list[Tensor]) -> None:
    assert len(ours) == len(stock) == len(truth)
    for mine, theirs, true in zip(ours, stock, truth, strict=True):
        largest = float(true.abs().max())
        bound = 2 * float((theirs - true).abs().max()) + 4e-6 * largest
        assert float((mine - true).abs().max()) <= bound, (mine.shape, largest)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 3, 8, 21])
def test_convolutions_and_dense_layers(batch: int, threads: int, bias: bool) -> None:
    torch.manual_seed(batch)
    weights, x = weights_of_convolutions(bias=bias), torch.randn(batch, 14, 14, 2, requires_grad=True)
    with threads_of_torch(threads):
        ours = gradients(lambda x, w: run_stretch(CONVOLUTIONS, x, w), x, weights, torch.float32)
        again = gradients(lambda x, w: run_stretch(CONVOLUTIONS, x, w), x, weights, torch.float32)
    stock, truth = (gradients(by_torch(CONVOLUTIONS), x, weights, dtype) for dtype in (torch.float32, torch.float64))
    assert_as_exact(ours, stock, truth)
    assert all(map(torch.equal, ours, again))
    with torch.no_grad():  # where two places take turns
        torch.testing.assert_close(run_stretch(CONVOLUTIONS, x, weights).double(), ours[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("frozen", [{0}, {1, 2}, {0, 1, 2, 3, 4, 5, 6}, {12}, {3, 5, 11}, set(range(12))])
def test_no_gradient_where_none_is_wanted(frozen: set[int]) -> None:
    weights, x = weights_of_convolutions(), torch.randn(4, 14, 14, 2)
    given_ = [x.requires_grad_(), *weights]
    whole = gradients(lambda x, w: run_stretch(CONVOLUTIONS, x, w), x, weights, torch.float32)
    for number in frozen:
        tensor = given_[number]
        assert tensor is not None
        tensor.requires_grad_(False)
    found = gradients(lambda x, w: run_stretch(CONVOLUTIONS, x, w), x, weights, torch.float32)
    left = [tensor for number, tensor in enumerate(whole[1:]) if number not in frozen]
    assert len(found) == 1 + len(left)
    assert all(map(torch.equal, found, [whole[0], *left]))


#: Blocks place by place of the kernel, and the rows and columns they read.
TAPS = {
    "pooled maximum": (Block((3, 3), padding=(1, 1, 1, 1), activation="relu", pool="max"), 2, 2),
    "no pooling": (Block((3, 3), padding=(1, 1, 1, 1), activation="relu"), 2, 3),
    "averages that leave some out": (Block((3, 3), padding=(1, 1, 1, 1), activation="relu", pool="average"), 3, 5),
    "strides, tanh": (Block((5, 3), (2, 1), padding=(2, 2, 1, 1), activation="tanh", pool="max"), 4, 3),
    "dilation, places that meet nothing": (Block((5, 5), padding=(4, 4, 2, 2), dilation=(2, 1)), 2, 3),
    "linear averages": (Block((3, 3), padding=(1, 1, 1, 1), pool="average"), 2, 2),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("case", list(TAPS))
@settings(max_examples=5, deadline=None, derandomize=True)
@given(batch=st.integers(1, 20), channels=st.integers(1, 40), filters=st.integers(1, 40))
def test_convolutions_place_by_place(
    case: str, threads: int, bias: bool, batch: int, channels: int, filters: int
) -> None:
    torch.manual_seed(0)
    block, height, width = TAPS[case]
    parts: tuple[Part, ...] = (TapsPart(block, filters), TapsPart(Block((3, 3), padding=(1, 1, 1, 1)), 3))
    shapes = [(filters, channels, *block.kernel), (3, filters, 3, 3)]
    weights: list[Tensor | None] = []
    for shape in shapes:
        weight = torch.randn(shape).contiguous(memory_format=torch.channels_last) / (9 * shape[1]) ** 0.5
        weights += [weight.requires_grad_(), torch.randn(shape[0], requires_grad=True) if bias else None]
    x = torch.randn(batch, height, width, channels, requires_grad=True)
    with threads_of_torch(threads):
        ours, again = (gradients(lambda x, w: run_stretch(parts, x, w), x, weights, torch.float32) for _ in range(2))
        with torch.no_grad():
            assert torch.equal(run_stretch(parts, x, weights).double(), ours[0])
    stock, truth = (gradients(by_torch(parts), x, weights, dtype) for dtype in (torch.float32, torch.float64))
    assert_as_exact(ours, stock, truth)
    assert all(map(torch.equal, ours, again))


@pytest.mark.parametrize("frozen", [{0}, {1}, {2}, {0, 1}, {1, 2}])
def test_place_by_place_no_gradient_where_none_is_wanted(frozen: set[int]) -> None:
    part = TapsPart(TAPS["dilation, places that meet nothing"][0], 20)
    x, bias = torch.randn(5, 2, 3, 8, requires_grad=True), torch.randn(20, requires_grad=True)
    weight = torch.randn(20, 8, 5, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    whole = gradients(lambda x, w: run_stretch((part,), x, w), x, [weight, bias], torch.float32)
    given_ = [x, weight, bias]
    for number in frozen:
        given_[number].requires_grad_(False)
    found = gradients(lambda x, w: run_stretch((part,), x, w), x, [weight, bias], torch.float32)
    left = [tensor for number, tensor in enumerate(whole[1:]) if number not in frozen]
    assert len(found) == 1 + len(left)
    assert all(map(torch.equal, found, [whole[0], *left]))


MODULES = {"simple_rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def recurrent(
    kind: str, features: int, units: int, *, outputs: bool, bias: bool = True
) -> tuple[tuple[Part, ...], list[Tensor | None], list[nn.Module]]:
    """Two recurrences and a dense layer: the parts, their weights, and torch's modules of the same weights."""
    modules = [MODULES[kind](size, units, batch_first=True, bias=bias) for size in (features, units)]
    modules.append(nn.Linear(units, 5))
    number = KINDS[kind, "tanh"]
    parts = (
        TurnPart(), RecurrentPart(number, units, True), RecurrentPart(number, units, outputs), DensePart(5, "linear")
    )  # fmt: skip
    weights: list[Tensor | None] = []
    for module in modules:
        own = [parameter.detach().clone().requires_grad_() for parameter in module.parameters()]
        weights += own if bias or isinstance(module, nn.Linear) else [*own, None, None]
    return parts, weights, modules


def by_modules(modules: Sequence[nn.Module], x: Tensor, dtype: torch.dtype, *, outputs: bool) -> list[Tensor]:
    first, second, dense = (copy.deepcopy(module).to(dtype) for module in modules)

    def run(x: Tensor, _: Sequence[Tensor | None]) -> Tensor:
        y: Tensor = second(first(x)[0])[0]
        return dense(y if outputs else y[:, -1])  # type: ignore[no-any-return]

    found = gradients(run, x, [], dtype)
    return [*found, *(p.grad.double() for m in (first, second, dense) for p in m.parameters() if p.grad is not None)]


@pytest.mark.parametrize("outputs", [True, False])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("kind", list(MODULES))
@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    batch=st.integers(48, 70), steps=st.integers(17, 30), features=st.integers(1, 40),
    units=st.sampled_from([32, 64, 96]), bias=st.booleans(),
)  # fmt: skip
def test_recurrences_and_a_dense_layer(
    kind: str, threads: int, outputs: bool, batch: int, steps: int, features: int, units: int, bias: bool
) -> None:
    torch.manual_seed(0)
    parts, weights, modules = recurrent(kind, features, units, outputs=outputs, bias=bias)
    x = torch.randn(batch, steps, features, requires_grad=True)
    run: Run = lambda x, w: run_stretch(parts, x, w, turned=outputs)  # noqa: E731
    with threads_of_torch(threads):
        for part in parts:
            if isinstance(part, RecurrentPart):
                assert part.takes((steps, batch, features), threads, training=True)
        ours, again = (gradients(run, x, weights, torch.float32) for _ in range(2))
        with torch.no_grad():
            torch.testing.assert_close(run(x, weights).double(), ours[0], rtol=1e-6, atol=1e-6)
    stock, truth = (by_modules(modules, x, dtype, outputs=outputs) for dtype in (torch.float32, torch.float64))
    assert_as_exact(ours, stock, truth)
    assert all(map(torch.equal, ours, again))


def test_a_recurrence_whose_input_wants_no_gradient_gives_the_same_to_the_weights() -> None:
    parts, weights, _ = recurrent("gru", 8, 32, outputs=True)
    x = torch.randn(64, 20, 8)
    run: Run = lambda x, w: run_stretch(parts, x, w, turned=True)  # noqa: E731
    without = gradients(run, x, weights, torch.float32)
    y, _, *others = gradients(run, x.requires_grad_(), weights, torch.float32)
    assert all(map(torch.equal, without, [y, *others]))


@pytest.mark.parametrize("outputs", [True, False])
def test_a_recurrence_may_be_the_last_part(outputs: bool) -> None:
    (turn, first, second, _), weights, modules = recurrent("lstm", 8, 32, outputs=outputs)
    x, own = torch.randn(64, 20, 8), weights[:8]
    ours = gradients(lambda x, w: run_stretch((turn, first, second), x, w, turned=outputs), x, own, torch.float32)
    one, two = (copy.deepcopy(module).double() for module in modules[:2])
    y = two(one(x.double())[0])[0]
    y = y if outputs else y[:, -1]
    y.mul(torch.linspace(0.5, 1.5, y.numel(), dtype=torch.float64).view(y.shape)).sum().backward()
    truth = [y.detach(), *(p.grad for m in (one, two) for p in m.parameters())]
    for mine, true in zip(ours, truth, strict=True):
        assert float((mine - true).abs().max()) <= 1e-5 * float(true.abs().max())


def test_gradients_have_gradients_by_torch() -> None:
    weights, x = weights_of_convolutions(), torch.randn(2, 14, 14, 2, requires_grad=True)

    def twice(run: Run) -> list[Tensor]:
        for tensor in (x, *weights):
            if tensor is not None:
                tensor.grad = None
        y = run(x, weights)
        (d_x,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        d_x.square().sum().backward()
        return [tensor.grad for tensor in (x, *weights) if tensor is not None and tensor.grad is not None]

    for mine, theirs in zip(
        twice(lambda x, w: run_stretch(CONVOLUTIONS, x, w)), twice(by_torch(CONVOLUTIONS)), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


def test_a_recurrence_has_no_second_derivatives() -> None:
    parts, weights, _ = recurrent("lstm", 8, 32, outputs=True)
    x = torch.randn(64, 20, 8, requires_grad=True)
    y = run_stretch(parts, x, weights, turned=True)
    with pytest.raises(ConfigError, match="no second derivatives"):
        torch.autograd.grad(y.sum(), x, create_graph=True)


def test_what_was_written_into_is_noticed() -> None:
    weights, x = weights_of_convolutions(), torch.randn(2, 14, 14, 2)
    y = run_stretch(CONVOLUTIONS, x, weights)
    assert weights[0] is not None
    with torch.no_grad():
        weights[0].add_(1)
    with pytest.raises(RuntimeError, match="inplace"):
        y.sum().backward()


def test_calls_between_there_and_back_change_nothing() -> None:
    weights, x = weights_of_convolutions(), torch.randn(6, 14, 14, 2)
    expected = gradients(lambda x, w: run_stretch(CONVOLUTIONS, x, w), x, weights, torch.float32)

    def run(x: Tensor, w: Sequence[Tensor | None]) -> Tensor:
        y = run_stretch(CONVOLUTIONS, x, w)
        other = run_stretch(CONVOLUTIONS, x + 1, w)
        other.sum().backward()
        for tensor in w:
            if tensor is not None:
                tensor.grad = None
        return y

    assert all(map(torch.equal, gradients(run, x, weights, torch.float32), expected))


def test_tensors_with_gaps_are_as_good_as_whole_ones() -> None:
    weights = weights_of_convolutions()
    x = torch.randn(6, 14, 14, 2)
    expected = gradients(lambda x, w: run_stretch(CONVOLUTIONS, x, w), x, weights, torch.float32)

    def run(x: Tensor, w: Sequence[Tensor | None]) -> Tensor:
        gaps = [None if t is None else torch.stack([t, t], -1)[..., 0] for t in w]
        return run_stretch(CONVOLUTIONS, torch.stack([x, x], 1)[:, 0], gaps)

    assert all(map(torch.equal, gradients(run, x, weights, torch.float32), expected))


def learned_by_torch(
    run: Run, x: Tensor, weights: Sequence[Tensor | None], labels: Tensor, smoothing: float, dtype: torch.dtype
) -> list[Tensor]:
    """The loss, the scores and the gradients, in float64."""
    own = [None if w is None else w.detach().to(dtype).requires_grad_(w.requires_grad) for w in weights]
    scores = run(x.to(dtype), own)
    loss = F.cross_entropy(scores.flatten(0, -2), labels.flatten(), label_smoothing=smoothing)
    loss.backward()
    found = [loss.detach(), scores.detach(), *(t.grad for t in own if t is not None and t.grad is not None)]
    return [t.double() for t in found]


def learned(
    parts: tuple[Part, ...], x: Tensor, weights: Sequence[Tensor | None], labels: Tensor, smoothing: float, turned: bool
) -> list[Tensor]:
    found = learn(parts, x, weights, labels, smoothing=smoothing, turned=turned)
    return [t.double() for t in (found.loss, found.scores, *(g for g in found.gradients if g is not None))]


@pytest.mark.parametrize("frozen", [set(), {0, 1}, {2, 5, 11}, {10}])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_learning_gives_the_loss_and_all_gradients(threads: int, smoothing: float, frozen: set[int]) -> None:
    torch.manual_seed(threads)
    weights, x = weights_of_convolutions(), torch.randn(21, 14, 14, 2)
    for number in frozen:
        tensor = weights[number]
        assert tensor is not None
        tensor.requires_grad_(False)
    labels = torch.randint(3, (21,))
    with threads_of_torch(threads):
        ours, again = (learned(CONVOLUTIONS, x, weights, labels, smoothing, False) for _ in range(2))
    stock, truth = (
        learned_by_torch(by_torch(CONVOLUTIONS), x, weights, labels, smoothing, dtype)
        for dtype in (torch.float32, torch.float64)
    )
    assert_as_exact(ours, stock, truth)
    assert all(map(torch.equal, ours, again))


@pytest.mark.parametrize("outputs", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", list(MODULES))
def test_learning_of_recurrences(kind: str, threads: int, outputs: bool) -> None:
    torch.manual_seed(0)
    parts, weights, modules = recurrent(kind, 9, 32, outputs=outputs)
    x, labels = torch.randn(64, 20, 9), torch.randint(5, (64, 20) if outputs else (64,))

    def by_torch_modules(dtype: torch.dtype) -> list[Tensor]:
        first, second, dense = (copy.deepcopy(module).to(dtype) for module in modules)

        def run(x: Tensor, _: Sequence[Tensor | None]) -> Tensor:
            y: Tensor = second(first(x)[0])[0]
            return dense(y if outputs else y[:, -1])  # type: ignore[no-any-return]

        found = learned_by_torch(run, x, [], labels, 0.0, dtype)
        parameters = (p for module in (first, second, dense) for p in module.parameters())
        return [*found, *(p.grad.double() for p in parameters if p.grad is not None)]

    with threads_of_torch(threads):
        ours, again = (learned(parts, x, weights, labels, 0.0, outputs) for _ in range(2))
    assert_as_exact(ours, *(by_torch_modules(dtype) for dtype in (torch.float32, torch.float64)))
    assert all(map(torch.equal, ours, again))


@pytest.mark.parametrize("label", [-1, 3, 2**40, -(2**63)])
def test_learning_refuses_a_label_that_is_no_class(label: int) -> None:
    weights, labels = weights_of_convolutions(), torch.tensor([0, 2, label, 1])
    with pytest.raises(IndexError):
        learn(CONVOLUTIONS, torch.randn(4, 14, 14, 2), weights, labels)


def test_gradients_lie_as_their_weights_do() -> None:
    weights, x, labels = weights_of_convolutions(), torch.randn(4, 14, 14, 2), torch.tensor([0, 2, 1, 1])
    plain = learn(CONVOLUTIONS, x, weights, labels)
    others = [None if w is None else w.detach().contiguous().requires_grad_() for w in weights]
    found = learn(CONVOLUTIONS, x, others, labels)
    for weight, gradient, expected in zip(others, found.gradients, plain.gradients, strict=True):
        assert weight is not None and gradient is not None and expected is not None
        assert gradient.stride() == weight.stride() and torch.equal(gradient, expected)


@pytest.mark.parametrize("batch", [1, 5, 33])
def test_a_softmax_may_end_an_answer(batch: int) -> None:
    weights, x = weights_of_convolutions(), torch.randn(batch, 14, 14, 2)
    shares, scores = run_to_softmax(CONVOLUTIONS, x, weights)
    with torch.no_grad():
        assert torch.equal(scores, run_stretch(CONVOLUTIONS, x, weights))
    assert not shares.requires_grad and not scores.requires_grad
    torch.testing.assert_close(shares, scores.double().softmax(-1).float(), rtol=1e-6, atol=1e-7)
