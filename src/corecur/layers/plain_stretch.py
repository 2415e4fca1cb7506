"""Layers in a row that run as one program, there and back: convolution blocks, recurrences, dense layers.

Nothing that can be seen changes: a stretch ends before a layer that has hooks or penalises its output, and where no
native kernel takes a layer, or torch's own is the faster one.

B batch, T time, C features, U units.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from corecur.kernels.choose import decide
from corecur.kernels.convolution import Block
from corecur.kernels.library import threads
from corecur.kernels.native import KINDS
from corecur.kernels.native_softmax import time_first
from corecur.kernels.packed_parts import LastPart, PackPart, SpreadPart
from corecur.kernels.packed_rows import Packing, packing_of
from corecur.kernels.products import is_plain as is_numbers
from corecur.kernels.products import keeps_up, measured
from corecur.kernels.stretch import learn, run_stretch, run_to_softmax
from corecur.kernels.stretch_parts import (
    ConvolutionPart,
    DensePart,
    Part,
    RecurrentPart,
    Shape,
    TapsPart,
    TurnPart,
)
from corecur.kernels.traced import traced_by
from corecur.layers.activation import Function, softmax, with_logits
from corecur.layers.conv import Conv2D
from corecur.layers.conv_block import native_activation, plain_block
from corecur.layers.conv_chain import chain_of
from corecur.layers.dense import Dense
from corecur.layers.dropout import Dropout, GaussianDropout, GaussianNoise, SpatialDropout1D, SpatialDropout2D
from corecur.layers.gru import GRU
from corecur.layers.lstm import LSTM
from corecur.layers.masks import mask_of, with_mask
from corecur.layers.plain import hooked_everywhere, is_plain
from corecur.layers.shape import Flatten
from corecur.layers.simple_rnn import SimpleRNN

#: The longest stretch, in layers.
LONGEST = 32
_RECURRENT = (SimpleRNN, LSTM, GRU)
_ONLY_IN_TRAINING = (Dropout, SpatialDropout1D, SpatialDropout2D, GaussianDropout, GaussianNoise)


@dataclass
class _Stretch:
    """What was found of a stretch so far."""

    #: What the first part reads.
    x: Tensor
    #: What the parts make, inside: time is first where there is time.
    shape: Shape
    #: Whether gradients are recorded, and whether they reach what the parts make.
    grad: bool
    reached: bool
    parts: list[Part] = field(default_factory=list)
    weights: list[Tensor | None] = field(default_factory=list)
    turned: bool = False
    #: The real steps of a batch with padding, in whose order the parts read it.
    packing: Packing | None = None
    #: What torch is to make of it in the end.
    after: Function | None = None
    #: How many layers it is.
    passed: int = 0

    def add(self, part: Part, *weights: Tensor | None) -> None:
        """One more part."""
        self.parts.append(part)
        self.weights += weights
        self.shape = part.output(self.shape)
        self.reached = self.trains(weights)

    def trains(self, weights: Sequence[Tensor | None]) -> bool:
        """Whether gradients reach what a part with these weights makes."""
        return self.reached or (self.grad and any(w is not None and w.requires_grad for w in weights))


def pays_alone(x: Any) -> bool:
    """Whether one layer is worth being read as a stretch.

    >>> pays_alone(torch.zeros(1, 4, 2)), pays_alone(torch.zeros(4, 2))
    (True, False)
    """
    if torch.compiler.is_compiling() or not isinstance(x, Tensor) or x.dim() != 3:
        return False
    return x.shape[0] > 1 or torch.is_grad_enabled() or mask_of(x) is not None


def run_plainly(layers: Sequence[Any], x: Any) -> tuple[Any, int] | None:
    """What the first layers of a row make of ``x``, and how many they are; None where none of it can run so.

    >>> run_plainly([Dense(3), Dense(2)], torch.zeros(2, 4)) is None  # not built yet
    True
    """
    found = _found(layers, x)
    if found is None:
        return None
    if found.after is softmax and not found.reached:
        shares, y = run_to_softmax(tuple(found.parts), found.x, found.weights, turned=found.turned)
        return with_logits(shares, y, of="softmax"), found.passed
    y = run_stretch(tuple(found.parts), found.x, found.weights, turned=found.turned, packing=found.packing)
    if found.packing is not None:
        return with_mask(y, mask_of(x) if y.dim() == x.dim() else None), found.passed
    return (y if found.after is None else found.after(y)), found.passed


class Learned(NamedTuple):
    """The mean loss, a scalar; the output's scores, what makes the output of them, and weights with their gradients."""

    loss: Tensor
    scores: Tensor
    after: Function | None
    gradients: list[tuple[Tensor, Tensor]]

    @property
    def output(self) -> Tensor:
        """What the layers make of the input."""
        with torch.no_grad():
            return self.scores if self.after is None else self.after(self.scores)


