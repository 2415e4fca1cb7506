"""torch's own operations over a whole sequence, made exact for rows of different lengths.

B batch, T time, C features, H units, P outputs.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from corecur.kernels.cell import Result, Work

#: Kind and activation -> torch's operation. The gates' activation is the logistic function in all of them.
#: torch's LSTM takes a projection too, but then warns that oneDNN has none and loops as our own loop does.
OPERATIONS = {
    ("simple_rnn", "tanh"): "rnn_tanh",
    ("simple_rnn", "relu"): "rnn_relu",
    ("lstm", "tanh"): "lstm",
    ("gru", "tanh"): "gru",
}


def follows_autocast(work: Work) -> bool:
    """Whether the operation gains from ``torch.autocast``: on a CPU only oneDNN's LSTM does, three times as fast.

    The others take the products of single steps in bfloat16 and the rest in float32, which is slower or no faster.
    """
    return work.x.device.type != "cpu" or (work.kind == "lstm" and lstm_follows(torch.get_autocast_dtype("cpu")))


@functools.cache
def lstm_follows(dtype: torch.dtype) -> bool:
    """Whether torch trains an LSTM in this dtype under autocast on the processor at hand, found by trying.

    It takes oneDNN's where that knows the dtype at all, and fails where it has no training in it: float16 on
    processors without AMX.

    >>> lstm_follows(torch.float64)
    False
    """
    if dtype not in (torch.bfloat16, torch.float16):
        return False
    try:
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", dtype=dtype):
            weights = [torch.zeros(4, 1, device="cpu", requires_grad=True) for _ in range(2)]
            x, *state = (torch.zeros(1, 1, 1, device="cpu") for _ in range(3))
            y = torch.lstm(x, state, weights, False, 1, 0.0, True, False, True)[0]
            y.sum().backward()  # type: ignore[no-untyped-call]
    except RuntimeError:
        return False
    return y.dtype == dtype


# σ(±1e4) is exactly 1 and 0 in every dtype, and its gradient exactly 0.
_SHUT = 1e4


def run_fused(work: Work) -> Result:
    """The work as one call of torch's operation."""
    carries_cell = len(work.state) == 2
    ragged = work.lengths is not None and work.need_state
    x, kernel = work.x, work.weights["weight_ih"]
    if ragged and carries_cell and work.lengths is not None:
        x, kernel = _with_shut_gates(x, kernel, work.lengths)
    weights = [kernel, work.weights["weight_hh"]]
    biased = "bias_ih" in work.weights
    if biased:
        weights += [work.weights["bias_ih"], work.weights["bias_hh"]]
    state = [s.unsqueeze(0).contiguous() for s in work.state]  # (B, P) -> (layers = 1, B, P)
    needs_gradient = torch.is_grad_enabled()
    # arguments: biases, layers, dropout between them, training, bidirectional, batch first
    how = (weights, biased, 1, 0.0, needs_gradient, False, True)
    if carries_cell:
        outputs, *last = torch.lstm(x, state, *how)
    else:
        operation = getattr(torch, OPERATIONS[work.kind, "relu" if work.phi is torch.relu else "tanh"])
        outputs, *last = operation(x, state[0], *how)
    new = [s.squeeze(0) for s in last]
    if ragged and work.lengths is not None:
        new[0] = last_output(outputs, work.lengths, before=work.state[0])
    return outputs, new


def _with_shut_gates(x: Tensor, kernel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Input and kernel with one more feature, 1 in the padding, that shuts the input gate and opens the forget gate.

    The cell then comes through the padding as it is, and so does its gradient.
    """
    padding = torch.arange(x.shape[1], device=x.device) >= lengths[:, None]  # (B, T)
    column = kernel.new_zeros(4, kernel.shape[0] // 4)  # gates i, f, g, o
    column[0], column[1] = -_SHUT, _SHUT
    return torch.cat([x, padding[..., None].to(x.dtype)], 2), torch.cat([kernel, column.view(-1, 1)], 1)


def last_output(outputs: Tensor, lengths: Tensor, *, before: Tensor) -> Tensor:
    """The outputs (B, T, …) at each row's last real step; ``before`` (B, …) for rows without one.

    >>> last_output(torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]]), torch.tensor([1, 0]), before=torch.zeros(2, 1))
    tensor([[1.],
            [0.]])
    """
    rows = torch.arange(len(lengths), device=lengths.device)
    found = outputs[rows, (lengths - 1).clamp(min=0)]  # (B, …)
    return torch.where(lengths.view(-1, *[1] * (found.ndim - 1)) > 0, found, before)
