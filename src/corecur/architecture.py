"""A model's structure as JSON and back, through the literal layer table; a name in a file never chooses code.

The form is closed: what is not described here is refused.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from corecur.bundle.strict_json import is_plain
from corecur.errors import BundleError, ConfigError, CorecurError, nearest
from corecur.graph import unique_names
from corecur.layers import LAYERS
from corecur.layers import initializers as _initializers
from corecur.layers import regularizers as _regularizers
from corecur.layers.activation import ACTIVATIONS
from corecur.layers.layer import Layer, accepted_arguments
from corecur.layers.symbolic import LARGEST_TRIAL, SymbolicTensor, symbols_in
from corecur.models import Input, Model, Sequential
from corecur.shape_budget import ShapeBudget

DTYPES = {
    str(t).removeprefix("torch."): t for t in (torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8)
}

#: Values in a layer's config that are objects: each a frozen dataclass of numbers and names.
VALUES: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (
        _initializers.Constant,
        _initializers.Dirac,
        _initializers.Ones,
        _initializers.Orthogonal,
        _initializers.RandomNormal,
        _initializers.RandomUniform,
        _initializers.TruncatedNormal,
        _initializers.VarianceScaling,
        _initializers.Zeros,
        _regularizers.L1,
        _regularizers.L1L2,
        _regularizers.L2,
    )
}

Custom = Mapping[str, type[nn.Module]]

# How many layers one call runs, all calls of shared ones counted; the deepest networks in use have about a thousand.
_MOST_RUNS = 4_000
# The largest whole number in a description: no size of a layer that fits in memory is as large.
_MOST_NUMBER = 2**31 - 1

# What Python and torch raise where a description from a stranger makes no sense.
_MISFITS = (CorecurError, AttributeError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


def describe(model: nn.Module, *, name: str | None = None) -> dict[str, Any]:
    """The structure of a built model or layer as JSON values; ``name`` is what the model around it calls it.

    >>> from corecur.layers.dense import Dense
    >>> found = describe(Sequential([Dense(2, "relu", input_shape=(3,))]))
    >>> found["kind"], found["input"], found["layers"][0]["config"]["activation"]
    ('Sequential', {'shape': [None, 3], 'dtype': 'float32'}, 'relu')
    """
    if isinstance(model, Layer):
        name = name or model.name
    if isinstance(model, Model) and not model.built:
        raise ConfigError("a model is saved once it is built", do="call it, fit it, or give input_shape=…")
    if type(model) is Sequential:
        return {
            "kind": "Sequential",
            "name": name,
            "input": _describe_symbol(model.input_symbols[0]),
            "layers": [describe(layer, name=name) for name, layer in model.named_children()],
        }
    if type(model) is Model:
        return _describe_graph(model, name)
    if isinstance(model, Layer):
        description = {"kind": type(model).__name__, "name": name, "config": _describe_config(model)}
        return description | ({"inputs": _describe_call(model)} if isinstance(model, Model) else {})
    raise ConfigError(
        f"a model with a {type(model).__name__} inside cannot be described",
        do="put it in a Layer subclass of your own, or save the weights alone with save_weights",
    )


def _describe_config(layer: Layer) -> dict[str, Any]:
    shared = {"name", "input_shape"}
    config = {k: v for k, v in layer.get_config().items() if k not in shared}
    if layer.trainable != config.get("trainable", True) and "trainable" in accepted_arguments(type(layer)):
        config["trainable"] = layer.trainable
    return {k: _describe_value(v, f"{layer.title}, {k}") for k, v in config.items()}


def _describe_call(model: Model) -> list[dict[str, Any]]:
    """What a model of a user's own class was first called with, from which it can be built again."""
    if not model.input_symbols:
        raise ConfigError(
            f"a {type(model).__name__} can be described after a call with tensors, one for each input",
            do="call it as model(a, b), or save the weights alone with save_weights",
        )
    return [_describe_symbol(symbol) for symbol in model.input_symbols]


def _describe_value(value: Any, where: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, (tuple, list)):
        return [_describe_value(item, where) for item in value]
    if type(value) in VALUES.values():
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"kind": type(value).__name__} | {k: _describe_value(v, where) for k, v in fields.items()}
    if isinstance(value, nn.Module):
        return {"layer": describe(value)}
    for name, function in ACTIVATIONS.items():
        if value is function:
            return name
    raise ConfigError(
        "a model file holds names and finite numbers, not code",
        where=where,
        got=repr(value),
        do="use a named activation, or put the function in a Layer subclass of your own",
    )