def learn_plainly(
    layers: Sequence[Any], x: Any, labels: Tensor, *, smoothing: float, after: Collection[Function | None]
) -> Learned | None:
    """The mean cross-entropy of labels (B, …), int64, from all of these layers' scores (B, …, K), and its gradients.

    ``after`` are the functions that may follow the scores, None for none. None where anybody could tell that the way
    back is not torch's; IndexError where a label is no class.

    >>> learn_plainly([Dense(3)], torch.zeros(2, 4), torch.zeros(2).long(), smoothing=0.0, after=[None]) is None
    True
    """
    if type(layers[0]) not in _FIRST or not torch.is_grad_enabled() or _is_differentiation_watched():
        return None
    found = _found(layers, x)
    if found is None or found.passed < len(layers) or found.after not in after or not found.reached:
        return None
    if found.packing is not None:  # the loss is over real steps alone
        return None
    trained = [weight for weight in found.weights if weight is not None and weight.requires_grad]
    shape = found.shape if not found.turned else (found.shape[1], found.shape[0], *found.shape[2:])
    if found.x.requires_grad or labels.shape != shape[:-1] or not all(map(_is_leaf, trained)):
        return None
    if len(set(map(id, trained))) < len(trained):  # of a weight that stands twice torch adds up the gradients
        return None
    loss, scores, gradients = learn(
        tuple(found.parts), found.x, found.weights, labels, smoothing=smoothing, turned=found.turned
    )
    pairs = zip(found.weights, gradients, strict=True)
    return Learned(loss, scores, found.after, [(w, g) for w, g in pairs if w is not None and g is not None])


def _is_leaf(weight: Tensor) -> bool:
    """Whether its gradient comes from here alone, and nobody waits for it."""
    return weight.is_leaf and not weight._backward_hooks and not getattr(weight, "_post_accumulate_grad_hooks", None)


def _is_differentiation_watched() -> bool:
    """Whether somebody wants to see each step of torch's way back, or what is saved for it."""
    saving = torch._C._autograd._top_saved_tensors_default_hooks(False)
    return saving is not None or torch.is_anomaly_enabled()


def _found(layers: Sequence[Any], x: Any) -> _Stretch | None:
    """The stretch that the first layers of a row are for this input; or None."""
    if torch.compiler.is_compiling() or not isinstance(x, Tensor) or not is_numbers(x):
        return None
    if x.layout is not torch.strided or not x.numel() or _is_watched():
        return None
    mask = mask_of(x)
    if mask is not None:
        return _found_packed(layers, x, mask)
    grad, swapped = torch.is_grad_enabled(), type(layers[0]) is not Conv2D
    given = x
    if swapped and time_first(x):
        given = x.transpose(0, 1)
    found = _Stretch(given, tuple(given.shape), grad, grad and x.requires_grad)
    if swapped and given is x:
        if x.dim() != 3:
            return None
        found.add(TurnPart())
    found.turned = swapped
    begun = len(found.parts)
    _read(layers, found)
    return None if len(found.parts) - begun < (1 if swapped else 2) else found


def _found_packed(layers: Sequence[Any], x: Tensor, mask: Tensor) -> _Stretch | None:
    """The same where some steps are padding: recurrences one upon the other, over real steps alone."""
    first = layers[0]
    if type(first) not in _RECURRENT or mask.shape != x.shape[:2] or mask.dtype != torch.bool or x.dim() != 3:
        return None
    row = list(itertools.takewhile(lambda layer: type(layer) in (*_RECURRENT, *_ONLY_IN_TRAINING), layers))
    last = next(layer for layer in reversed(row) if type(layer) in _RECURRENT)
    packing = packing_of(mask, repeats=_repeats(last))
    if packing.ragged is None or not packing.real:
        return None
    grad = torch.is_grad_enabled()
    found = _Stretch(x, tuple(x.shape), grad, grad and x.requires_grad, turned=True, packing=packing)
    found.add(PackPart())
    _read(row, found)
    if not found.passed:
        return None
    last = next(layer for layer in reversed(row[: found.passed]) if type(layer) in _RECURRENT)
    found.packing = packing_of(mask, repeats=_repeats(last))
    found.add(SpreadPart() if last.return_sequences else LastPart())
    found.turned = False
    return found


def _repeats(layer: Any) -> bool:
    """Whether the layer shows the last real step again where a step is padding."""
    return layer.return_sequences and not layer.zero_output_for_mask


