"""Layers that run as one program give what they give one by one, and nothing that can be seen changes."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from corecur.errors import ShapeError
from corecur.kernels.choose import asking_for, last_path
from corecur.layers.bidirectional import Bidirectional
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.dropout import Dropout
from corecur.layers.embedding import Embedding
from corecur.layers.gru import GRU
from corecur.layers.layer import Layer
from corecur.layers.lstm import LSTM
from corecur.layers.masking import Masking
from corecur.layers.masks import mask_of, with_mask
from corecur.layers.norm import BatchNormalization, LayerNormalization
from corecur.layers.plain_stretch import run_plainly
from corecur.layers.pool import GlobalAveragePooling1D, MaxPooling2D
from corecur.layers.recurrent import carrying_state
from corecur.layers.shape import Flatten
from corecur.layers.simple_rnn import SimpleRNN
from corecur.models import Input, Model, Sequential
from tests.kernels.needs_kernels import needs_kernels
from tests.kernels.threads import threads_of_torch

pytestmark = needs_kernels

PICTURES, ROWS, STEPS = (14, 14, 2), (None, 8), 20


def pictures(*more: Any, **options: Any) -> list[Any]:
    return [Conv2D(16, 3, activation="relu", input_shape=PICTURES, **options), MaxPooling2D(), *more]


def deep() -> list[Any]:
    """Ends in a convolution over 2 × 2 positions, which runs place by place."""
    first, second = (Conv2D(256, 3, activation="relu", padding=padding) for padding in ("valid", "same"))
    return pictures(first, MaxPooling2D(), second, MaxPooling2D(), Flatten(), Dense(3))


def rows(kind: Any = LSTM, **options: Any) -> list[Any]:
    return [kind(32, return_sequences=True, input_shape=ROWS), kind(32, **options)]


class Own(Layer):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class OwnLSTM(LSTM):
    def over_time(self, *args: Any, **more: Any) -> Any:
        y, state = super().over_time(*args, **more)
        return 2 * y, state


# What stands in a row; how many layers of it run at once in training, and how many otherwise.
STRETCHES: dict[str, tuple[list[Any], int, int]] = {
    "convolutions": (pictures(Conv2D(8, 3, activation="tanh"), Flatten(), Dense(4, "relu"), Dense(3)), 6, 6),
    "a convolution place by place": (deep(), 8, 8),
    "softmax ends it": (pictures(Conv2D(8, 3), Flatten(), Dense(3, "softmax"), Dense(3)), 5, 5),
    "gelu ends it": (pictures(Flatten(), Dense(4, "gelu"), Dense(3)), 4, 4),
    "dropout in training": (pictures(Flatten(), Dense(4), Dropout(0.5), Dense(3)), 4, 6),
    "normalisation in training": (pictures(Conv2D(8, 3), BatchNormalization(), Flatten(), Dense(3)), 3, 6),
    "another kind of layer": (pictures(Flatten(), Dense(4), Own(), Dense(3)), 4, 4),
    "dense layers over positions": (pictures(Dense(4, "relu"), Flatten(), Dense(3)), 5, 5),
    "flattened without a dense layer": (pictures(Conv2D(8, 3), Flatten()), 3, 3),
    "groups are torch's": (pictures(Conv2D(8, 3, groups=2), Flatten(), Dense(3)), 0, 0),
    "simple": ([*rows(SimpleRNN), Dense(3, "tanh")], 3, 3),
    "LSTM": ([*rows(LSTM), Dense(3)], 3, 3),
    "GRU": ([*rows(GRU, return_sequences=True), Dense(3, "softmax")], 3, 3),
    "one and a dense layer": ([*rows()[:1], Dense(3)], 2, 2),
    "dropout between": ([rows()[0], Dropout(0.5), *rows()[1:], Dense(3)], 1, 4),
    "dropout inside": ([rows()[0], LSTM(32, dropout=0.5, recurrent_dropout=0.5), Dense(3)], 1, 3),
    "zoneout": ([rows()[0], LSTM(32, zoneout=0.1), Dense(3)], 1, 1),
    "backwards": ([rows()[0], LSTM(32, go_backwards=True), Dense(3)], 1, 1),
    "a cell of another kind": ([rows()[0], OwnLSTM(32), Dense(3)], 1, 1),
    "with the state": ([LSTM(32, return_sequences=True, stateful=True, input_shape=ROWS), Dense(3)], 0, 0),
    "gates by another function": ([rows()[0], LSTM(32, recurrent_activation="tanh"), Dense(3)], 1, 1),
    "no biases": ([GRU(32, use_bias=False, input_shape=ROWS), Dense(3, use_bias=False)], 2, 2),
}


def network(layers: list[Any]) -> Sequential:
    torch.manual_seed(0)
    model = Sequential([type(layer).from_config(layer.get_config()) for layer in layers])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    return model


def batch(model: Sequential, count: int = 64) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(count, *(size or STEPS for size in (model.input_symbols[0].shape[1:])))


def answers(model: nn.Module, x: Tensor, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """The output and all gradients."""
    one, given = copy.deepcopy(model).to(dtype), x.detach().to(dtype, copy=True).requires_grad_()
    torch.manual_seed(2)
    y = one(given)
    y.square().sum().backward()
    assert given.grad is not None
    grads = [p.grad for p in one.parameters() if p.grad is not None]
    return [y.detach().double(), given.grad.double(), *(grad.double() for grad in grads)]


def assert_near(found: list[Tensor], expected: list[Tensor]) -> None:
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=2e-5 * float(other.abs().max()))


@pytest.mark.parametrize("name", list(STRETCHES))
def test_the_layers_one_by_one(name: str) -> None:
    layers, in_training, otherwise = STRETCHES[name]
    model = network(layers)
    x = batch(model)
    for training, expected in ((True, in_training), (False, otherwise)):
        model.train(training)
        found = run_plainly(model.layers, x)
        assert (0 if found is None else found[1]) == expected
        if training and name.startswith(("dropout", "normalisation", "zoneout")):
            continue  # drawn anew, or of another batch, in float64
        ours, truth = answers(model, x), answers(model, x, torch.float64)
        assert_near(ours, truth)
        with torch.no_grad():
            torch.testing.assert_close(model(x).double(), truth[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["convolutions", "LSTM"])
@pytest.mark.parametrize("hook", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_hooks_see_their_layer(name: str, hook: str, at: int) -> None:
    model, seen = network(STRETCHES[name][0]), []
    x = batch(model)
    plain = model(x)
    handle = getattr(model.layers[at], hook)(lambda *args: seen.append(len(args)))
    y = model(x.requires_grad_())
    y.sum().backward()
    assert len(seen) == 1
    torch.testing.assert_close(y, plain)
    handle.remove()
    handle = nn.modules.module.register_module_forward_hook(lambda *args: seen.append(len(args)))
    model(x)
    handle.remove()
    assert len(seen) == 1 + 1 + len(model.layers)


@pytest.mark.parametrize("name", ["convolutions", "GRU"])
def test_frozen_layers_get_no_gradient_and_the_others_the_same(name: str) -> None:
    model = network(STRETCHES[name][0])
    x = batch(model)
    whole = dict(zip([n for n, _ in model.named_parameters()], answers(model, x)[2:], strict=True))
    frozen = model.layers[0]
    frozen.trainable = False  # type: ignore[assignment]
    model(x).square().sum().backward()
    for own, parameter in model.named_parameters():
        if any(parameter is p for p in frozen.parameters()):
            assert parameter.grad is None
        else:
            assert parameter.grad is not None
            expected = whole[own]
            torch.testing.assert_close(
                parameter.grad.double(), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max())
            )


def test_masked_rows_are_left_out_as_ever() -> None:
    model = network([Masking(0.0, input_shape=ROWS), *rows()[1:], Dense(3)])
    x = batch(model)
    x[:, 12:] = 0
    with torch.no_grad():
        torch.testing.assert_close(model(x), model(x[:, :12]), rtol=1e-4, atol=1e-5)
    embedded = Sequential([Embedding(9, 8, mask_zero=True), LSTM(32), Dense(3)])
    tokens = torch.randint(1, 9, (64, 20))
    y = embedded(tokens)
    torch.testing.assert_close(embedded(nn.functional.pad(tokens, (0, 5))), y, rtol=1e-4, atol=1e-5)


def test_an_embedding_gets_its_gradient() -> None:
    model = Sequential([Embedding(9, 8), GRU(32, return_sequences=True), Dense(3)])
    tokens = torch.randint(9, (64, 20))
    model(tokens).square().sum().backward()
    ours = [parameter.grad.double() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    double = copy.deepcopy(model).double()
    double(tokens).square().sum().backward()
    assert_near(ours, [parameter.grad for parameter in double.parameters() if parameter.grad is not None])


def test_time_first_is_read_as_it_lies() -> None:
    model = network(STRETCHES["LSTM"][0])
    x = batch(model)
    swapped = x.transpose(0, 1).contiguous().transpose(0, 1)
    assert run_plainly(model.layers, swapped) is not None
    assert all(map(torch.equal, answers(model, x), answers(model, swapped)))


def test_functional_models_run_the_same_stretches() -> None:
    model = network(STRETCHES["convolutions"][0])
    symbol = Input(PICTURES)
    y: Any = symbol
    for layer in model.layers:
        y = layer(y)
    x = batch(model)
    assert torch.equal(Model(symbol, y)(x), model(x))


def test_where_states_are_carried_layers_run_one_by_one() -> None:
    model = network(STRETCHES["LSTM"][0]).eval()
    x = batch(model)
    with torch.no_grad(), carrying_state(model):
        model(x[:, :10])
        y = model(x[:, 10:])
        assert run_plainly(model.layers, x) is None
    with torch.no_grad():
        torch.testing.assert_close(y, model(x), rtol=1e-4, atol=1e-5)


def test_what_watches_sees_every_layer() -> None:
    model = network(STRETCHES["convolutions"][0])
    x = batch(model)
    with asking_for("torch"):
        assert run_plainly(model.layers, x) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert run_plainly(model.layers, x) is None
    with torch.profiler.profile() as profile:
        model(x)
    assert any("convolution" in event.key for event in profile.key_averages())
    assert torch.allclose(torch.vmap(model)(x[:, None])[:, 0], model(x), atol=1e-4)
    assert run_plainly(model.layers, x.double()) is None
    assert run_plainly(model.layers, x.to("meta")) is None
    assert run_plainly(model.layers, x[:0]) is None
    model(x)
    path = last_path()
    assert path is not None and path.kernel in ("winograd", "direct")


def test_wrong_inputs_are_named_as_ever() -> None:
    convolutions = network(pictures(Conv2D(8, 3), Flatten(), Dense(3)))
    with pytest.raises(ShapeError, match="channels"):
        run_plainly(convolutions.layers, torch.zeros(2, 14, 14, 3))
    with pytest.raises(ShapeError, match="2 channels"):
        run_plainly([convolutions.layers[0], convolutions.layers[0], Flatten(), Dense(3)], torch.zeros(2, 14, 14, 2))
    with pytest.raises(ShapeError, match="axes"):
        run_plainly(convolutions.layers, torch.zeros(2, 14, 2))
    with pytest.raises(ShapeError, match="Dense"):
        run_plainly(convolutions.layers, torch.zeros(2, 16, 16, 2))
    recurrent = network(STRETCHES["LSTM"][0])
    for wrong in (torch.zeros(64, 20, 9), torch.zeros(64, 20)):
        with pytest.raises(ShapeError):
            recurrent(wrong)


@pytest.mark.parametrize("name", ["convolutions", "simple", "LSTM", "GRU", "softmax ends it"])
def test_a_network_learns_the_same_either_way(name: str) -> None:
    model = network(STRETCHES[name][0])
    x = batch(model)
    y, losses = torch.randint(3, model(x).shape[:-1]), []
    for off in (False, True):
        one = copy.deepcopy(model).train()
        for layer in one.layers if off else ():
            layer.register_forward_hook(lambda *_: None)
        optimizer = torch.optim.SGD(one.parameters(), lr=0.05)
        for _ in range(12):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(one(x).flatten(0, -2), y.flatten())
            loss.backward()
            optimizer.step()
        losses.append([loss.item(), *one.eval()(x).detach().flatten().tolist()])
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), rtol=2e-3, atol=1e-4)


def test_layers_inside_layers_are_left_alone() -> None:
    model = network([Bidirectional(LSTM(16, return_sequences=True), input_shape=ROWS), LayerNormalization()])
    model.add(GlobalAveragePooling1D())
    with contextlib.suppress(ShapeError):
        assert run_plainly(model.layers, batch(model)) is None


#: Recurrences over rows with padding, and how many of them run at once in training.
MASKED: dict[str, tuple[list[Any], int]] = {
    "one, its outputs": ([LSTM(32, return_sequences=True)], 1),
    "one, its last state": ([SimpleRNN(32)], 1),
    "two": ([GRU(32, return_sequences=True), GRU(32)], 2),
    "three kinds": ([SimpleRNN(32, return_sequences=True), GRU(32, return_sequences=True), LSTM(32)], 3),
    "zeros in the padding": (
        [LSTM(32, return_sequences=True), GRU(32, return_sequences=True, zero_output_for_mask=True)],
        2,
    ),
    "no biases": ([GRU(32, return_sequences=True, use_bias=False), LSTM(32, return_sequences=True, use_bias=False)], 2),
    "before a dense layer": ([LSTM(32, return_sequences=True), LSTM(32, return_sequences=True), Dense(3)], 2),
    "before a backward one": ([LSTM(32, return_sequences=True), LSTM(32, go_backwards=True)], 1),
    "dropout between": ([LSTM(32, return_sequences=True), Dropout(0.0), LSTM(32)], 1),
    "zoneout": ([LSTM(32, return_sequences=True, zoneout=0.1)], 0),
    "stateful": ([LSTM(32, return_sequences=True, stateful=True)], 0),
}


def padded(rows: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Inputs and a mask with gaps, padding on either side, a whole row and one without any real step."""
    torch.manual_seed(seed)
    x, mask = torch.randn(rows, STEPS, 8), torch.rand(rows, STEPS) < 0.7
    mask[0], mask[1], mask[2, 9:], mask[3, :9] = True, False, False, False
    x[~mask] = float("nan")  # nothing reads it
    return x, mask


