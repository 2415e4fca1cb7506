"""The recurrences whose equations stand in ``kernels/cell.py``, as layers: weights, dropout, and the way to a kernel.

B batch, T time, C features, H units, P outputs, G gates · H.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from corecur.errors import ConfigError
from corecur.kernels.cell import RECURRENCES, Recurrence, Work, input_part
from corecur.kernels.choose import OWN, Request, asked_for, choose, run, run_cell
from corecur.kernels.native_step import is_single
from corecur.kernels.packed_rows import Packing
from corecur.kernels.time_loop import run_plain
from corecur.layers.activation import ACTIVATIONS, Function, find_activation
from corecur.layers.dropout import check_rate, drop
from corecur.layers.initializers import Initializer
from corecur.layers.keras_weight import KerasWeight, permuted
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.plain import is_plain
from corecur.layers.recurrent import Reading, Recurrent, RecurrentOptions
from corecur.layers.recurrent_cell import RecurrentCell
from corecur.layers.regularizers import Regularizer
from corecur.layers.symbolic import Shape


class CellOptions(LayerOptions, total=False):
    """What the constructors of SimpleRNN, LSTM, GRU and of their cells share."""

    use_bias: bool
    kernel_initializer: str | Initializer
    recurrent_initializer: str | Initializer
    bias_initializer: str | Initializer
    kernel_regularizer: str | Regularizer | None
    recurrent_regularizer: str | Regularizer | None
    bias_regularizer: str | Regularizer | None
    dropout: float
    recurrent_dropout: float
    zoneout: float | tuple[float, ...]


class GatedOptions(CellOptions, RecurrentOptions, total=False):
    """What the constructors of SimpleRNN, LSTM and GRU share."""

    recompute: bool


def _softmax(x: Tensor) -> Tensor:
    return torch.softmax(x, dim=-1)


# Functions that leave their logits on the result, which inside a recurrence nobody reads and no compiler takes.
_PLAIN: dict[str, Function] = {"sigmoid": torch.sigmoid, "softmax": _softmax}


def step_function(spec: str | Function | None) -> tuple[str, Function]:
    """An activation inside a recurrence: its name, ``"own"`` for an unknown function, and the function.

    >>> step_function("sigmoid")
    ('sigmoid', <built-in method sigmoid ...>)
    """
    found = find_activation(spec)
    name = next((name for name, known in ACTIVATIONS.items() if found in (known, _PLAIN.get(name))), OWN)
    return name, _PLAIN.get(name, found)


@functools.lru_cache(maxsize=256)
def _request(
    kind: str,
    activation: str,
    recurrent_activation: str,
    recurrent_dropout: bool,
    zoneout: bool,
    device: str,
    dtype: torch.dtype,
    autocast: bool,
    transformed: bool,
    single: bool,
    units: int,
    trained_rows: int,
) -> Request:
    """The request of these fields, made once: one is asked for in every call."""
    name = str(dtype).removeprefix("torch.")
    rest = (autocast, transformed, single, units, trained_rows)
    return Request(kind, activation, recurrent_activation, recurrent_dropout, zoneout, device, name, *rest)


class Gated(Layer):
    """What SimpleRNN, LSTM, GRU and their cells share.

    Weights have the names, shapes and gate order of ``torch.nn``. ``dropout`` hides inputs and ``recurrent_dropout``
    outputs of the step before from the weights, each with one pattern for all steps of a call (Gal & Ghahramani 2016).
    ``zoneout`` (Krueger et al. 2017) lets single values of the state stay as they were: by chance in training, in part
    otherwise, ``h ← zoneout · h_old + (1 - zoneout) · h_new``; one rate, or one for each state: (h, c) for an LSTM.
    ``recompute`` keeps for the way back no more than outputs and the states between pieces of the sequence and computes
    the rest again there: for sequences of thousands of steps; the results are the same.
    """

    #: What the names of ``torch.nn`` end with: its layers number their weights, its cells do not.
    suffix: ClassVar[str] = ""
    #: The order of the gates in Keras, as places in the order of ``torch.nn``.
    keras_gates: ClassVar[tuple[int, ...]] = (0,)

    def __init__(
        self,
        units: int,
        *,
        kind: str,
        activation: str | Function | None,
        recurrent_activation: str | Function | None = "sigmoid",
        outputs: int | None = None,
        use_bias: bool = True,
        kernel_initializer: str | Initializer = "glorot_uniform",
        recurrent_initializer: str | Initializer = "orthogonal",
        bias_initializer: str | Initializer = "zeros",
        kernel_regularizer: str | Regularizer | None = None,
        recurrent_regularizer: str | Regularizer | None = None,
        bias_regularizer: str | Regularizer | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        zoneout: float | tuple[float, ...] = 0.0,
        recompute: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        name = type(self).__name__
        for what, size in (("units", units), ("a projection to units", outputs)):
            if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
                raise ConfigError(f"{name} needs {what}", got=repr(size), expected="a whole number from 1")
        self.units = units
        self.activation = activation
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer
        self.recurrent_initializer = recurrent_initializer
        self.bias_initializer = bias_initializer
        self.kernel_regularizer = kernel_regularizer
        self.recurrent_regularizer = recurrent_regularizer
        self.bias_regularizer = bias_regularizer
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.zoneout = zoneout
        self.recompute = recompute
        self._kind = kind
        self._outputs = outputs or units
        self._phi_name, self._phi = step_function(activation)
        self._sigma_name, self._sigma = step_function(recurrent_activation)
        self._dropout = check_rate(dropout, f"{name}'s dropout")
        self._recurrent_dropout = check_rate(recurrent_dropout, f"{name}'s recurrent_dropout")
        self._zoneout = self._rates(zoneout)
        self._home: Layer | None = None
        self._ending = self.suffix
        named = (name for name in RECURRENCES[kind].weights if use_bias or name not in ("bias_ih", "bias_hh"))
        self._weight_names = tuple(named)

    def _rates(self, zoneout: float | tuple[float, ...]) -> tuple[float, ...]:
        """The zoneout rate of each state; none at all where all are 0."""
        name, states = type(self).__name__, self.recurrence.states
        rates = tuple(zoneout) if isinstance(zoneout, (tuple, list)) else (zoneout,) * states
        if len(rates) != states:
            raise ConfigError(f"{name}'s zoneout is one rate, or one for each state", got=zoneout, expected=states)
        checked = tuple(check_rate(rate, f"{name}'s zoneout") for rate in rates)
        return checked if any(checked) else ()

    @property
    def recurrence(self) -> Recurrence:
        """The equations."""
        return RECURRENCES[self._kind]

    @property
    def keras_biases(self) -> bool:
        """Whether Keras has two biases too: where one of them is inside the reset gate's reach."""
        return self._kind == "gru"

    def state_sizes(self) -> list[int]:
        """The width of each state: the output's, then the cell's."""
        return [self._outputs, self.units][: self.recurrence.states]

    def live_in(self, owner: Layer, suffix: str) -> None:
        """Keep the weights in ``owner``, their names ending with ``suffix``: both directions' weights in one layer."""
        self.__dict__["_home"] = owner  # past torch, which would take the owner for a part of this layer
        self._ending = self.suffix + suffix

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights, wherever they are kept."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = value
        for weight in self.weights().values() if self.built else ():
            weight.requires_grad_(value)

    def weights(self) -> dict[str, Tensor]:
        """The weights under their names in ``torch.nn`` without the layer's number; biases where there are some."""
        return {name: self._weight(name) for name in self._weight_names}

    def _weight(self, name: str) -> Tensor:
        home, stored = self._home or self, name + self._ending
        weight = home._parameters.get(stored)  # torch's own way to it takes several times as long
        return getattr(home, stored) if weight is None else weight

    def build(self, input_shape: Shape) -> None:
        shapes = self.recurrence.shapes(features=int(input_shape[-1] or 0), units=self.units, outputs=self._outputs)
        for name, shape in shapes.items():
            if not self.use_bias and name in ("bias_ih", "bias_hh"):
                continue
            initializer, regularizer = self._start_of(name)
            home = self._home or self
            weight = home.add_weight(shape, initializer=initializer, regularizer=regularizer)
            home.register_parameter(name + self._ending, weight)

    def _start_of(self, name: str) -> tuple[str | Initializer, str | Regularizer | None]:
        """How a weight starts, and its penalty."""
        # Where Keras has one bias, the second one starts from zero, so that their sum starts as Keras' does.
        second = self.bias_initializer if self.keras_biases else "zeros"
        starts: dict[str, tuple[str | Initializer, str | Regularizer | None]] = {
            "weight_ih": (self.kernel_initializer, self.kernel_regularizer),
            "weight_hh": (self.recurrent_initializer, self.recurrent_regularizer),
            "bias_ih": (self.bias_initializer, self.bias_regularizer),
            "bias_hh": (second, self.bias_regularizer),
            "weight_hr": (self.kernel_initializer, self.kernel_regularizer),
        }
        return starts.get(name, ("ones" if name.startswith("weight_norm") else "zeros", None))

    def request(self, *, single: bool = False, trained_rows: int = 0) -> Request:
        """What the choice of a kernel depends on, for ``corecur.kernels.explain``.

        ``single`` says that it is about one row, or one step of a few, without gradients; ``trained_rows`` are those of
        a training step whose rows are of one length.
        """
        weight = self._weight("weight_ih") if self.built else torch.empty(0)
        device = weight.device.type
        return _request(
            self._kind,
            self._phi_name,
            self._sigma_name,
            self.training and self._recurrent_dropout > 0,
            bool(self._zoneout),
            device,
            weight.dtype,
            torch.is_autocast_enabled(device),
            # As torch itself asks before it runs a function with a gradient of its own.
            torch._C._are_functorch_transforms_active(),
            single,
            self.units,
            trained_rows,
        )

    def over_time(
        self, x: Tensor, state: list[Tensor], lengths: Tensor | None, *, need_state: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """The kernel's outputs (B, T, P) and last states for ``x`` (B, T, C)."""
        return run(*self.asked_over_time(x, state, lengths, need_state))

    def asked_over_time(
        self, x: Tensor, state: list[Tensor], lengths: Tensor | None, need_state: bool
    ) -> tuple[Request, Work]:
        """What ``over_time`` asks for."""
        single = lengths is None and is_single(x, state, self.weights().values())
        rows = len(x) if self.training and lengths is None and torch.is_grad_enabled() else 0
        return self.request(single=single, trained_rows=rows), self._work(x, state, lengths, need_state)

    def over_masked(
        self, x: Tensor, state: list[Tensor], packing: Packing, *, need_outputs: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """The same over the real steps of a packing, wherever they stand in ``x`` (B, T, C), by a native kernel."""
        return run(*self.asked_over_masked(x, state, packing, need_outputs))

    def asked_over_masked(
        self, x: Tensor, state: list[Tensor], packing: Packing, need_outputs: bool
    ) -> tuple[Request, Work]:
        """What ``over_masked`` asks for."""
        work = self._work(x, state, None, True)
        return self.request(), dataclasses.replace(work, packing=packing, need_outputs=need_outputs)

    def over_shapes(self, x: Tensor) -> Tensor:
        """Outputs without values for ``x`` on the meta device, after the products that all steps together take."""
        weights = self.weights()
        x = x.to(weights["weight_ih"].dtype)
        input_part(x, weights)
        F.linear(x.new_empty(*x.shape[:2], self._outputs), weights["weight_hh"])
        if "weight_hr" in weights:
            F.linear(x.new_empty(*x.shape[:2], self.units), weights["weight_hr"])
        return x.new_empty(*x.shape[:2], self._outputs)

    def one_step(self, x: Tensor, state: list[Tensor]) -> list[Tensor]:
        """The new state for ``x`` (B, C)."""
        x = x.unsqueeze(1)
        work = self._work(x, state, None, True)
        return (
            run_cell(self.request(single=True), work)
            if is_single(x, state, work.weights.values())
            else run_plain(work)[1]
        )

    def _work(self, x: Tensor, state: list[Tensor], lengths: Tensor | None, need_state: bool) -> Work:
        weights = self.weights()
        dtype = weights["weight_ih"].dtype
        batch, steps, features = x.shape
        if self.training and self._dropout:
            x = drop(x, self._dropout, (batch, 1, features))
        pattern = None
        if self.training and self._recurrent_dropout:
            shape = (batch, self._outputs)
            pattern = drop(torch.ones(shape, dtype=dtype, device=x.device), self._recurrent_dropout, shape)
        zoneout = []
        for rate, size in zip(self._zoneout, self.state_sizes(), strict=False):  # none without zoneout
            kept = torch.empty((steps, batch, size) if self.training else (1, 1, 1), dtype=dtype, device=x.device)
            zoneout.append(kept.bernoulli_(rate) if self.training else kept.fill_(rate))
        return Work(
            self._kind,
            self._phi,
            self._sigma,
            x if x.dtype == dtype else x.to(dtype),
            [s if s.dtype == dtype else s.to(dtype) for s in state],
            weights,
            lengths=lengths,
            need_state=need_state,
            recurrent_dropout=pattern,
            zoneout=tuple(zoneout),
            recompute=self.recompute and torch.is_grad_enabled(),
        )

    def keras_state(self) -> Iterator[KerasWeight]:
        weights = self.weights()
        yield self._by_gate("kernel", weights["weight_ih"])
        yield self._by_gate("recurrent_kernel", weights["weight_hh"])
        if self.use_bias:
            yield self._keras_bias(weights["bias_ih"], weights["bias_hh"])
        known = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        yield from (permuted(name, weight, None) for name, weight in weights.items() if name not in known)

    def _blocks(self, weight: Tensor) -> list[Tensor]:
        """The gates' rows of a weight (G, …) in Keras' order."""
        blocks = weight.chunk(len(self.keras_gates), 0)
        return [blocks[place] for place in self.keras_gates]

    def _by_gate(self, name: str, weight: Tensor) -> KerasWeight:
        def write(values: Tensor) -> None:
            for block, column in zip(self._blocks(weight), values.chunk(len(self.keras_gates), 1), strict=True):
                block.copy_(column.t())

        return KerasWeight(name, lambda: torch.cat(self._blocks(weight)).t(), write)  # (G, C) -> (C, G)

    def _keras_bias(self, input_bias: Tensor, recurrent_bias: Tensor) -> KerasWeight:
        def read() -> Tensor:
            both = [torch.cat(self._blocks(bias)) for bias in (input_bias, recurrent_bias)]
            return torch.stack(both) if self.keras_biases else both[0] + both[1]

        def write(values: Tensor) -> None:
            rows = values if self.keras_biases else torch.stack([values, torch.zeros_like(values)])
            for bias, row in zip((input_bias, recurrent_bias), rows, strict=True):
                for block, part in zip(self._blocks(bias), row.chunk(len(self.keras_gates)), strict=True):
                    block.copy_(part)

        return KerasWeight("bias", read, write)


#: What a subclass may not have changed where a call of its own is computed elsewhere.
_WHOLE_CALL = ("__call__", "forward", "over_time", "over_masked", "reading", "result_of")


class GatedLayer(Gated, Recurrent):
    """A built-in recurrence over time."""

    suffix = "_l0"
    options_type = GatedOptions
    output_is_state = True

    def takes_masks(self) -> bool:
        if self._zoneout or (self.recompute and torch.is_grad_enabled()):  # their steps are counted from the front
            return False
        return choose(self.request(), asked=asked_for()).kernel == "native"

    def asked(self, reading: Reading) -> tuple[Request, Work]:
        """What a call that reads this asks for."""
        x, state, packing = reading.x, reading.state, reading.packing
        if packing is not None:
            return self.asked_over_masked(x, state, packing, self.return_sequences)
        return self.asked_over_time(x, state, reading.lengths, self.needs_state)

    def is_own(self) -> bool:
        """Whether a call is the package's own from end to end, and so may be computed together with another one."""
        kind = type(self)
        return is_plain(self) and all(getattr(kind, name) is getattr(GatedLayer, name) for name in _WHOLE_CALL)

    def state_shapes(self, x: Tensor) -> list[tuple[int, ...]]:
        return [(size,) for size in self.state_sizes()]


class GatedCell(Gated, RecurrentCell):
    """One step of a built-in recurrence."""

    options_type = CellOptions

    def forward(self, x: Tensor, states: Tensor | list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        new = self.one_step(x, self.checked_states(x, states))
        return new[0], new
