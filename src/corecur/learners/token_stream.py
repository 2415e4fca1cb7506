"""A language network read token after token: what it expects next, writes on, and what each token of a text cost it.

R rows, T time, N tokens, V vocabulary.
"""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corecur import runtime
from corecur.engine.evaluating import evaluating
from corecur.engine.trainer import device_of
from corecur.errors import ConfigError
from corecur.kernels.choose import Choice, asked_for, asking_for
from corecur.kernels.native_generation import Choosing, Writer
from corecur.layers.recurrent import CarriedStates, recurrent_layers
from corecur.learners.sampling import NOTHING_LEFT, Sampling, draw, next_probabilities
from corecur.learners.token_network import TokenNetwork, token_network

# Tokens of a prompt in one call, and of a scored text: a vocabulary's worth of logits is held for each.
_PIECE = 512
_TOKENS_AT_ONCE = 2048
# A row of a scored text has so many tokens or more, and reads so many before it to know what went before.
_ROW, _BEFORE = 2048, 256
_MOST_ROWS = 64
# Tokens of one native call: one at first, so that text comes at once, then more, but so few that a stop is heeded soon.
_MOST_AT_ONCE = 64


def writing_path(network: nn.Module) -> Choice:
    """What writes tokens with this network, and why: "native" in one call for many tokens, else the "python loop".

    ConfigError where ``asking_for("native")`` asks for what cannot be done.

    >>> writing_path(nn.Linear(2, 2)).reason
    'a Linear is no Model or Sequential of layers'
    """
    return _path(token_network(network))


def _path(found: TokenNetwork | str) -> Choice:
    asked = asked_for()
    if asked not in (None, "native"):
        return Choice("python loop", f"the kernel {asked!r} was asked for")
    if not isinstance(found, str):
        return Choice("native", "one native call for many tokens")
    if asked:
        raise ConfigError(f"the kernel 'native' cannot write with this network: {found}")
    return Choice("python loop", found)


_WRITERS: weakref.WeakKeyDictionary[nn.Module, Writer] = weakref.WeakKeyDictionary()


def _writer(network: nn.Module, found: TokenNetwork) -> Writer:
    """The network packed for writing, as its weights are now."""
    kept = _WRITERS.get(network)
    if kept is None or not kept.is_of(found.parts, found.vectors):
        kept = _WRITERS[network] = Writer(found.parts, found.vectors)
    return kept


