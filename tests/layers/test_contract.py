"""What every layer of the table owes; a new row is tested by its sample, and fails here while it has none."""

from __future__ import annotations

import copy
import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from corecur import layers
from corecur.errors import ConfigError, ShapeError
from corecur.layers import LAYERS, Layer
from corecur.layers.symbolic import SymbolicTensor

from .samples import SAMPLES, apply, call, inputs, make, tensors_of

NAMES = sorted(LAYERS)
every_layer = pytest.mark.parametrize("name", NAMES)


def symbols(name: str, batch: int | None = None) -> Any:
    found = [SymbolicTensor((batch, *shape)) for shape in SAMPLES[name].shapes]
    return found if SAMPLES[name].takes_list else found[0]


def test_every_row_has_a_sample() -> None:
    assert sorted(SAMPLES) == NAMES


def test_the_public_names_are_one_sorted_list() -> None:
    assert layers.__all__ == sorted(layers.__all__)
    assert set(layers.__all__) == {*LAYERS, "LAYERS", "Layer"}
    assert list(LAYERS) == NAMES


def test_every_layer_class_is_in_the_table() -> None:
    def leaves(cls: type) -> set[str]:
        below = [c for c in cls.__subclasses__() if c.__module__.startswith("corecur.layers.")]
        return set().union(*map(leaves, below)) if below else {cls.__name__}

    assert leaves(Layer) == set(LAYERS)


def test_a_wrong_layer_name_meets_the_nearest() -> None:
    with pytest.raises(ConfigError, match="MaxPooling2D"):
        LAYERS["MaxPoling2D"]


@every_layer
def test_the_row_is_called_as_its_class(name: str) -> None:
    assert LAYERS[name].__name__ == name
    assert getattr(layers, name) is LAYERS[name]
    assert ">>>" in (LAYERS[name].__doc__ or "")


@every_layer
def test_symbolic_shapes_are_the_real_ones(name: str) -> None:
    symbolic = call(make(name), symbols(name))
    real = call(make(name), inputs(name))
    assert symbolic.shape == (None, *real.shape[1:])
    assert symbolic.dtype == real.dtype
    assert call(make(name), symbols(name, batch=5)).shape == (5, *real.shape[1:])


@every_layer
def test_a_symbolic_call_changes_nothing(name: str) -> None:
    layer = make(name)
    layer(symbols(name))
    before, drawn = copy.deepcopy(layer.state_dict()), torch.get_rng_state()
    layer(symbols(name))
    assert torch.equal(torch.get_rng_state(), drawn)
    for key, value in layer.state_dict().items():
        assert value.device.type == "cpu"
        assert torch.equal(value, before[key])


@every_layer
def test_config_round_trip_gives_the_same_outputs(name: str) -> None:
    layer, x = make(name, name="mine").eval(), inputs(name)
    expected = layer(x)
    config = layer.get_config()
    assert config["name"] == "mine"
    assert all(_as_json(config[key]) == _as_json(value) for key, value in SAMPLES[name].config.items())
    stored = json.loads(json.dumps({key: _as_json(value) for key, value in config.items()}))
    again = LAYERS[name].from_config({k: _from_json(v) for k, v in stored.items()}).eval()
    again(x)
    again.load_state_dict(layer.state_dict())
    torch.testing.assert_close(again(x), expected, rtol=0, atol=0)


def _as_json(value: Any) -> Any:
    if isinstance(value, Layer):
        return {"layer": type(value).__name__, "config": {k: _as_json(v) for k, v in value.get_config().items()}}
    return [_as_json(item) for item in value] if isinstance(value, (list, tuple)) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return LAYERS[value["layer"]](**{k: _from_json(v) for k, v in value["config"].items()})
    return tuple(_from_json(item) for item in value) if isinstance(value, list) else value


@every_layer
def test_gradients(name: str) -> None:
    layer = make(name).eval()
    layer(inputs(name))
    layer.double()
    x = list(tensors_of(inputs(name, batch=2, dtype=torch.float64, seed=5)))
    for tensor in x:
        tensor.requires_grad_(tensor.is_floating_point())
    parameters = list(layer.parameters())

    def run(*values: torch.Tensor) -> Any:
        return call(layer, list(values[: len(x)]) if SAMPLES[name].takes_list else values[0])

    assert torch.autograd.gradcheck(run, (*x, *parameters), fast_mode=True)


@every_layer
def test_a_batch_of_one_is_its_row_of_a_batch(name: str) -> None:
    layer, x = make(name).eval(), inputs(name, batch=4)
    together = call(layer, x)
    for row in (0, 3):
        alone = call(layer, apply(lambda t, r=row: t[r : r + 1], x))
        torch.testing.assert_close(alone, together[row : row + 1], rtol=1e-5, atol=1e-6)


