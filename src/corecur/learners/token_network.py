"""A network that reads tokens as a chain of stages for the native writer, or the reason why it is none.

V kinds of tokens, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from corecur.kernels.native_generation import Part, writer_refusal
from corecur.layers.activation import Softmax
from corecur.layers.dense import Dense
from corecur.layers.dropout import Dropout, GaussianDropout, GaussianNoise, SpatialDropout1D
from corecur.layers.embedding import Embedding
from corecur.layers.gated import GatedLayer
from corecur.layers.gru import GRU
from corecur.layers.lstm import LSTM
from corecur.layers.simple_rnn import SimpleRNN
from corecur.models import Model, Sequential

# What changes nothing outside training.
_NOISE = (Dropout, GaussianDropout, GaussianNoise, SpatialDropout1D, nn.Dropout, nn.Identity)
# What a last layer may do to its logits, which it leaves on its output.
_OVER_LOGITS = ("softmax", "sigmoid")


@dataclass(frozen=True)
class TokenNetwork:
    """The tokens' vectors (V, C), the stages after them, and the recurrent layer behind each stage (None: dense)."""

    vectors: Tensor
    parts: list[Part]
    layers: list[GatedLayer | None]


def token_network(network: nn.Module) -> TokenNetwork | str:
    """The network as stages that a ``Writer`` takes, or why it has to be run layer by layer.

    >>> token_network(nn.Linear(2, 2))
    'a Linear is no Model or Sequential of layers'
    """
    calls = _calls(network)
    if isinstance(calls, str):
        return calls
    if not calls or type(calls[0][0]) is not Embedding or calls[0][1]:
        return "it does not begin with an Embedding"
    first = calls[0][0]
    found = TokenNetwork(first.weight, [], [])
    for place, (layer, arguments) in enumerate(calls):
        if _hooks(layer):
            return f"there are hooks on {_title(layer)}"
        if place == 0 or (isinstance(layer, _NOISE) and not arguments):
            continue
        last = all(type(after) in _NOISE for after, _ in calls[place + 1 :])
        part = _part(layer, arguments, last=last)
        if isinstance(part, str):
            return part
        if part is not None:
            found.parts.append(part)
            found.layers.append(layer if isinstance(layer, GatedLayer) else None)
    if first.mask_zero:
        return f"{first.title} hides token 0"
    recurrent = [id(layer) for layer in found.layers if layer is not None]
    if len(set(recurrent)) < len(recurrent):
        return "a recurrent layer stands in it twice"
    return writer_refusal(found.parts, found.vectors) or found


def _calls(network: nn.Module) -> list[tuple[Any, dict[str, Any]]] | str:
    """The layers of a chain in the order of their calls, with the arguments of each; or why it is no chain."""
    if type(network) is Sequential:
        return [(layer, {}) for layer in network.layers]
    if type(network) is not Model or network._graph is None:
        return f"a {type(network).__name__} is no Model or Sequential of layers"
    if len(network.input_symbols) != 1 or len(network.output_symbols) != 1:
        return "it has several inputs or outputs"
    at, found = network.input_symbols[0], []
    for node in network._graph.nodes:
        if len(node.args) != 1 or node.args[0] is not at or len(node.outputs) != 1 or len(node.inputs) != 1:
            return "its layers are no chain"
        found.append((node.layer, node.kwargs))
        at = node.outputs[0]
    return found if at is network.output_symbols[0] else "its layers are no chain"


def _hooks(layer: nn.Module) -> bool:
    """Whether something of the user's own is to happen when a layer runs."""
    return any(
        bool(hooks) for module in layer.modules() for hooks in (module._forward_hooks, module._forward_pre_hooks)
    )


def _title(layer: nn.Module) -> str:
    return str(getattr(layer, "title", type(layer).__name__))


def _part(layer: Any, arguments: dict[str, Any], *, last: bool) -> Part | str | None:
    """A stage, None for what changes nothing, or why there is no such stage."""
    if type(layer) is Embedding and arguments == {"reverse": True}:
        return Part("dense", _dense(layer), "linear")
    if arguments:
        return f"{_title(layer)} is called with {', '.join(arguments)}"
    if type(layer) in (LSTM, GRU, SimpleRNN):
        return _recurrence(layer)
    if type(layer) is Dense and layer.dtype is None:
        named = (
            "linear" if layer.activation is None or (last and layer.activation in _OVER_LOGITS) else layer.activation
        )
        return Part("dense", _dense(layer), str(named))
    if type(layer) is Softmax and last and layer.axis in (-1, 2):
        return None
    return f"there is no native stage for {_title(layer)}"


def _recurrence(layer: Any) -> Part | str:
    request = layer.request()
    if request.zoneout:
        return f"{layer.title} has zoneout"
    if not layer.return_sequences or layer.return_state or layer.go_backwards:
        return f"{layer.title} does not give an output for each token as it comes"
    if request.recurrent_activation != "sigmoid" and request.kind != "simple_rnn":
        return f"the gates of {layer.title} are {request.recurrent_activation}"
    return Part(request.kind, layer.weights(), request.activation)


def _dense(layer: Any) -> dict[str, Tensor]:
    """Weight and bias under the names of a stage."""
    return {"weight_ih": layer.weight} | ({} if layer.bias is None else {"bias_ih": layer.bias})
