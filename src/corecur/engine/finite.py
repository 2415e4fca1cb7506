"""No step is taken with a number that is none: what is refused, how often, and what then."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from corecur.data.batches import Batch, Field
from corecur.engine.clipping import norm_of
from corecur.errors import RunError
from corecur.layers.recurrent import Recurrent, carried_states, recurrent_layers, set_carried_states

#: Steps in a row that may be refused before a training is set back, and how often it is set back before it stops.
MOST_IN_ROW, MOST_TIMES_BACK = 3, 3
#: What the learning rate is multiplied by each time.
SLOWER = 0.5
_MOST_NAMED = 8


class SetBack(Exception):  # noqa: N818 - no error: a request to the training loop, which takes it
    """The training is to go on from an earlier state, with a lower learning rate."""


class _Buffers:
    """Copies of buffers of one type on one device; a module may change a buffer, or put another in its place."""

    def __init__(self, places: Sequence[tuple[dict[str, Tensor | None], str]]) -> None:
        self._places = places
        self._found: list[Tensor] = []
        self._kept: list[Tensor] = []

    def remember(self) -> None:
        """Copy what is there."""
        found: list[Tensor] = [buffers[name] for buffers, name in self._places]  # type: ignore[misc]
        if [b.shape for b in found] != [b.shape for b in self._kept]:
            self._kept = [torch.empty_like(b) for b in found]
        torch._foreach_copy_(self._kept, found)
        self._found = found

    def undo(self) -> None:
        """Put it back."""
        with torch.no_grad():
            torch._foreach_copy_(self._found, self._kept)
        for (buffers, name), buffer in zip(self._places, self._found, strict=True):
            buffers[name] = buffer


class FiniteGuard:
    """Refuses steps whose loss or gradient is NaN or infinite, and puts back what their forward pass changed.

    After ``MOST_IN_ROW`` of them in a row the weights are lost: ``SetBack`` is raised where ``can_go_back``, else
    RunError.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        self.tell = tell
        self.can_go_back = False
        self.in_row = 0
        self.times_back = 0
        self.rate_share = 1.0
        #: What people call the samples, in the order of the training data; without names they are numbered.
        self.names: Sequence[str] = ()
        #: The buffers that were not finite when the training began, and are not expected to be.
        self.constants: frozenset[str] = frozenset()
        self._buffers: list[_Buffers] = []
        self.layers: Sequence[Recurrent] = ()
        self._carried: list[list[Tensor] | None] = []

    def watch(self, network: nn.Module) -> None:
        """Keep an eye on what a forward pass changes: running statistics, and what recurrent layers carry on."""
        self.constants = frozenset(name for name, b in network.named_buffers() if not bool(torch.isfinite(b).all()))
        places = defaultdict(list)
        for module in network.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    places[buffer.dtype, buffer.device].append((module._buffers, name))
        self._buffers = [_Buffers(of_kind) for of_kind in places.values()]
        self.layers = recurrent_layers(network)

    def remember(self) -> None:
        """Before a forward pass."""
        for buffers in self._buffers:
            buffers.remember()
        self._carried = carried_states(self.layers)

    def undo(self) -> None:
        """Put back what forward passes changed since ``remember``."""
        for buffers in self._buffers:
            buffers.undo()
        set_carried_states(self.layers, self._carried)

    def accepts(self, loss: Tensor, norm: Tensor | float) -> bool:
        """Whether the step may be taken; waits for the device."""
        both = float(loss) + norm if isinstance(norm, float) else float(loss + norm.to(loss.device))
        if math.isfinite(both):
            self.in_row = 0
            return True
        return False

    def refuse(self, batch: Batch, loss: Tensor, *, place: str) -> None:
        """Leave a step out, say so, and end what cannot be mended by that."""
        self.undo()
        self.in_row += 1
        what = f"the loss is {float(loss)}" if not bool(torch.isfinite(loss)) else "the gradient is not finite"
        self.tell(f"! {place}: {what}; the step is left out ({_culprits(batch, self.names)})")
        if self.in_row < MOST_IN_ROW:
            return
        if self.can_go_back:
            raise SetBack
        raise RunError(
            f"the training ran away: {what}",
            where=place,
            got=f"{self.in_row} such steps in a row",
            do="take a lower learning rate, and look at the samples named above",
        )

    def check_weights(self, network: nn.Module, *, place: str) -> None:
        """Refuse to go on with a weight that is NaN or infinite, which an update with a finite gradient can make."""
        named = network.named_parameters()
        weights = {name: w.detach() for name, w in named if w.is_floating_point() or w.is_complex()}
        if math.isfinite(norm_of(list(weights.values()))):  # one pass over all; which one, only where it is not
            return
        lost = next((name for name, w in weights.items() if not bool(torch.isfinite(w).all())), None)
        if lost is None:
            return
        if self.can_go_back:
            self.tell(f"! {place}: the weight {lost} holds NaN or infinity")
            raise SetBack
        raise RunError(
            f"the training ran away: the weight {lost} holds NaN or infinity",
            where=place,
            do="take a lower learning rate",
        )

    def slow_down(self) -> None:
        """Lower the rate of all steps to come, after a training was set back."""
        self.in_row = 0
        self.times_back += 1
        self.rate_share *= SLOWER

    def state(self) -> dict[str, Any]:
        """What decides the future, for a checkpoint."""
        return {"in_row": self.in_row, "times_back": self.times_back, "rate_share": self.rate_share}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state saved by ``state``."""
        self.in_row, self.times_back, self.rate_share = state["in_row"], state["times_back"], float(state["rate_share"])


def _culprits(batch: Batch, names: Sequence[str]) -> str:
    """The samples of a batch that hold values which are not finite; all of it, where none does."""
    fields = [field for field in (batch.inputs, batch.targets, batch.weights) if field is not None]
    rows = torch.stack([_broken_rows(field) for field in fields]).any(0)  # (B,)
    found = rows.nonzero()[:, 0].tolist()
    places = found or list(range(len(rows)))
    numbers = places if batch.index is None else batch.index[places].tolist()
    known = bool(names) and batch.index is not None
    named = ", ".join(names[number] if known else str(number) for number in numbers[:_MOST_NAMED]) + (
        ", …" if len(numbers) > _MOST_NAMED else ""
    )
    where = "of the batch" if batch.index is None else "of the training data"
    return f"samples {named} {where}" + (" hold NaN or infinity" if found else "")


def _broken_rows(field: Field) -> Tensor:
    """Which rows of a field hold a value that is not finite, (B,)."""
    tensors = (field,) if isinstance(field, Tensor) else field
    return torch.stack([~torch.isfinite(t).reshape(len(t), -1).all(1).cpu() for t in tensors]).any(0)
