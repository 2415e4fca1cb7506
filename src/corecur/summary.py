"""The table ``model.summary()`` prints: what each layer makes and costs, computed on shapes alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from corecur.engine.evaluating import evaluating
from corecur.errors import ConfigError
from corecur.layers.layer import Layer
from corecur.layers.symbolic import run_on_shapes

if TYPE_CHECKING:
    from corecur.models import Model


@dataclass
class LayerCost:
    """One row: a layer, the shape it makes, and what that takes for one sample."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activation_bytes: int
    receptive_field: str


def layer_costs(
    model: Model, *, input_shape: tuple[int | None, ...] | None = None, unknown: int = 96
) -> list[LayerCost]:
    """The cost of each layer for one sample; unknown sizes count as ``unknown``.

    Multiply-adds are those of convolutions and matrix products, as torch's flop counter sees them.
    """
    from torch.utils.flop_counter import FlopCounterMode

    samples = _shapes_alone(model, input_shape, unknown)
    rows: list[LayerCost] = []
    reach = _Reach(model, samples)
    direct = {id(module): name for name, module in model.named_children()} or {id(model): model.name or "model"}

    def before(module: nn.Module, args: Any) -> None:
        counter: Any = FlopCounterMode(display=False)
        counter.__enter__()
        open_counters.append(counter)

    def after(module: nn.Module, args: Any, output: Any) -> None:
        counter = open_counters.pop()
        counter.__exit__(None, None, None)
        tensor = output if isinstance(output, Tensor) else next(iter(output))
        rows.append(
            LayerCost(
                name=direct[id(module)],
                kind=type(module).__name__,
                shape=tuple(tensor.shape[1:]),
                parameters=sum(p.numel() for p in module.parameters()),
                multiply_adds=counter.get_total_flops() // 2,
                activation_bytes=tensor[:1].numel() * tensor.element_size(),
                receptive_field=reach.of(tensor),
            )
        )

    open_counters: list[Any] = []
    modules = [m for m in model.modules() if id(m) in direct]
    handles = [*reach.handles, *(m.register_forward_pre_hook(before) for m in modules)]
    handles += [m.register_forward_hook(after) for m in modules]
    try:
        with torch.no_grad(), evaluating(model):
            run_on_shapes(model, samples, {})
    finally:
        while open_counters:  # one stays open where a layer raised
            open_counters.pop().__exit__(None, None, None)
        for handle in handles:
            handle.remove()
    return rows


def _shapes_alone(model: Model, input_shape: tuple[int | None, ...] | None, unknown: int) -> tuple[Tensor, ...]:
    """One sample of each input, without numbers; a model that is not built is built for them."""
    if input_shape is not None:
        inputs = [((None, *input_shape), torch.float32)]
    else:
        inputs = [(symbol.shape, symbol.dtype) for symbol in model.input_symbols]
    if not inputs and model.input_shape is not None:
        inputs = [(model.input_shape, torch.float32)]
    if not inputs:
        raise ConfigError(
            "the model is not built yet, so there are no shapes to show",
            do="give the first layer input_shape=…, call the model once, or pass summary(input_shape=…)",
        )
    samples = [([1] + [size or unknown for size in shape[1:]], dtype) for shape, dtype in inputs]
    if not model.built:
        model(*[torch.zeros(sizes, dtype=dtype) for sizes, dtype in samples])
    return tuple(torch.empty(sizes, dtype=dtype, device="meta") for sizes, dtype in samples)


