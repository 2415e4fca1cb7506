"""Forward and backward passes over a batch: in one piece, or in several where memory is short.

B batch, T time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from corecur.data.batches import Batch
from corecur.engine.class_weights import weights_by_class
from corecur.engine.evaluating import evaluating
from corecur.engine.micro_batches import MemoryShortError, rows_of
from corecur.engine.outputs import JointLoss, parts, real_positions
from corecur.engine.plain_passes import differentiate_plainly
from corecur.layers.recurrent import carried_states

if TYPE_CHECKING:
    from corecur.engine.trainer import Trainer


class Passes(NamedTuple):
    """What forward and backward passes over a batch gave: mean loss, its size, and the output of each piece (none
    where nobody measures it)."""

    loss: Tensor
    size: int
    outputs: list[tuple[Batch, Any]]


def differentiate(trainer: Trainer, optimizer: torch.optim.Optimizer, pieces: Sequence[Batch]) -> Passes:
    """Loss and gradients of a batch: those of the whole, also where it comes in pieces."""
    if len(pieces) > 1:
        return _differentiate_pieces(trainer, optimizer, pieces)
    (batch,) = pieces
    learned = differentiate_plainly(trainer.network, trainer.loss, batch) if trainer.is_plain else None
    if learned is not None:
        _forget_gradients(optimizer)
        for weight, gradient in learned.gradients:
            weight.grad = gradient
        return Passes(learned.loss, rows_of(batch), [(batch, learned.output)] if trainer.metrics else [])
    output = trainer.forward(batch)
    loss = trainer.loss_on(batch, output, weights_by_class(trainer.class_weights, batch, output))
    for layer in trainer.layers_with_penalty:
        term = layer.penalty()
        loss = loss if term is None else loss + term
    _forget_gradients(optimizer)
    loss.backward()  # type: ignore[no-untyped-call]
    return Passes(loss.detach(), size_of(trainer, batch, output), [(batch, output)])


def _differentiate_pieces(trainer: Trainer, optimizer: torch.optim.Optimizer, pieces: Sequence[Batch]) -> Passes:
    """Each piece's part in the mean over all: by its real positions in each output, and of a penalty by its rows."""
    if trainer.bptt_steps is not None or any(state is not None for state in carried_states(trainer.guard.layers)):
        raise MemoryShortError(
            "there is not enough memory for a step of recurrent layers that carry their states on",
            do="take a smaller batch_size, or fewer bptt_steps",
        )
    _forget_gradients(optimizer)
    shares, rows = _shares(trainer, pieces), sum(map(rows_of, pieces))
    outputs, total, size = [], torch.zeros((), device=trainer.device), 0
    for piece, share in zip(pieces, shares, strict=True):
        output = trainer.forward(piece)
        weights = weights_by_class(trainer.class_weights, piece, output)
        loss = _shared(trainer, piece, output, weights, share)
        for layer in trainer.layers_with_penalty:
            term = layer.penalty()
            loss = loss if term is None else loss + term * (rows_of(piece) / rows)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
        size += size_of(trainer, piece, output)
        outputs.append((piece, output))
    return Passes(total, size, outputs)


def _shared(trainer: Trainer, piece: Batch, output: Any, weights: Tensor | None, share: Sequence[float]) -> Tensor:
    """The loss of a piece, that of each output multiplied by its share in the whole batch."""
    joint = trainer.loss
    if not isinstance(joint, JointLoss):
        return trainer.loss_on(piece, output, weights) * share[0]
    return JointLoss(joint.losses, [w * s for w, s in zip(joint.weights, share, strict=True)])(
        piece.targets, output, weights
    )


@torch.no_grad()
def _shares(trainer: Trainer, pieces: Sequence[Batch]) -> list[list[float]]:
    """The share of each piece in the mean of each output's loss.

    Where a mask, or a class to be ignored, leaves positions out, one more pass over the pieces counts them.
    """
    counts: list[list[int]] = []
    with evaluating(trainer.network):
        for piece in pieces:
            found = _positions(trainer.loss, piece, trainer.forward(piece))
            counts.append([rows_of(piece) if count is None else count for count in found])
            if all(count is None for count in found):
                counts = [[rows_of(other)] * len(found) for other in pieces]
                break
    totals = [max(1, sum(column)) for column in zip(*counts, strict=True)]
    return [[count / total for count, total in zip(row, totals, strict=True)] for row in counts]


def _positions(loss: Any, batch: Batch, output: Any) -> list[int | None]:
    """Of each output, how many positions its loss averages over where it leaves some out, else None."""
    if not isinstance(loss, JointLoss):
        return [real_positions(loss, batch.targets, output)]
    return list(map(real_positions, loss.losses, parts(batch.targets), parts(output)))


def size_of(trainer: Trainer, batch: Batch, output: Any) -> int:
    """How many samples a batch has; real steps, where the loss is a mean over those or batches are cut in time."""
    positions = real_positions(trainer.loss, batch.targets, output)
    if positions is not None:
        return positions
    if trainer.bptt_steps is None:
        return rows_of(batch)
    first = batch.inputs[0] if isinstance(batch.inputs, tuple) else batch.inputs
    return int(first.shape[0] * first.shape[1])


def _forget_gradients(optimizer: torch.optim.Optimizer) -> None:
    """What ``zero_grad`` does, without bookkeeping that costs a small network more than the work."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None
