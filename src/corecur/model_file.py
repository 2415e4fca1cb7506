"""A model as a model file and back: its structure, its weights and how it was compiled."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from corecur import architecture
from corecur.bundle.open import Bundle, open_untrusted
from corecur.bundle.write import write_bundle
from corecur.engine.losses import LOSSES
from corecur.engine.metrics import METRICS
from corecur.engine.optimizers import OPTIMIZERS
from corecur.errors import BundleError, CorecurError, RunError, ShapeError
from corecur.models import Model


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
    description = bundle.model
    if not isinstance(description, dict) or set(description) != {"network", "compiled"}:
        raise BundleError("bad-architecture", "model.json is not of a known form", where=bundle.path)
    with torch.device("meta"):
        model = architecture.build(description["network"], custom=custom)
    if not isinstance(model, Model):
        raise BundleError("bad-architecture", "model.json does not describe a model", where=bundle.path)
    state = bundle.weights(model.state_dict())
    model.to_empty(device="cpu")
    model.load_state_dict(state)
    model.eval()
    if description["compiled"] is not None:
        _compile(model, description["compiled"], bundle.path)
    return model


def _describe_compiled(model: Model) -> dict[str, Any] | None:
    """The compile arguments if all of them have names; a function of one's own is not written."""
    compiled = model._compiled
    if compiled is None:
        return None
    optimizer = _describe_choice(compiled["optimizer"], OPTIMIZERS)
    loss = _describe_choice(compiled["loss"], LOSSES)
    metrics = [_describe_choice(metric, METRICS) for metric in compiled["metrics"] or []]
    if optimizer is None or loss is None or None in metrics or compiled["loss_weights"] is not None:
        return None
    return {"optimizer": optimizer, "loss": loss, "metrics": metrics, "precision": compiled["precision"]}


def _describe_choice(value: Any, table: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        return value
    if dataclasses.is_dataclass(value) and type(value).__name__ in table:
        fields = dataclasses.asdict(value)  # type: ignore[arg-type]
        if all(item is None or isinstance(item, (bool, int, float, str)) for item in fields.values()):
            return {"kind": type(value).__name__, **fields}
    return None


def _compile(model: Model, compiled: Any, path: Path) -> None:
    try:
        model.compile(
            optimizer=_find_choice(compiled["optimizer"], OPTIMIZERS),
            loss=_find_choice(compiled["loss"], LOSSES),
            metrics=[_find_choice(metric, METRICS) for metric in compiled["metrics"]],
            precision=compiled["precision"],
        )
    except (CorecurError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            "bad-architecture", f"the model's compile settings do not fit: {error}", where=path
        ) from error


def _find_choice(value: Any, table: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        return value
    return table[value["kind"]](**{key: item for key, item in value.items() if key != "kind"})


def save_weights(model: nn.Module, path: Path) -> None:
    """The state dict as one safetensors file."""
    from safetensors.torch import save_file

    state: dict[str, Tensor] = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, str(path))
    except OSError as error:
        raise RunError("the weights cannot be written", where=path, got=error.strerror) from error


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill a built model from such a file; ShapeError where they do not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise BundleError("bad-weights", f"the weights cannot be read: {error}", where=path) from error
    expected = model.state_dict()
    wrong = sorted(
        n for n in {*state, *expected} if n not in state or n not in expected or state[n].shape != expected[n].shape
    )
    if wrong:
        raise ShapeError(
            "the weights are those of another model", where=path, got=f"no match for {', '.join(wrong[:5])}"
        )
    model.load_state_dict(state)