def _describe_symbol(symbol: SymbolicTensor) -> dict[str, Any]:
    return {"shape": list(symbol.shape), "dtype": str(symbol.dtype).removeprefix("torch.")}


def _describe_graph(model: Model, name: str | None) -> dict[str, Any]:
    graph = model._graph
    if graph is None:
        raise ConfigError("this model has no graph to describe")
    places: dict[int, list[int]] = {id(symbol): [-1, number] for number, symbol in enumerate(graph.inputs)}
    for number, node in enumerate(graph.nodes):
        places |= {id(symbol): [number, output] for output, symbol in enumerate(node.outputs)}
    names = {id(layer): name for name, layer in model.named_children()}

    def place(value: Any) -> Any:
        if isinstance(value, SymbolicTensor):
            return {"tensor": places[id(value)]}
        if isinstance(value, (list, tuple)):
            return [place(item) for item in value]
        return _describe_value(value, "an argument of a call")

    return {
        "kind": "Model",
        "name": name,
        "inputs": [_describe_symbol(symbol) for symbol in graph.inputs],
        "layers": [describe(layer, name=names[id(layer)]) for layer in graph.layers],
        "calls": [
            {
                "layer": names[id(node.layer)],
                "args": [place(a) for a in node.args],
                "kwargs": {key: place(value) for key, value in node.kwargs.items()},
            }
            for node in graph.nodes
        ],
        "outputs": place(graph.outputs),
    }


def build(description: Any, *, custom: Iterable[type[nn.Module]] = ()) -> Any:
    """The model that such JSON values describe, its weights freshly initialised.

    BundleError where the description is not of the form ``describe`` writes.

    >>> from corecur.layers.dense import Dense
    >>> build(describe(Sequential([Dense(2, input_shape=(3,))]))).output_shape
    (None, 2)
    """
    known = {cls.__name__: cls for cls in custom}
    try:
        _check_extent(description)
        with ShapeBudget(rows=_rows(description)):
            return _build(description, known)
    except BundleError:
        raise
    except MemoryError as error:
        raise BundleError("too-much", "the network does not fit in memory") from error
    except _MISFITS as error:
        raise BundleError("bad-architecture", f"the model's description does not fit together: {error}") from error


def _check_extent(description: Any) -> None:
    """Refuse before anything is built what would take long to build, and values that no model writes."""
    runs = _runs(description)
    if runs > _MOST_RUNS:
        raise BundleError("too-much", f"the network runs more than {_MOST_RUNS:,} layers")


def _runs(value: Any) -> int:
    """How many layers run, once for every call; a layer that is called twice runs what is inside it twice."""
    if isinstance(value, list):
        return sum(map(_runs, value))
    if isinstance(value, dict):
        for key in value:
            _check_value(key)
        layers, calls = value.get("layers"), value.get("calls")
        each = [(_name(layer), _runs(layer)) for layer in _listed(layers)]
        by_name = dict(each)
        if isinstance(calls, list):
            inside = sum(by_name.get(_name(call, "layer"), 1) for call in calls)
        else:
            inside = sum(runs for _, runs in each)
        rest = sum(_runs(item) for key, item in value.items() if key != "layers" or not isinstance(layers, list))
        return int(inside + rest + isinstance(value.get("kind"), str))
    _check_value(value)
    return 0


def _check_value(value: Any) -> None:
    if isinstance(value, str) and value and not is_plain(value):
        raise BundleError(
            "bad-architecture", f"the model's description holds a text that is no name: {ascii(value[:80])}"
        )
    if isinstance(value, int) and not -_MOST_NUMBER <= value <= _MOST_NUMBER:
        raise BundleError("too-much", f"the model's description holds the number {value:,}")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _name(value: Any, key: str = "name") -> Any:
    name = value.get(key) if isinstance(value, dict) else None
    return name if isinstance(name, str) else None


def _rows(description: Any) -> int:
    """The largest batch that the inputs are tried with."""
    inputs = [description.get("input"), *_listed(description.get("inputs"))] if isinstance(description, dict) else []
    shapes = [_listed(one.get("shape")) for one in inputs if isinstance(one, dict)]
    sizes: list[Any] = [shape[0] for shape in shapes if shape]
    rows = [size if isinstance(size, int) and size < LARGEST_TRIAL else LARGEST_TRIAL for size in sizes]
    return max(rows, default=1)