def one_by_one(layers: list[Any], x: Tensor) -> Any:
    for layer in layers:
        x = layer(x)
    return x


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", list(MASKED))
def test_rows_with_padding_give_what_the_layers_give_one_by_one(name: str, threads: int) -> None:
    torch.manual_seed(0)
    layers, expected = MASKED[name]
    model = Sequential([type(layer).from_config(layer.get_config()) for layer in layers])
    model(torch.randn(2, STEPS, 8))
    x, mask = padded(61)
    with threads_of_torch(threads):
        found = run_plainly(model.layers, with_mask(x.clone(), mask))
        assert (0 if found is None else found[1]) == expected
        if not expected:
            return
        answered: list[list[Tensor]] = []
        for call in (lambda m, x: m(x), lambda m, x: one_by_one(m.layers, x)):
            one, given = copy.deepcopy(model), x.clone().requires_grad_()
            y = call(one, with_mask(given * 1, mask.clone()))
            (y * torch.linspace(0.5, 1.5, y.numel()).view(y.shape)).sum().backward()
            assert given.grad is not None
            answered.append([y.detach(), given.grad, *(p.grad for p in one.parameters() if p.grad is not None)])
            seen = mask_of(y)
            assert (seen is None) == (y.dim() == 2) and (seen is None or torch.equal(seen, mask))
            with torch.no_grad():
                torch.testing.assert_close(call(one, with_mask(x.clone(), mask.clone())), y.detach())
    assert all(torch.isfinite(t).all() for t in answered[0])
    for mine, other in zip(*answered, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6 * float(other.abs().max()))


