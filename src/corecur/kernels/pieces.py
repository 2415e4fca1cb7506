"""Long sequences in little memory: piece by piece, what lies within a piece computed again on the way back.

B batch, T time, P outputs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from corecur.kernels.cell import Result, Work

Run = Callable[[Work], Result]
#: Steps that a piece has at least: shorter ones save little and cost a call each.
SHORTEST = 16


def run_in_pieces(run: Run, work: Work) -> Result:
    """The work by this kernel in about √T pieces; between them only outputs and states are kept (Chen et al. 2016).

    The way back runs each piece forward once more, so it costs about a third more time; the results are the same.
    """
    steps = work.x.shape[1]
    size = max(SHORTEST, math.isqrt(steps))
    outputs, state = [], list(work.state)
    for start in range(0, steps, size):
        piece = _piece(work, start, min(start + size, steps))

        def forward(x: Tensor, *before: Tensor, piece: Work = piece) -> tuple[Tensor, ...]:
            y, after = run(dataclasses.replace(piece, x=x, state=list(before)))
            return y, *after

        # Nothing random is drawn within: patterns of dropout and zoneout are part of the work. A stop as soon as enough
        # is computed again is an exception, which the interpreter of a compiled loop does not pass on.
        y, *state = checkpoint(
            forward, piece.x, *state, use_reentrant=False, preserve_rng_state=False, early_stop=False
        )
        outputs.append(y)
    return torch.cat(outputs, 1), state


def _piece(work: Work, start: int, stop: int) -> Work:
    """The steps from ``start`` to before ``stop``, the state before them still to be given."""
    lengths = None if work.lengths is None else (work.lengths - start).clamp(0, stop - start)
    zoneout = tuple(stays[start:stop] if len(stays) > 1 else stays for stays in work.zoneout)
    return dataclasses.replace(work, x=work.x[:, start:stop], lengths=lengths, zoneout=zoneout, need_state=True)