def _build(description: Any, custom: Custom) -> Any:
    kind = description.get("kind") if isinstance(description, dict) else None
    name = description.get("name") if isinstance(description, dict) else None
    if name is not None and not (isinstance(name, str) and name):
        raise BundleError("bad-architecture", "a layer's name is not a text")
    if kind == "Sequential":
        _only(description, {"kind", "name", "input", "layers"})
        layers = _build_layers(description, custom)
        return Sequential([_build_input(description["input"]), *layers], name=description["name"])
    if kind == "Model":
        return _build_graph(description, custom)
    if isinstance(kind, str):
        return _build_layer(description, kind, custom)
    raise BundleError("bad-architecture", "a layer's description has no kind")


def _build_layers(description: dict[str, Any], custom: Custom) -> list[Any]:
    layers = description["layers"]
    names = [name for layer in layers if (name := _name(layer)) is not None]
    if any("." in name or "/" in name for name in names):
        raise BundleError("bad-architecture", "a layer's name has no dots or slashes")
    return [_build(layer, custom) for layer in layers]


def _build_layer(description: dict[str, Any], kind: str, custom: Custom) -> Any:
    _only(description, {"kind", "name", "config", "inputs"})
    if kind in set(LAYERS):  # the exact names only: the table itself takes other spellings
        cls: Any = LAYERS[kind]
    elif kind in custom:
        cls = custom[kind]
    else:
        guess = nearest(kind, LAYERS)
        raise BundleError(
            "unknown-layer",
            f"the model has a layer of kind {kind!r}, which is not one of corecur's"
            + (f" (the nearest is {guess!r})" if guess else ""),
            do=f"if it is your own class, pass it: load(path, custom=[{kind if kind.isidentifier() else 'YourLayer'}])",
        )
    config = {key: _build_value(value, custom) for key, value in description["config"].items()}
    _only(config, set(accepted_arguments(cls)))
    layer = cls(**config)
    if description["name"] is not None:
        layer.name = description["name"]
    if "inputs" in description:
        layer(*[_build_input(one) for one in description["inputs"]])
    return layer


def _build_value(value: Any, custom: Custom) -> Any:
    if isinstance(value, list):
        return tuple(_build_value(item, custom) for item in value)
    if not isinstance(value, dict):
        return value
    if set(value) == {"layer"}:
        return _build(value["layer"], custom)
    cls = VALUES.get(value.get("kind", ""))
    if cls is None:
        raise BundleError("unknown-value", f"a setting is of the unknown kind {value.get('kind')!r}")
    return cls(**{key: item for key, item in value.items() if key != "kind"})


def _build_input(description: dict[str, Any]) -> SymbolicTensor:
    _only(description, {"shape", "dtype"})
    return Input(batch_shape=tuple(description["shape"]), dtype=DTYPES[description["dtype"]])


def _build_graph(description: dict[str, Any], custom: Custom) -> Model:
    _only(description, {"kind", "name", "inputs", "layers", "calls", "outputs"})
    layers = _build_layers(description, custom)
    by_name = dict(zip(unique_names(layers), layers, strict=True))
    inputs = [_build_input(one) for one in description["inputs"]]
    made: dict[int, list[SymbolicTensor]] = {-1: inputs}

    def resolve(value: Any) -> Any:
        if isinstance(value, dict) and set(value) == {"tensor"}:
            node, output = value["tensor"]
            if type(node) is not int or type(output) is not int or output < 0:
                raise BundleError("bad-architecture", f"there is no tensor {value['tensor']}")
            return made[node][output]
        if isinstance(value, list):
            return [resolve(item) for item in value]
        return _build_value(value, custom)

    for number, call in enumerate(description["calls"]):
        _only(call, {"layer", "args", "kwargs"})
        keywords = {key: resolve(value) for key, value in call["kwargs"].items()}
        called = by_name[call["layer"]](*[resolve(value) for value in call["args"]], **keywords)
        made[number] = list(symbols_in(called))
    return Model(inputs, resolve(description["outputs"]), name=description["name"])


def _only(found: Mapping[str, Any], allowed: set[str]) -> None:
    extra = set(found) - allowed
    if extra:
        raise BundleError("unknown-field", f"the model's description has unknown fields: {', '.join(sorted(extra))}")
