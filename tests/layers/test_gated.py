"""What SimpleRNN, LSTM, GRU and their cells share: weights in torch's and Keras' forms, dropout, zoneout, penalties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from corecur.errors import ConfigError
from corecur.kernels.choose import explain
from corecur.kernels.reference import forward
from corecur.layers import GRU, LSTM, Bidirectional, GRUCell, Layer, LSTMCell, SimpleRNN, SimpleRNNCell
from corecur.layers.regularizers import L2
from corecur.models import Input, Model, Sequential

PAIRS: list[tuple[Any, Any]] = [
    (SimpleRNN, nn.RNN),
    (lambda units, **o: SimpleRNN(units, "relu", **o), lambda *a, **o: nn.RNN(*a, nonlinearity="relu", **o)),
    (LSTM, nn.LSTM),
    (GRU, nn.GRU),
]
IDS = ["tanh", "relu", "lstm", "gru"]
every_pair = pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=IDS)


def states_of(last: Any) -> list[Tensor]:
    return [s[0] for s in last] if isinstance(last, tuple) else [last[0]]


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@every_pair
def test_weights_load_both_ways_and_give_the_same(ours: Any, theirs: Any, bias: bool) -> None:
    x = torch.randn(3, 6, 5)
    layer = ours(4, use_bias=bias, return_sequences=True, return_state=True)
    other = theirs(5, 4, batch_first=True, bias=bias)
    layer(x)
    assert {n: v.shape for n, v in layer.state_dict().items()} == {n: v.shape for n, v in other.state_dict().items()}
    assert list(layer.state_dict()) == list(other.state_dict())
    layer.load_state_dict(other.state_dict())
    y, *last = layer(x)
    expected, states = other(x)
    torch.testing.assert_close(y, expected)
    for a, b in zip(last, states_of(states), strict=True):
        torch.testing.assert_close(a, b)
    back = theirs(5, 4, batch_first=True, bias=bias)
    back.load_state_dict(layer.state_dict())
    y.sin().sum().backward()
    found = back(x)[0]
    found.sin().sum().backward()
    torch.testing.assert_close(found, y)
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(parameter.grad, getattr(back, name).grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(SimpleRNNCell, nn.RNNCell), (LSTMCell, nn.LSTMCell), (GRUCell, nn.GRUCell)], ids=str
)
def test_cells_have_torchs_weights(ours: Any, theirs: Any) -> None:
    cell, other, x = ours(4), theirs(5, 4), torch.randn(3, 5)
    cell(x)
    cell.load_state_dict(other.state_dict())
    first = [torch.randn(3, 4) for _ in cell.state_sizes()]
    expected = other(x, tuple(first) if len(first) == 2 else first[0])
    output, new = cell(x, first)
    assert output is new[0]
    for a, b in zip(new, expected if len(first) == 2 else (expected,), strict=True):
        torch.testing.assert_close(a, b)
    assert cell.output_size == 4
    assert [tuple(s.shape) for s in cell.get_initial_state(7)] == [(7, 4)] * len(first)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def keras_simple(x: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
    h = np.zeros((len(x), recurrent.shape[0]))
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ kernel + bias + h @ recurrent)
    return h


def keras_lstm(x: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
    """Keras' order: input, forget, cell, output."""
    n = recurrent.shape[0]
    h, c = np.zeros((len(x), n)), np.zeros((len(x), n))
    for t in range(x.shape[1]):
        z = x[:, t] @ kernel + h @ recurrent + bias
        i, f, o = (sigmoid(z[:, k * n : (k + 1) * n]) for k in (0, 1, 3))
        c = f * c + i * np.tanh(z[:, 2 * n : 3 * n])
        h = o * np.tanh(c)
    return h


def keras_gru(x: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
    """Keras' order: update, reset, candidate; a bias (2, 3H) where the reset comes after the product."""
    n = recurrent.shape[0]
    h, after = np.zeros((len(x), n)), bias.ndim == 2
    input_bias, recurrent_bias = bias if after else (bias, np.zeros_like(bias))
    for t in range(x.shape[1]):
        a, u = x[:, t] @ kernel + input_bias, h @ recurrent + recurrent_bias
        z, r = sigmoid(a[:, :n] + u[:, :n]), sigmoid(a[:, n : 2 * n] + u[:, n : 2 * n])
        inner = r * u[:, 2 * n :] if after else (r * h) @ recurrent[:, 2 * n :]
        h = z * h + (1 - z) * np.tanh(a[:, 2 * n :] + inner)
    return h


@pytest.mark.parametrize(
    ("layer", "equations"),
    [
        (lambda: SimpleRNN(4), keras_simple),
        (lambda: LSTM(4), keras_lstm),
        (lambda: GRU(4), keras_gru),
        (lambda: GRU(4, reset_after=False), keras_gru),
    ],
    ids=["simple", "lstm", "gru", "gru classic"],
)
def test_arrays_are_in_keras_order_and_layout(layer: Any, equations: Any) -> None:
    made, x = layer(), torch.randn(3, 5, 2)
    made(x)
    made.double()
    random = np.random.default_rng(0)
    arrays = [random.uniform(-1, 1, array.shape) for array in made.get_weights()]
    made.set_weights(arrays)
    np.testing.assert_allclose(made(x.double()).detach().numpy(), equations(x.double().numpy(), *arrays), atol=1e-12)
    for ours, given in zip(made.get_weights(), arrays, strict=True):
        np.testing.assert_array_equal(ours, given)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("SimpleRNN", {}), ("SimpleRNN", {"activation": "relu", "use_bias": False}), ("LSTM", {}),
        ("LSTM", {"use_bias": False, "recurrent_activation": "hard_sigmoid"}), ("GRU", {}),
        ("GRU", {"reset_after": False}), ("GRU", {"use_bias": False}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])
