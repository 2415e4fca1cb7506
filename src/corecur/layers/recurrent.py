"""Any recurrence over time: direction, masks, state in and out, written once for all recurrent layers.

B batch, T time, L the longest row's real steps, C features, P outputs of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn

from corecur.errors import ConfigError, ShapeError
from corecur.kernels.fused import last_output
from corecur.kernels.packed_rows import Packing, packing_of
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.real_steps import RealSteps, find_real_steps
from corecur.layers.symbolic import shape_of

State = Tensor | list[Tensor] | tuple[Tensor, ...]


class RecurrentOptions(LayerOptions, total=False):
    """What every recurrent layer's constructor takes."""

    return_sequences: bool
    return_state: bool
    go_backwards: bool
    stateful: bool
    unroll: bool
    zero_output_for_mask: bool


@dataclass(frozen=True)
class Reading:
    """What a call of a recurrence reads, in the order in which it does: x (B, T, …), or (B, L, …) of the real steps."""

    x: Tensor
    state: list[Tensor]
    #: Steps of the call's input, which may be none.
    steps: int
    #: Where some steps are masked: how a kernel that takes masks reads them, or where they were.
    packing: Packing | None = None
    real: RealSteps | None = None

    @property
    def lengths(self) -> Tensor | None:
        """How many steps of each row are read (B,); None where all are, or a packing says."""
        return None if self.real is None else self.real.lengths