class _Reach:
    """Follows how many input positions along one axis a tensor sees: r ← r + (k − 1) j, j ← j s; r infinite for all.

    It listens to the innermost layers; of a tensor that something else made it knows nothing.
    """

    def __init__(self, model: nn.Module, samples: tuple[Tensor, ...]) -> None:
        self._by_tensor: dict[int, tuple[float | Fraction, int | Fraction]] = {id(t): (1, 1) for t in samples}
        self._kept = [*samples]  # a tensor's id means something only while it lives
        self.handles = [m.register_forward_hook(self._after) for m in model.modules() if _knows_its_window(m)]

    def of(self, tensor: Tensor) -> str:
        """The reach as the table shows it."""
        if id(tensor) not in self._by_tensor:
            return "?"
        reach, _ = self._by_tensor[id(tensor)]
        return "all" if reach == math.inf else str(math.ceil(reach))

    def _after(self, module: nn.Module, args: Any, output: Any) -> None:
        inputs = _flat(args)
        known = [self._by_tensor[id(t)] for t in inputs if id(t) in self._by_tensor]
        window = _window_of(module, inputs)
        if window is None or not known or len(known) < len(inputs):
            return
        reach, jump = max(r for r, _ in known), max(j for _, j in known)
        size, stride = window
        for tensor in _flat(output):
            self._kept.append(tensor)
            self._by_tensor[id(tensor)] = (reach + (size - 1) * jump, jump * stride)


def _knows_its_window(module: nn.Module) -> bool:
    own = isinstance(module, Layer) and type(module).window is not Layer.window
    return own or not any(True for _ in module.children())


# torch's own modules that compute each value from the one at its place.
_POINTWISE = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout, nn.Dropout2d, nn.ELU, nn.Flatten, nn.GELU, nn.Identity, nn.LeakyReLU,
    nn.ReLU, nn.Sigmoid, nn.SiLU, nn.Softmax, nn.Tanh,
)  # fmt: skip


def _window_of(module: nn.Module, inputs: list[Tensor]) -> tuple[float, int | Fraction] | None:
    """A module's window and stride, the window infinite where it sees all; None where that is not known."""
    if isinstance(module, Layer):
        return module.window() or (math.inf, 1)
    if isinstance(module, _POINTWISE):
        return 1, 1
    if isinstance(module, nn.Linear):
        return (math.inf if inputs[0].ndim == 2 else 1), 1
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return (module.kernel_size[0] - 1) * module.dilation[0] + 1, module.stride[0]
    return None


def _flat(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for item in value for t in _flat(item)] if isinstance(value, (list, tuple)) else []


def summarize(model: Model, *, input_shape: tuple[int | None, ...] | None = None) -> str:
    """The table as text.

    >>> from corecur.layers.dense import Dense
    >>> from corecur.models import Sequential
    >>> print(summarize(Sequential([Dense(4, input_shape=(3,))], name="tiny")))
    model tiny
    layer  kind   output  parameters  multiply-adds  activations  sees
    dense  Dense  (4,)            16             12         16 B   all
    <BLANKLINE>
    parameters: 16 (16 trainable), 64 B
    for one sample: 12 multiply-adds, 16 B of activations
    """
    costs = layer_costs(model, input_shape=input_shape)
    shapes: list[tuple[int | None, ...]] = [row.shape for row in costs]
    guess = ""
    if None in (input_shape or ()) or any(None in symbol.shape[1:] for symbol in model.input_symbols):
        guess = ", unknown sizes taken as 96"
        others = layer_costs(model, input_shape=input_shape, unknown=144)
        shapes = [
            tuple(a if a == b else None for a, b in zip(row.shape, other.shape, strict=True))
            for row, other in zip(costs, others, strict=True)
        ]
    header = ("layer", "kind", "output", "parameters", "multiply-adds", "activations", "sees")
    table = [header] + [
        (
            row.name,
            row.kind,
            str(shape),
            f"{row.parameters:,}",
            f"{row.multiply_adds:,}",
            as_bytes(row.activation_bytes),
            row.receptive_field,
        )
        for row, shape in zip(costs, shapes, strict=True)
    ]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    total = sum(p.numel() for p in model.parameters())
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    size = sum(t.numel() * t.element_size() for t in model.parameters())
    work = sum(row.multiply_adds for row in costs)
    memory = sum(row.activation_bytes for row in costs)
    return "\n".join(
        [f"model {model.name or type(model).__name__}", *lines, ""]
        + [f"parameters: {total:,} ({trainable:,} trainable), {as_bytes(size)}"]
        + [f"for one sample{guess}: {work:,} multiply-adds, {as_bytes(memory)} of activations"]
    )


def as_bytes(count: int) -> str:
    """A number of bytes as a person reads it.

    >>> as_bytes(512), as_bytes(4_194_304)
    ('512 B', '4.0 MiB')
    """
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