def test_weights_and_answers_are_those_of_keras(name: str, arguments: dict[str, Any], both: bool) -> None:
    keras = pytest.importorskip("keras")
    from corecur.layers import LAYERS

    x = np.random.default_rng(0).normal(size=(4, 6, 3)).astype(np.float32)
    mask = np.array([[1, 1, 1, 0, 0, 0], [1] * 6, [0, 0, 1, 1, 0, 0], [0] * 6], dtype=bool)
    theirs = getattr(keras.layers, name)(5, return_sequences=True, **arguments)
    ours = LAYERS[name](5, return_sequences=True, **arguments)
    if both:
        theirs, ours = keras.layers.Bidirectional(theirs), Bidirectional(ours)
    theirs(x)
    ours(torch.from_numpy(x))
    assert [w.shape for w in ours.get_weights()] == [tuple(w.shape) for w in theirs.get_weights()]
    random = np.random.default_rng(1)
    arrays = [random.uniform(-0.5, 0.5, w.shape).astype(np.float32) for w in ours.get_weights()]
    theirs.set_weights(arrays)
    ours.set_weights(arrays)
    expected = keras.ops.convert_to_numpy(theirs(x, mask=mask))
    np.testing.assert_allclose(ours(torch.from_numpy(x), mask=torch.from_numpy(mask)).detach(), expected, atol=1e-5)


def test_weights_of_a_whole_network_come_in_keras_order() -> None:
    model = Sequential([LSTM(4, return_sequences=True), Bidirectional(GRU(3))])
    model(torch.zeros(1, 2, 5))
    shapes = [w.shape for w in model.get_weights()]
    assert shapes == [(5, 16), (4, 16), (16,), *[(4, 9), (3, 9), (2, 9)] * 2]


def test_weights_start_as_in_keras() -> None:
    layer = LSTM(6, bias_initializer="ones")
    layer(torch.zeros(1, 2, 3))
    np.testing.assert_array_equal(layer.get_weights()[2], np.ones(24))
    layer = LSTM(6)
    layer(torch.zeros(1, 2, 3))
    kernel, recurrent, bias = layer.get_weights()
    np.testing.assert_array_equal(bias, np.repeat([0, 1, 0, 0], 6))
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(6), atol=1e-5)
    assert np.abs(kernel).max() <= (6 / (3 + 24)) ** 0.5
    plain = LSTM(6, unit_forget_bias=False)
    plain(torch.zeros(1, 2, 3))
    assert not plain.get_weights()[2].any()


@pytest.mark.parametrize("kind", [SimpleRNN, LSTM, GRU])
def test_dropout_hides_the_same_features_at_every_step(kind: Any) -> None:
    torch.manual_seed(0)
    layer = kind(64, dropout=0.5, return_sequences=True)
    steps = torch.eye(8).repeat(1, 1, 1)  # step t shows feature t alone
    layer(steps)
    with torch.no_grad():
        layer.weight_hh_l0.zero_()
        layer.bias_ih_l0.zero_()
    layer.train()
    x = torch.cat([steps, steps], 1)  # each feature twice
    y = layer(x)
    if kind is SimpleRNN:
        hidden = (y == 0).all(-1)[0]
        assert torch.equal(hidden[:8], hidden[8:])
        assert 0 < int(hidden.sum()) < 16
        torch.testing.assert_close(y[0, ~hidden], torch.tanh(2 * x @ layer.weight_ih_l0.T)[0, ~hidden])
    layer.eval()
    torch.testing.assert_close(layer(x), layer(x))