class TokenStream:
    """One text on its way through a network: the states stay here, so that several streams share one network.

    >>> from corecur.layers.embedding import Embedding
    >>> stream = TokenStream(Embedding(5, 5))
    >>> stream.feed([1, 2]).shape
    torch.Size([5])
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.device = device_of(network)
        self._carried = CarriedStates(network)

    @torch.no_grad()
    def feed(self, tokens: Sequence[int]) -> Tensor:
        """Read these tokens; the logits (V,) of the one after them."""
        with contextlib.ExitStack() as around:
            if self.network.training:
                around.enter_context(evaluating(self.network))
            if len(tokens) == 1:  # torch's own operations repack their weights in each call
                around.enter_context(asking_for("python loop"))
            around.enter_context(self._carried)
            for first in range(0, len(tokens), _PIECE):
                piece = torch.tensor([tokens[first : first + _PIECE]], device=self.device)  # (1, T)
                output = self.network(piece)  # (1, T, V)
        return logits_of(output)[0, -1].float().cpu()

    def write(
        self,
        tokens: Sequence[int],
        count: int,
        sampling: Sampling,
        generator: torch.Generator,
        *,
        banned: Sequence[int] = (),
    ) -> Iterator[int]:
        """Read these tokens and write ``count`` more, each as soon as it is there; ``banned`` ones never.

        Every token takes one number of the generator, whatever runs (``writing_path``): a seed gives the same text. The
        native path reads and draws up to 64 tokens ahead of what it has given. ConfigError where no token can come
        next.
        """
        found = token_network(self.network)
        if _path(found).kernel == "native" and not isinstance(found, str):
            yield from self._write_natively(found, tokens, count, sampling, generator, banned)
            return
        for _ in range(count):
            logits = self.feed(tokens)  # (V,)
            logits[list(banned)] = -math.inf
            tokens = (draw(next_probabilities(logits, sampling), generator),)
            yield tokens[0]

    def _write_natively(
        self,
        found: TokenNetwork,
        tokens: Sequence[int],
        count: int,
        sampling: Sampling,
        generator: torch.Generator,
        banned: Sequence[int],
    ) -> Iterator[int]:
        choosing = Choosing(sampling.temperature, sampling.top_k, sampling.top_p)
        places = {id(layer): place for place, layer in enumerate(recurrent_layers(self.network))}
        piece = 1
        if len(tokens) > _PIECE:  # a long prompt is read over time, in pieces between which a stop is heeded
            self.feed(tokens[:-1])
            tokens = tokens[-1:]
        while count > 0:
            writer = _writer(self.network, found)
            state = writer.first_state(1)
            for own, layer in zip(state, found.layers, strict=True):
                carried = None if layer is None else self._carried.states[places[id(layer)]]
                for new, old in zip(own, carried or (), strict=False):
                    new.copy_(old)
            piece = min(piece, count, _MOST_AT_ONCE)
            uniforms = torch.rand(1, piece, generator=generator, dtype=torch.float64, device="cpu")
            written, done = writer.write(
                [tokens], piece, uniforms=uniforms, choosing=choosing, banned=banned, state=state
            )
            for own, layer in zip(state, found.layers, strict=True):
                if layer is not None:
                    self._carried.states[places[id(layer)]] = own
            yield from written[0, : int(done[0])].tolist()
            if int(done[0]) < piece:
                raise ConfigError("no token can come next", got=NOTHING_LEFT)
            tokens, count, piece = written[0, -1:].tolist(), count - piece, 2 * piece


def logits_of(output: Tensor) -> Tensor:
    """The logits of an output: those a softmax left on it, or the output itself.

    >>> logits_of(torch.zeros(1)).tolist()
    [0.0]
    """
    logits = getattr(output, "logits", None)
    return logits if isinstance(logits, Tensor) else output


@torch.no_grad()
def token_losses(
    network: nn.Module, tokens: Tensor, *, precision: torch.dtype = torch.float32, context: int | None = None
) -> Tensor:
    """What each token (N,) but the first cost the network, in nats: (N - 1,) float32, -log p(token | all before it).

    A long text is read in up to 64 rows side by side. Each carries its state from its beginning to its end, and first
    reads the 256 tokens before it; what lies further back is all that it does not know. With ``context``, every
    ``context`` tokens the network begins anew with no past.

    >>> from corecur.layers.embedding import Embedding
    >>> even = Embedding(4, 4, embeddings_initializer="zeros")
    >>> [round(loss, 3) for loss in token_losses(even, torch.tensor([1, 2, 3])).tolist()]
    [1.386, 1.386]
    """
    count = len(tokens) - 1
    rows = max(1, min(_MOST_ROWS, count // _ROW)) if context is None else max(1, math.ceil(count / context))
    length = math.ceil(count / rows) if context is None else context
    before = _BEFORE if context is None and rows > 1 else 0
    device = device_of(network)
    padded = F.pad(tokens.long(), (before, rows * length - count))
    windows = padded.unfold(0, before + length + 1, length)[:rows].to(device)  # (R, before + length + 1)
    step = max(8, _TOKENS_AT_ONCE // rows)
    found = []
    carried = CarriedStates(network)
    with evaluating(network), runtime.precision(precision, device), contextlib.ExitStack() as around:
        if before:
            with carried:
                network(windows[:, :before])
            for tensor in (tensor for state in carried.states for tensor in state or ()):
                tensor[0] = 0  # nothing stands before the first row
        around.enter_context(carried)
        for first in range(before, before + length, step):
            last = min(first + step, before + length)
            logits = logits_of(network(windows[:, first:last])).float()  # (R, T, V)
            targets = windows[:, first + 1 : last + 1]
            losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
            found.append(losses.view(targets.shape).cpu())  # (R, T)
    return torch.cat(found, 1).flatten()[:count]