@every_layer
def test_an_empty_batch_stays_empty(name: str) -> None:
    layer = make(name)
    shape = call(layer, inputs(name)).shape
    assert call(layer, inputs(name, batch=0)).shape == (0, *shape[1:])


@every_layer
def test_memory_layout_does_not_matter(name: str) -> None:
    layer, x = make(name).eval(), inputs(name)
    expected = layer(x)
    strided = apply(lambda t: t.movedim(-1, 1).contiguous().movedim(1, -1), x)
    torch.testing.assert_close(layer(strided), expected, rtol=1e-5, atol=1e-6)


@every_layer
def test_the_input_is_left_alone(name: str) -> None:
    layer, x = make(name), inputs(name)
    before = apply(torch.clone, x)
    call(layer, x).sum()
    assert all(torch.equal(a, b) for a, b in zip(tensors_of(x), tensors_of(before), strict=True))


@every_layer
def test_outputs_have_the_dtype_of_the_inputs(name: str) -> None:
    layer = make(name)
    assert call(layer, inputs(name)).dtype == torch.float32
    layer.double()
    assert call(layer, inputs(name, dtype=torch.float64)).dtype == torch.float64


@every_layer
def test_weights_as_arrays_round_trip(name: str) -> None:
    layer, x = make(name).eval(), inputs(name)
    layer(x)
    rng = np.random.default_rng(1)
    drawn = [rng.uniform(0.5, 1.5, a.shape).astype(a.dtype) for a in layer.get_weights()]
    layer.set_weights(drawn)
    for got, given in zip(layer.get_weights(), drawn, strict=True):
        np.testing.assert_array_equal(got, given)
    other = make(name).eval()
    other(x)
    other.set_weights(drawn)
    torch.testing.assert_close(other(x), layer(x), rtol=0, atol=0)
    with pytest.raises(ShapeError):
        layer.set_weights([*drawn, np.zeros(1)])


@every_layer
def test_copies_and_pickles(name: str) -> None:
    layer, x = make(name).eval(), inputs(name)
    expected = layer(x)
    stored = io.BytesIO()
    torch.save(layer, stored)
    stored.seek(0)
    for other in (copy.deepcopy(layer), torch.load(stored, weights_only=False)):
        torch.testing.assert_close(other(x), expected, rtol=0, atol=0)


@every_layer
def test_frozen_layers_have_nothing_to_train(name: str) -> None:
    layer = make(name, trainable=False)
    layer(inputs(name))
    assert not layer.trainable
    assert not any(p.requires_grad for p in layer.parameters())
    layer.trainable = True
    assert all(p.requires_grad for p in layer.parameters())


@every_layer
def test_wrong_argument_names_meet_the_nearest(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"(?s){name} has no argument 'trainabel'.*trainable"):
        make(name, trainabel=False)


@pytest.mark.parametrize("name", [n for n in NAMES if LAYERS[n].rank is not None])
def test_wrong_rank_names_the_layer(name: str) -> None:
    more = (4,) if LAYERS[name].rank == 2 else ()
    with pytest.raises(ShapeError, match=rf"layer 'mine' \({name}\)"):
        make(name, name="mine")(torch.zeros(2, 3, *more))
    with pytest.raises(ShapeError, match=name):
        make(name)(SymbolicTensor((None, 3, *more)))


@pytest.mark.parametrize("name", [n for n in NAMES if LAYERS[n].fixes_channels])
def test_wrong_channels_name_the_layer(name: str) -> None:
    layer, x = make(name, name="mine"), inputs(name)
    layer(x)
    with pytest.raises(ShapeError, match=rf"layer 'mine' \({name}\)"):
        layer(torch.cat([x, x], -1))
    with pytest.raises(ShapeError, match=name):
        make(name)(SymbolicTensor((*((None,) * x.ndim),)))


@every_layer
def test_numpy_arrays_are_refused_with_the_remedy(name: str) -> None:
    x = tensors_of(inputs(name))[0].numpy()
    with pytest.raises(ShapeError, match="from_numpy"):
        make(name)(x)


@every_layer
def test_it_says_what_it_is(name: str) -> None:
    layer = make(name)
    text = repr(layer)
    assert text.startswith(name)
    assert all(key in text for key in SAMPLES[name].config)


@every_layer
def test_the_window_is_a_size_and_a_stride(name: str) -> None:
    layer = make(name)
    layer(inputs(name))
    window = layer.window()
    assert window is None or (window[0] >= 1 and window[1] > 0)


@every_layer
def test_it_stands_in_a_torch_sequential_and_moves_as_a_module(name: str) -> None:
    layer = make(name)
    x = inputs(name)
    expected = call(layer.eval(), x)
    chain = nn.Sequential(layer) if not SAMPLES[name].takes_list else layer
    assert call(chain, x).shape == expected.shape
    assert set(layer.state_dict()) == {n for n, _ in [*layer.named_parameters(), *layer.named_buffers()]}