@pytest.mark.parametrize("kind", [SimpleRNN, LSTM, GRU])
def test_recurrent_dropout_is_one_pattern_for_all_steps(kind: Any) -> None:
    """Against the reference, with the pattern read off the recurrent weights' gradient."""
    torch.manual_seed(1)
    layer = kind(6, recurrent_dropout=0.5, return_sequences=True)
    x = torch.randn(1, 9, 3)
    layer(x)
    layer.train()
    y = layer(x)
    y[:, 1:].sum().backward()
    kept = layer.weight_hh_l0.grad.abs().sum(0) > 0  # columns of hidden units that were never seen have no gradient
    assert 0 < int(kept.sum()) < 6
    weights = {n.removesuffix("_l0"): p.detach().double().numpy() for n, p in layer.named_parameters()}
    weights["weight_hh"] = weights["weight_hh"] * np.where(kept, 65536 / 32768, 0.0)
    name = {SimpleRNN: "simple_rnn", LSTM: "lstm", GRU: "gru"}[kind]
    np.testing.assert_allclose(y.detach(), forward(name, x.double().numpy(), weights).outputs, atol=1e-5)


def test_zoneout_keeps_values_in_training_and_mixes_them_otherwise() -> None:
    torch.manual_seed(2)
    layer, x = GRU(50, zoneout=0.3, return_sequences=True), torch.randn(20, 30, 4)
    layer(x)
    layer.train()
    y = layer(x)
    kept = (y[:, 1:] == y[:, :-1]).float().mean()
    assert 0.28 < float(kept) < 0.32
    layer.eval()
    plain = GRU(50, return_state=True)
    plain(x)
    plain.load_state_dict(layer.state_dict())
    first, second = x[:, :1], x[:, 1:2]
    h = 0.7 * plain(first)[0]
    torch.testing.assert_close(layer(x)[:, 0], h)
    torch.testing.assert_close(layer(x)[:, 1], 0.3 * h + 0.7 * plain(second, initial_state=h)[0])


def test_an_lstms_cell_has_a_zoneout_rate_of_its_own() -> None:
    x, made = torch.randn(4, 1, 3), []
    for zoneout in (0.0, (0.0, 0.5)):
        torch.manual_seed(3)
        made.append(LSTM(5, zoneout=zoneout, return_state=True).eval()(x))
    torch.testing.assert_close(made[1][0], made[0][0])
    torch.testing.assert_close(made[1][2], 0.5 * made[0][2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": 0}, "whole number from 1"),
        ({"units": 2.5}, "whole number from 1"),
        ({"dropout": 1.0}, "LSTM's dropout needs a rate"),
        ({"recurrent_dropout": -0.1}, "recurrent_dropout needs a rate"),
        ({"zoneout": (0.1, 0.2, 0.3)}, "one for each state"),
        ({"zoneout": 2}, "zoneout needs a rate"),
        ({"projection": 0}, "projection"),
        ({"peephole": True, "layer_norm": True}, "not both"),
        ({"activation": "tahn"}, "did you mean 'tanh'"),
        ({"recurrent_initializer": "orthogonall"}, "orthogonal"),
        ({"return_sequence": True}, "return_sequences"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LSTM(**{"units": 4, **arguments})


def test_penalties_are_those_of_the_weights() -> None:
    layer = SimpleRNN(3, kernel_regularizer=L2(1.0), recurrent_regularizer=L2(2.0), bias_regularizer=L2(3.0))
    layer(torch.zeros(1, 2, 2))
    with torch.no_grad():
        layer.bias_ih_l0.fill_(1.0)
    penalty = layer.penalty()
    expected = layer.weight_ih_l0.square().sum() + 2 * layer.weight_hh_l0.square().sum() + 9
    assert penalty is not None
    torch.testing.assert_close(penalty, expected)


def test_a_layer_explains_its_kernel() -> None:
    layer = LSTM(4, recurrent_dropout=0.2)
    layer(torch.zeros(1, 2, 3))
    layer.double()
    assert "native: no, the native kernels compute in float32" in explain(layer.request())
    assert "fused: no, torch's operation has no recurrent dropout" in explain(layer.train().request())
    assert "fused: taken" in explain(layer.eval().request())


@pytest.mark.parametrize("kind", [SimpleRNN, LSTM, GRU, lambda u: GRU(u, reset_after=False)])
def test_second_order_of_nothing_first_order_by_gradcheck(kind: Any) -> None:
    torch.manual_seed(4)
    layer = kind(3)
    layer(torch.zeros(1, 2, 2))
    layer.double()
    mask = torch.tensor([[True, False, True, True], [False, True, False, False]])
    x = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *_: layer(x, mask=mask), (x, *layer.parameters()))


def test_a_loaded_networks_penalties_are_those_of_its_weights(tmp_path: Any) -> None:
    both = Bidirectional(LSTM(3, recurrent_regularizer="l2"))
    model = Sequential([Input(shape=(None, 2)), LSTM(4, kernel_regularizer="l2", return_sequences=True), both])
    model.save(tmp_path / "model")
    sums = []
    for network in (model, Model.load(tmp_path / "model")):
        terms = [module.penalty() for module in network.modules() if isinstance(module, Layer)]
        sums.append(sum(term for term in terms if term is not None))
    torch.testing.assert_close(sums[0], sums[1])
