"""Recurrent layers over time: hidden states, cell states and gates, step by step.

R rows of a layer's batch, T time, C features, H units, G gates · H.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from corecur.explain.attribution import Panel
from corecur.explain.question import Question
from corecur.kernels.cell import input_part
from corecur.layers.gated import GatedLayer

Gates = dict[str, Tensor]


def hidden_states(question: Question) -> tuple[Panel, ...]:
    """A panel for each state and each gate of every recurrent layer the sample goes through, (H, T).

    Steps come in the order in which the layer reads them put back into that of the sample.

    >>> from corecur.explain.question import plain_question
    >>> from corecur.layers.gru import GRU
    >>> network = nn.Sequential(GRU(3))
    >>> question = plain_question(lambda x: network(x)[:, 0], torch.zeros(5, 2), network=network)
    >>> [(panel.title, panel.values.shape) for panel in hidden_states(question)][0]
    ('0: hidden state', (3, 5))
    """
    inputs: dict[str, tuple[GatedLayer, Tensor]] = {}
    hooks = []
    for path, module in question.network.named_modules():
        if isinstance(module, GatedLayer):

            def keep(module: nn.Module, args: tuple[Tensor, ...], path: str = path) -> None:
                if isinstance(module, GatedLayer):
                    inputs.setdefault(path, (module, args[0]))

            hooks.append(module.register_forward_pre_hook(keep))
    try:
        question.scores(question.inputs[None])
    finally:
        for hook in hooks:
            hook.remove()
    panels: list[Panel] = []
    for path, (layer, x) in inputs.items():
        row = min(question.row, len(x) - 1)
        for name, values in layer_over_time(layer, x[row : row + 1]).items():
            panels.append(Panel(f"{path}: {name}", values.T.float().cpu().numpy(), across="step", down="unit"))
    return tuple(panels)


@torch.no_grad()
def layer_over_time(layer: GatedLayer, x: Tensor) -> dict[str, Tensor]:
    """States and gates of a layer at each step of one sequence (1, T, C), each (T, H) by name.

    >>> from corecur.layers.gru import GRU
    >>> list(layer_over_time(GRU(3).eval(), torch.zeros(1, 5, 2)))
    ['hidden state', 'reset gate', 'update gate']
    """
    if not layer.built:
        layer(x)
    training = layer.training
    layer.eval()
    weights = layer.weights()
    x = x.to(weights["weight_ih"].dtype)
    x = x.flip(1) if layer.go_backwards else x
    state = layer.zero_state(x, [(1, *shape) for shape in layer.state_shapes(x)])
    read = GATES.get(layer._kind)
    found: dict[str, list[Tensor]] = {}
    for step in x.unbind(1):  # (1, C)
        gates = {} if read is None else read(input_part(step, weights), state[0], weights, layer._sigma)
        state = layer.one_step(step, state)
        named = dict(zip(("hidden state", "cell state"), state, strict=False)) | gates
        for name, values in named.items():
            found.setdefault(name, []).append(values[0])
    layer.train(training)
    series = {name: torch.stack(rows) for name, rows in found.items()}
    return {name: rows.flip(0) if layer.go_backwards else rows for name, rows in series.items()}


def _lstm_gates(a: Tensor, h: Tensor, weights: dict[str, Tensor], sigma: Callable[[Tensor], Tensor]) -> Gates:
    """σ of i, f and o for the input's part ``a`` (1, G) and the output before."""
    i, f, _, o = (a + nn.functional.linear(h, weights["weight_hh"], weights.get("bias_hh"))).chunk(4, 1)
    return {"input gate": sigma(i), "forget gate": sigma(f), "output gate": sigma(o)}


def _gru_gates(a: Tensor, h: Tensor, weights: dict[str, Tensor], sigma: Callable[[Tensor], Tensor]) -> Gates:
    """σ of r and z."""
    r, z, _ = (a + nn.functional.linear(h, weights["weight_hh"], weights.get("bias_hh"))).chunk(3, 1)
    return {"reset gate": sigma(r), "update gate": sigma(z)}


#: How the gates of a kind are read off; kinds whose gates see more than input and output show their states alone.
GATES: dict[str, Callable[[Tensor, Tensor, dict[str, Tensor], Callable[[Tensor], Tensor]], Gates]] = {
    "lstm": _lstm_gates,
    "projected_lstm": _lstm_gates,
    "gru": _gru_gates,
}
