"""Any recurrence step by step: as a compiled loop (TorchScript) or as a Python loop.

B batch, T time, P outputs. Masked steps, recurrent dropout and zoneout are here, once for every kind.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from corecur.kernels.cell import Function, Result, Step, Work, input_part, step_weights


class TimeLoop(nn.Module):
    """One step function over time; ``torch.jit.script`` compiles it together with the step.

    ``a`` is the input's part of all steps (T, B, G), ``real`` (T, B, 1) is False where the state is to stay as it is.
    """

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    def forward(
        self,
        a: Tensor,
        state: list[Tensor],
        w: list[Tensor],
        real: Tensor | None,
        dropout: Tensor | None,
        zoneout: list[Tensor],
    ) -> tuple[Tensor, list[Tensor]]:
        outputs: list[Tensor] = []
        parts = a.unbind(0)  # at once: the gradient of each a[t] would be a tensor as large as a
        for t in range(len(parts)):
            u = state[0] if dropout is None else state[0] * dropout
            new = self.step(parts[t], u, state, w)
            if len(zoneout) > 0:
                new = [torch.lerp(new[k], state[k], z[t % z.size(0)]) for k, z in enumerate(zoneout)]
            if real is not None:
                new = [torch.where(real[t], new[k], s) for k, s in enumerate(state)]
            state = new
            outputs.append(state[0])
        return torch.stack(outputs), state  # (T, B, P)


@functools.cache
def compiled_loop(make: Callable[[Function, Function], Step], phi: Function, sigma: Function) -> torch.jit.ScriptModule:
    """The loop over this recurrence, compiled at its first use."""
    with warnings.catch_warnings():
        # TorchScript is deprecated, and nothing else in torch runs a loop over time outside Python without compiling
        # for minutes; native kernels replace it.
        warnings.filterwarnings("ignore", message=r".*torch\.jit", category=DeprecationWarning)
        return torch.jit.script(TimeLoop(make(phi, sigma)))


def run_compiled(work: Work) -> Result:
    """The work as a compiled loop."""
    return _run(work, compiled_loop(work.recurrence.step, work.phi, work.sigma))


def run_plain(work: Work) -> Result:
    """The work as a Python loop, which takes any function as activation."""
    return _run(work, TimeLoop(work.recurrence.step(work.phi, work.sigma)))


def _run(work: Work, loop: nn.Module) -> tuple[Tensor, list[Tensor]]:
    steps = work.x.shape[1]
    real = None
    if work.lengths is not None and work.need_state:
        real = (torch.arange(steps, device=work.x.device)[:, None] < work.lengths)[..., None]  # (T, B, 1)
    outputs, state = loop(
        input_part(work.x.transpose(0, 1), work.weights),  # (B, T, C) -> (T, B, G)
        list(work.state),
        step_weights(work.recurrence, work.weights),
        real,
        work.recurrent_dropout,
        list(work.zoneout),
    )
    return outputs.transpose(0, 1), state  # (T, B, P) -> (B, T, P)