class Recurrent(Layer):
    """What all recurrent layers share: (B, T, C) -> (B, P), or (B, T, P) with ``return_sequences``.

    - ``return_state``: the result is the tuple (output, *states after each row's last real step).
    - ``initial_state``, an argument of the call: a tensor, or a list of them, in place of zeros.
    - ``go_backwards``: from the last step to the first; outputs, and the mask they carry, come in that order.
    - ``stateful``: a call goes on where the last one ended, row by row, until ``reset_states()``. The state is no part
      of the state dict, and no gradient flows from one call into the one before.
    - ``unroll`` is taken for Keras' sake and changes nothing.

    Masked steps are left out of the recurrence: outputs, states and gradients are those of each row alone without
    them. Outputs there repeat the last real one, zeros before the first; all zeros with ``zero_output_for_mask``.
    """

    rank: ClassVar[int | None] = 3
    fixes_channels = True
    options_type = RecurrentOptions
    #: Whether a step's output is its first state.
    output_is_state: ClassVar[bool] = False

    def __init__(
        self,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.unroll = unroll
        self.zero_output_for_mask = zero_output_for_mask
        self._carries = stateful
        self._carried: list[Tensor] | None = None

    def state_shapes(self, x: Tensor) -> list[tuple[int, ...]]:
        """The shape of each state without the batch axis, for inputs ``x`` (B, T, …)."""
        raise ConfigError(f"{type(self).__name__} does not say which states it has", do="define state_shapes(self, x)")

    def output_shape(self, x: Tensor) -> tuple[int, ...]:
        """The shape of one step's output without the batch axis: that of the first state, unless a layer differs."""
        return self.state_shapes(x)[0]

    def over_time(
        self, x: Tensor, state: list[Tensor], lengths: Tensor | None, *, need_state: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """Outputs (B, L, …) and last states for ``x`` (B, L, …), whose rows end after ``lengths`` (B,) steps.

        What comes after a row's end is ignored; the states only count where ``need_state``.
        """
        raise ConfigError(f"{type(self).__name__} has no recurrence", do="define over_time(self, x, state, …)")

    def takes_masks(self) -> bool:
        """Whether ``over_masked`` can do the next call: over masked rows as they are."""
        return False

    def over_masked(
        self, x: Tensor, state: list[Tensor], packing: Packing, *, need_outputs: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """Outputs (B, T, …), as the packing shows them, and last states for ``x`` (B, T, …), of which nothing but real
        steps is read; outputs may be left out where they are not needed."""
        raise ConfigError(f"{type(self).__name__} takes no masks", do="define over_masked(self, x, state, …)")

    def over_shapes(self, x: Tensor) -> Tensor:
        """The outputs for ``x`` on the meta device; a layer runs its products once there, so that they are counted."""
        return x.new_empty(*x.shape[:2], *self.output_shape(x))

    def forward(self, x: Tensor, initial_state: State | None = None, *, mask: Tensor | None = None) -> Any:
        if x.is_meta:  # shapes only: no step is run
            y, state = self.over_shapes(x), self._first_state(x, initial_state)
            return self._result(y if self.return_sequences else y.new_empty(len(y), *y.shape[2:]), state)
        reading = self.reading(x, initial_state, mask)
        if reading.packing is not None:
            found = self.over_masked(reading.x, reading.state, reading.packing, need_outputs=self.return_sequences)
        else:
            found = self.over_time(reading.x, reading.state, reading.lengths, need_state=self.needs_state)
        return self.result_of(reading, *found)

    @property
    def needs_state(self) -> bool:
        """Whether a call's last states are asked for, by its caller or by the next call."""
        return self.return_state or self._carries

    def reading(self, x: Tensor, initial_state: State | None, mask: Tensor | None) -> Reading:
        """What a call with these arguments reads."""
        state, steps = self._first_state(x, initial_state), x.shape[1]
        if steps == 0:  # as if there were one step, masked
            x, mask = x.new_zeros(len(x), 1, *x.shape[2:]), x.new_zeros(len(x), 1, dtype=torch.bool)
        if self.go_backwards:
            x, mask = x.flip(1), None if mask is None else mask.flip(1)
        if mask is not None and self.takes_masks():
            packing = packing_of(mask, repeats=self.return_sequences and not self.zero_output_for_mask)
            if packing.ragged is not None:
                return Reading(x, state, steps, packing)
            mask = None
        real = find_real_steps(mask)
        return Reading(x if real is None else real.to_front(x), state, steps, real=real)

    def result_of(self, reading: Reading, y: Tensor, last: list[Tensor]) -> Any:
        """What a call returns, given outputs (B, L, …), or as the packing shows them, and last states."""
        if self._carries:
            self._carried = [s.detach() for s in last]
        real, packing, lengths = reading.real, reading.packing, reading.lengths
        if self.return_sequences:
            if real is not None:
                y = real.to_places(y, zeros=self.zero_output_for_mask)  # (B, L, …) -> (B, T, …)
            return self._result(y[:, : reading.steps], last)
        if packing is not None:
            return self._result(last[0].masked_fill(packing.empty(), 0), last)
        if lengths is not None:
            return self._result(last_output(y, lengths, before=torch.zeros_like(y[:, 0])), last)
        return self._result(last[0] if self.output_is_state else y[:, -1], last)

    def _result(self, output: Tensor, state: list[Tensor]) -> Any:
        return (output, *state) if self.return_state else output

    def _first_state(self, x: Tensor, given: State | None) -> list[Tensor]:
        shapes = [(x.shape[0], *shape) for shape in self.state_shapes(x)]
        if given is None:
            carried = None if x.is_meta else self._carried
            if not self._carries or carried is None:
                return self.zero_state(x, shapes)
            if [tuple(s.shape) for s in carried] != shapes:
                raise ShapeError(
                    f"{self.title} carries the state of another batch",
                    got=f"{x.shape[0]} rows",
                    expected=f"{carried[0].shape[0]} rows, as in the call before",
                    do="give batches of one size, or call reset_states() first",
                )
            return [s.to(x.device) for s in carried]
        states = [given] if isinstance(given, Tensor) else list(given)
        if [tuple(s.shape) if isinstance(s, Tensor) else None for s in states] != shapes:
            raise ShapeError(
                f"{self.title} got an initial state that does not fit",
                got=", ".join(str(shape_of(s) if isinstance(s, Tensor) else type(s).__name__) for s in states),
                expected=", ".join(str(shape_of(x.new_empty(s, device="meta"))) for s in shapes),
                do="pass a list of tensors (batch, units), one for each state: [h, c] for an LSTM, [h] otherwise",
            )
        return states

    def zero_state(self, x: Tensor, shapes: list[tuple[int, ...]]) -> list[Tensor]:
        """The state before the first step where none is given."""
        return [torch.zeros(shape, dtype=x.dtype, device=x.device) for shape in shapes]

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        if not self.return_sequences or mask is None:
            return None
        return mask.flip(1) if self.go_backwards else mask

    def reset_states(self) -> None:
        """Forget the state that was carried over from earlier calls."""
        self._carried = None

    def reset_state(self) -> None:
        """Keras' newer name for ``reset_states``."""
        self.reset_states()

    def window(self) -> None:
        return None


def recurrent_layers(network: nn.Module) -> list[Recurrent]:
    """Every recurrent layer in a network, itself included."""
    return [module for module in network.modules() if isinstance(module, Recurrent)]


def reset_states(network: nn.Module) -> None:
    """Let every recurrent layer in the network forget the state it carries from call to call.

    >>> reset_states(nn.Sequential())
    """
    for layer in recurrent_layers(network):
        layer.reset_states()


class CarriedStates:
    """The states of one sequence on its way through a network, piece by piece.

    Inside ``with`` every recurrent layer goes on, call after call, where the last call ended; at first from no state.
    Afterwards each layer is as it was before, and ``states`` holds what they carried: a later ``with`` goes on from
    there. So several sequences can share one network. For truncated back-propagation through time, and generation.
    ConfigError where a layer reads backwards, which needs the end of a sequence first.

    >>> carried = CarriedStates(nn.Sequential())
    >>> with carried:
    ...     pass
    >>> carried.states
    []
    """

    def __init__(self, network: nn.Module) -> None:
        self._layers = recurrent_layers(network)
        backwards = next((layer for layer in self._layers if layer.go_backwards), None)
        if backwards is not None:
            raise ConfigError(
                f"{backwards.title} reads from the end and cannot go on from an earlier piece",
                do="use layers that read forwards only, or give whole sequences",
            )
        #: Of each layer in the order of the network's modules; None before its first call.
        self.states: list[list[Tensor] | None] = [None] * len(self._layers)
        self._before: list[tuple[bool, list[Tensor] | None]] = []

    def __enter__(self) -> CarriedStates:
        self._before = [(layer._carries, layer._carried) for layer in self._layers]
        for layer, state in zip(self._layers, self.states, strict=True):
            layer._carries, layer._carried = True, state
        return self

    def __exit__(self, *_: object) -> None:
        self.states = [layer._carried for layer in self._layers]
        for layer, (carries, carried) in zip(self._layers, self._before, strict=True):
            layer._carries, layer._carried = carries, carried


def carrying_state(network: nn.Module) -> CarriedStates:
    """What to put after ``with`` so that the recurrent layers of the network carry their states from call to call.

    >>> with carrying_state(nn.Sequential()):
    ...     pass
    """
    return CarriedStates(network)


def carried_states(layers: Sequence[Recurrent]) -> list[list[Tensor] | None]:
    """What each of these layers carries to its next call.

    >>> carried_states(recurrent_layers(nn.Sequential()))
    []
    """
    return [layer._carried for layer in layers]


def set_carried_states(layers: Sequence[Recurrent], states: Sequence[list[Tensor] | None]) -> None:
    """Let these layers go on from these states at their next call."""
    for layer, state in zip(layers, states, strict=True):
        layer._carried = state
