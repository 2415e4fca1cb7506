"""A model as a model file and back: its structure, its weights and how it was compiled."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from corecur import architecture
from corecur.bundle.open import Bundle, open_tensors, open_untrusted
from corecur.bundle.tensor_file import table_of, tensor_content
from corecur.bundle.write import write_bundle, write_file
from corecur.data.memory import available_memory
from corecur.engine.losses import LOSSES
from corecur.engine.metrics import METRICS
from corecur.engine.optimizers import OPTIMIZERS
from corecur.engine.schedules import SCHEDULES
from corecur.errors import BundleError, CorecurError, RunError, ShapeError
from corecur.models import Model

# The arguments of compile that a file holds, each with the table its objects come from.
_COMPILED: dict[str, Mapping[str, Any]] = {
    "optimizer": OPTIMIZERS,
    "loss": LOSSES,
    "metrics": METRICS,
    "loss_weights": {},
    "precision": {},
}


class _NamelessError(Exception):
    """A compile argument is of no table's kind."""


def save_model(model: Model, path: Path, **members: Any) -> Path:
    """Write ``model`` as a bundle; further members (labels, preprocess, card) as ``write_bundle`` takes them."""
    description = {"network": architecture.describe(model), "compiled": _describe_compiled(model)}
    return write_bundle(path, model=description, weights=model.state_dict(), **members)


def load_model(path: Path, *, custom: Iterable[type[nn.Module]] = ()) -> Model:
    """The model in a bundle; BundleError if it is not one, is damaged, or does not fit together."""
    model: Model = model_in(open_untrusted(path), custom=custom)
    return model


def model_in(bundle: Bundle, *, custom: Iterable[type[nn.Module]] = ()) -> Any:
    """The model of an opened bundle: built on shapes alone, compared with the weights, and only then given memory."""
    model = shapes_in(bundle, custom=custom)
    _give_memory(model, bundle.path)
    bundle.tensor_file.fill(model.state_dict())
    model.eval()
    if bundle.model["compiled"] is not None:
        _compile(model, bundle.model["compiled"], bundle.path)
    return model


def shapes_in(bundle: Bundle, *, custom: Iterable[type[nn.Module]] = ()) -> Any:
    """The model of an opened bundle without values: what it is can be seen, and that the weights are its own."""
    description = bundle.model
    if not isinstance(description, dict) or set(description) != {"network", "compiled"}:
        raise BundleError("bad-architecture", "model.json is not of a known form", where=bundle.path)
    with torch.device("meta"):
        model = architecture.build(description["network"], custom=custom)
    if not isinstance(model, Model):
        raise BundleError("bad-architecture", "model.json does not describe a model", where=bundle.path)
    bundle.tensor_file.check(table_of(model.state_dict()))
    return model


def _give_memory(model: Model, path: Path) -> None:
    """Put a model of shapes into the processor's memory, its values as they come."""
    size = sum(tensor.numel() * tensor.itemsize for tensor in model.state_dict().values())
    try:
        if size <= available_memory():
            model.to_empty(device="cpu")
            return
    except (MemoryError, RuntimeError):  # torch raises the second where the system gives it none
        raise BundleError("too-much", f"the weights take {size:,} bytes, which cannot be had", where=path) from None
    raise BundleError("too-much", f"the weights take {size:,} bytes, more than is free", where=path)


def _describe_compiled(model: Model) -> dict[str, Any] | None:
    """The compile arguments if all of them have names; a function of one's own is not written."""
    compiled = model._compiled
    if compiled is None:
        return None
    try:
        return {key: _describe_choice(compiled[key], table) for key, table in _COMPILED.items()}
    except _NamelessError:
        return None


def _describe_choice(value: Any, table: Mapping[str, Any]) -> Any:
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, (list, tuple)):
        return [_describe_choice(item, table) for item in value]
    if type(value) not in table.values():
        raise _NamelessError
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {"kind": type(value).__name__} | {k: _describe_choice(v, SCHEDULES) for k, v in fields.items()}


def _compile(model: Model, compiled: Any, path: Path) -> None:
    if not isinstance(compiled, dict) or set(compiled) != set(_COMPILED):
        raise BundleError("bad-architecture", "the compile settings are not of a known form", where=path)
    try:
        model.compile(**{key: _find_choice(compiled[key], table) for key, table in _COMPILED.items()})
    except (CorecurError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            "bad-architecture", f"the model's compile settings do not fit: {error}", where=path
        ) from error


def _find_choice(value: Any, table: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return tuple(_find_choice(item, table) for item in value)
    if isinstance(value, dict):
        return table[value["kind"]](**{k: _find_choice(v, SCHEDULES) for k, v in value.items() if k != "kind"})
    return value


def save_weights(model: nn.Module, path: Path) -> None:
    """The state dict as one safetensors file, written whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_all = tensor_content(model.state_dict())
        write_file(path, lambda file: write_all(file.write))
    except OSError as error:
        raise RunError("the weights cannot be written", where=path, got=error.strerror) from error


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill a built model from such a file; ShapeError where they do not fit."""
    file, state = open_tensors(path), model.state_dict()
    found, expected = file.table, table_of(state)
    wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    if wrong:
        raise ShapeError(
            "the weights are those of another model", where=path, got=f"no match for {', '.join(wrong[:5])}"
        )
    model.load_state_dict(file.load(expected))