def _read(layers: Sequence[Any], found: _Stretch) -> None:
    """Add what the first layers are, as far as they can run in one."""
    at = 0
    while found.after is None and at < len(layers):
        layer = layers[at]
        if not is_plain(layer):
            break
        if type(layer) in _ONLY_IN_TRAINING and not layer.training:
            at += 1
            continue
        read = _READERS.get(type(layer))
        count = 0 if read is None else read(layers[at:], found)
        if not count:
            break
        at = found.passed = at + count


def _is_watched() -> bool:
    """Whether somebody wants to see each layer, or each operation of torch."""
    profiled = torch.autograd._profiler_enabled()  # type: ignore[attr-defined]
    return profiled or hooked_everywhere() or torch.is_autocast_enabled("cpu") or traced_by() is not None


def _convolution(layers: Sequence[Any], found: _Stretch) -> int:
    """A convolution and what its kernel does with it."""
    conv, shape = layers[0], found.shape
    conv.check_input(shape)
    chain = chain_of(layers, shape)
    if chain.activation is None or conv.flip_kernel:
        return 0
    weight, bias = chain.weights(conv)
    block = plain_block(
        torch.Size(shape), weight, bias, conv.geometry(shape), activation=chain.activation, pool=chain.pool,
        groups=conv.groups, training=found.trains((weight,)), to_input=found.reached,
    )  # fmt: skip
    part = None if block is None else _convolution_part(*block, conv.filters)
    if part is None:
        return 0
    found.add(part, weight, bias)
    return chain.layers


def _convolution_part(block: Block, kernel: str, filters: int) -> Part | None:
    """The part of a stretch that this kernel is, if any."""
    if kernel in ("winograd", "direct"):
        return ConvolutionPart(block, kernel == "winograd", filters)
    averages = block.pool == "average" and block.activation == "tanh"  # need what stood before the pooling
    return TapsPart(block, filters) if kernel == "taps" and measured() and not averages else None


def _dense(layers: Sequence[Any], found: _Stretch) -> int:
    """A dense layer, or what flattens and then one."""
    flat, shape = type(layers[0]) is Flatten, found.shape
    if flat:
        whole = len(layers) > 1 and type(layers[1]) is Dense and is_plain(layers[1])
        if found.turned or len(shape) < 3 or not whole:
            return 0
        shape = (shape[0], math.prod(shape[1:]))
    layer = layers[flat]
    layer.check_input(shape)
    weight, bias = layer.weight, layer.bias
    if not keeps_up(math.prod(shape[:-1]), weight, bias):
        return 0
    known = native_activation(layer._function)
    found.add(DensePart(layer.units, known or "linear", flat), weight, bias)
    found.after = None if known else layer._function
    return 1 + flat


def _recurrence(layers: Sequence[Any], found: _Stretch) -> int:
    """A recurrence over whole rows, from zeros, that nothing but its kernel has a part in."""
    layer = layers[0]
    if not found.turned or not layer.is_own() or layer.go_backwards or layer.return_state or layer._carries:
        return 0
    if layer._zoneout or (layer.recompute and found.grad):
        return 0
    if layer.training and (layer._dropout or layer._recurrent_dropout):
        return 0
    packing = found.packing
    steps, batch, features = found.shape
    if batch == 1 and not found.grad and packing is None:  # it keeps its weights packed then
        return 0
    layer.check_input((batch, steps, features))
    kind, named = KINDS.get((layer._kind, layer._phi_name)), layer.weights()
    if kind is None or "weight_ci" in named:
        return 0
    weights = [named["weight_ih"], named["weight_hh"], named.get("bias_ih"), named.get("bias_hh")]
    if steps == 1 or not all(w is None or is_numbers(w) for w in weights):
        return 0
    trains = found.trains(weights)
    if trains and not (weights[0].requires_grad and weights[1].requires_grad):
        return 0
    alike = layer.training and found.grad and packing is None
    if decide(layer.request(trained_rows=batch if alike else 0)).kernel != "native":
        return 0
    part = RecurrentPart(kind, layer.units, layer.return_sequences, packing is not None)
    longest, real = (steps, steps * batch) if packing is None else (len(packing.sizes), packing.real)
    if not part.takes((longest, batch, features), threads(), training=trains, real=real):
        return 0
    found.add(part, *weights)
    found.turned = layer.return_sequences
    return 1


_READERS: dict[type[nn.Module], Callable[[Sequence[Any], _Stretch], int]] = {
    Conv2D: _convolution,
    **dict.fromkeys((Flatten, Dense), _dense),
    **dict.fromkeys(_RECURRENT, _recurrence),
}
#: Layers that a stretch begins with; networks of dense layers alone stay torch's, bit for bit.
_FIRST = (Conv2D, *_RECURRENT)