def test_batches_of_other_lengths_share_a_program() -> None:
    torch.manual_seed(0)
    model = Sequential([GRU(32, return_sequences=True), GRU(32)])
    model(torch.randn(2, STEPS, 8))
    for seed in range(6):
        x, mask = padded(64, seed)
        y = model(with_mask(x.clone(), mask))
        torch.testing.assert_close(y, one_by_one(model.layers, with_mask(x.clone(), mask)))


def test_a_row_alone_is_the_row_among_others() -> None:
    torch.manual_seed(0)
    model = Sequential([LSTM(32, return_sequences=True), LSTM(32)]).eval()
    model(torch.randn(2, STEPS, 8))
    x, mask = padded(64)
    with torch.no_grad():
        y = model(with_mask(x.clone(), mask))
        for row in (0, 2, 3, 7):
            alone = model(x[row][mask[row]][None])
            torch.testing.assert_close(y[row : row + 1], alone, rtol=1e-5, atol=1e-6)
    assert not y[1].any()


def test_a_copy_of_a_mask_has_rows_of_its_own() -> None:
    torch.manual_seed(0)
    model = Sequential([GRU(32, return_sequences=True), GRU(32)])
    model(torch.randn(2, STEPS, 8))
    x, mask = padded(64)
    expected = model(with_mask(x.clone(), mask))
    other = copy.deepcopy(mask)  # with what was found of it
    del mask
    _ = [torch.randint(9, (64 * STEPS,)) for _ in range(50)]  # over what was freed
    torch.testing.assert_close(model(with_mask(x.clone(), other)), expected)
