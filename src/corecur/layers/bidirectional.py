"""Bidirectional: a recurrent layer read forwards and backwards, and the two outputs joined.

B batch, T time, P outputs of one direction.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator
from typing import Any, Unpack

import torch
from torch import Tensor

from corecur.errors import ConfigError, ShapeError
from corecur.kernels.choose import run_together
from corecur.layers.gated import GatedLayer
from corecur.layers.keras_weight import KerasWeight
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.masks import with_mask
from corecur.layers.plain import hooked_everywhere
from corecur.layers.recurrent import Recurrent, State
from corecur.layers.symbolic import Shape, shape_of
from corecur.names import Table


def concatenated(forward: Tensor, backward: Tensor) -> Tensor:
    """(B, …, P) and (B, …, P') -> (B, …, P + P')."""
    return torch.cat([forward, backward], -1)


def mean(forward: Tensor, backward: Tensor) -> Tensor:
    """Half of each."""
    return (forward + backward) / 2


MERGES: Table[Callable[[Tensor, Tensor], Tensor]] = Table(
    "merge mode",
    {
        "concat": concatenated,
        "sum": operator.add,
        "ave": mean,
        "mul": operator.mul,
    },
)


class Bidirectional(Layer):
    """A recurrent layer in both directions (Schuster & Paliwal 1997): (B, T, C) -> (B, 2P), or (B, T, 2P).

    ``merge_mode`` is "concat", "sum", "ave", "mul", or None for the list of both outputs. With ``return_sequences``
    both outputs stand in the input's order, and are zero at masked steps, as in Keras; without, each is that of the
    last step it read. ``backward_layer`` is another layer for the way back, with ``go_backwards=True``.
    ``initial_state`` of the call and the states of ``return_state`` are the forward layer's, then the backward layer's.

    Both layers are made anew from the configurations of those given. The weights of SimpleRNN, LSTM and GRU have the
    names of ``torch.nn``'s bidirectional layers: ``weight_ih_l0``, ``weight_ih_l0_reverse`` and so on.

    >>> from corecur.layers.lstm import LSTM
    >>> Bidirectional(LSTM(4, return_sequences=True))(torch.zeros(2, 5, 3)).shape
    torch.Size([2, 5, 8])
    """

    fixes_channels = True

    def __init__(
        self,
        layer: Recurrent,
        merge_mode: str | None = "concat",
        *,
        backward_layer: Recurrent | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        if isinstance(layer, Recurrent) and "input_shape" not in options and layer.input_shape is not None:
            options["input_shape"] = layer.input_shape[1:]
        super().__init__(**options)
        for given in (layer, backward_layer if backward_layer is not None else layer):
            if not isinstance(given, Recurrent):
                raise ConfigError("Bidirectional takes a recurrent layer", got=type(given).__name__)
        if backward_layer is not None:
            _check_pair(layer, backward_layer)
        self.merge_mode = merge_mode
        self._merge = None if merge_mode is None else MERGES[merge_mode]
        self.return_sequences = layer.return_sequences
        self.return_state = layer.return_state
        self.forward_layer = _anew(layer, go_backwards=layer.go_backwards)
        self.backward_layer = _anew(backward_layer or layer, go_backwards=not layer.go_backwards)
        self._house_weights()

    def _house_weights(self) -> None:
        if isinstance(self.forward_layer, GatedLayer) and isinstance(self.backward_layer, GatedLayer):
            self.forward_layer.live_in(self, "")
            self.backward_layer.live_in(self, "_reverse")

    def check_input(self, shape: Shape | torch.Size) -> None:
        super().check_input(shape)
        self.forward_layer.check_input(shape)

    def build(self, input_shape: Shape) -> None:
        self.forward_layer.build_for(input_shape)
        self.backward_layer.build_for(input_shape)

    def forward(self, x: Tensor, initial_state: State | None = None, *, mask: Tensor | None = None) -> Any:
        if getattr(self.forward_layer, "_home", self) is not self:  # a replica of nn.DataParallel's
            self._house_weights()
        first, second = self._halves(initial_state)
        (forward, *states), (backward, *more) = map(_outputs, self._both(x, first, second, mask))
        if self.return_sequences:  # each direction's steps in the order of the input
            forward, backward = (
                y.flip(1) if layer.go_backwards else y
                for y, layer in ((forward, self.forward_layer), (backward, self.backward_layer))
            )
        if self._merge is not None:
            if self._merge is not concatenated and forward.shape != backward.shape:
                raise ShapeError(
                    f"{self.title} cannot merge outputs of different shapes by {self.merge_mode!r}",
                    got=f"{shape_of(forward)} forwards, {shape_of(backward)} backwards",
                    do='give both layers the same units, or use merge_mode="concat"',
                )
            merged: list[Tensor] = [self._merge(forward, backward)]
        else:
            merged = [with_mask(y.view_as(y), self.compute_mask(x, mask)) for y in (forward, backward)]
        results = [*merged, *states, *more]
        return results[0] if len(results) == 1 else tuple(results) if self.return_state else results

    def _both(self, x: Tensor, first: State | None, second: State | None, mask: Tensor | None) -> list[Any]:
        """What both layers return; at the same time where nobody could tell that they do not run one by one."""
        forward, backward = self.forward_layer, self.backward_layer
        if (
            x.is_meta
            or hooked_everywhere()
            or not (isinstance(forward, GatedLayer) and forward.is_own())
            or not (isinstance(backward, GatedLayer) and backward.is_own())
        ):
            return [forward(x, first, mask=mask), backward(x, second, mask=mask)]
        readings = [forward.reading(x, first, mask), backward.reading(x, second, mask)]
        found = run_together([forward.asked(readings[0]), backward.asked(readings[1])])
        return [forward.result_of(readings[0], *found[0]), backward.result_of(readings[1], *found[1])]

    def _halves(self, initial_state: State | None) -> tuple[State | None, State | None]:
        if initial_state is None:
            return None, None
        states = list(initial_state) if isinstance(initial_state, (list, tuple)) else [initial_state]
        if len(states) % 2:
            raise ShapeError(
                f"{self.title} takes initial states for both directions",
                got=f"{len(states)} tensors",
                expected="the forward layer's states, then as many for the backward layer",
            )
        return states[: len(states) // 2], states[len(states) // 2 :]

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        return mask if self.return_sequences else None

    def reset_states(self) -> None:
        """Forget the states that both directions carried over from earlier calls."""
        self.forward_layer.reset_states()
        self.backward_layer.reset_states()

    def reset_state(self) -> None:
        """Keras' newer name for ``reset_states``."""
        self.reset_states()

    def keras_state(self) -> Iterator[KerasWeight]:
        yield from self.forward_layer.keras_state()
        yield from self.backward_layer.keras_state()

    def window(self) -> None:
        return None


def _anew(layer: Recurrent, *, go_backwards: bool) -> Recurrent:
    """An unbuilt layer of the same configuration in the given direction, its outputs zero at masked steps."""
    config = {key: value for key, value in copy.deepcopy(layer.get_config()).items() if key != "input_shape"}
    config |= {"go_backwards": go_backwards, "zero_output_for_mask": layer.return_sequences}
    made: Recurrent = type(layer).from_config(config)
    return made


def _check_pair(layer: Recurrent, backward: Recurrent) -> None:
    if layer.go_backwards == backward.go_backwards:
        raise ConfigError(
            "Bidirectional's two layers read in the same direction", do="give the backward layer go_backwards=True"
        )
    for option in ("return_sequences", "return_state"):
        if getattr(layer, option) != getattr(backward, option):
            raise ConfigError(f"Bidirectional's two layers differ in {option}")


def _outputs(result: Any) -> list[Tensor]:
    return list(result) if isinstance(result, tuple) else [result]
