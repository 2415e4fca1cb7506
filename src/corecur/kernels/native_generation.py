"""Tokens written by a network in one native call: read a token, run all stages, choose the next one, and again.

B rows (texts), V kinds of tokens, C values of a token's vector, G the first stage's gates · units.

The random numbers come from outside: one number in [0, 1) for each token, drawn beforehand from a torch generator,
which gives the same numbers in one draw of n as in n draws of one. So a seed gives the same text however it is
computed, as long as no choice is so close that the last bits of a float32 decide it.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from corecur.errors import ConfigError, DataError
from corecur.kernels.library import table, threads
from corecur.kernels.native_step import STAGES, Stage, StageStruct, members_of_step, versions, weights_refusal

#: The most stages of a network; csrc/generate.cpp has the same.
MOST_STAGES = 32
# Up to so many kinds of tokens, what the first stage makes of each is computed once, at the cost of so many tokens.
_LOOKED_UP = 1024


@dataclass(frozen=True)
class Part:
    """One stage of a network: ``kind`` and ``activation`` are a row of ``STAGES``, weights as ``Stage`` takes them."""

    kind: str
    weights: Mapping[str, Tensor]
    activation: str = "tanh"


@dataclass(frozen=True)
class Choosing:
    """How a token is chosen: ``temperature`` 0 takes the likeliest, ``top_k`` 0 and ``top_p`` 1 cut nothing."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.temperature < math.inf and self.top_k >= 0 and 0 < self.top_p <= 1):
            expected = "temperature from 0, top_k from 0, top_p above 0 and at most 1"
            raise ConfigError("no token can be chosen like this", got=self, expected=expected)


class _Job(ctypes.Structure):
    """``CorecurGenerate`` of csrc/generate.hpp."""

    _fields_ = [
        ("stages", ctypes.c_void_p),
        ("count", ctypes.c_int32),
        ("looked_up", ctypes.c_int32),
        ("members", ctypes.c_int32),
        ("vectors", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("vocabulary", "batch", "prompt", "length")),
        *((name, ctypes.c_void_p) for name in ("prompts", "prompt_lengths", "h", "c", "banned", "uniforms")),
        ("temperature", ctypes.c_double),
        ("top_p", ctypes.c_double),
        ("top_k", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("tokens", "written", "room")),
        ("room_of_row", ctypes.c_int64),
    ]


def writer_refusal(parts: Sequence[Part], vectors: Tensor | None) -> str | None:
    """Why no ``Writer`` can be made of these parts; None where one can."""
    if not 1 <= len(parts) <= MOST_STAGES:
        return f"the native writer runs 1 to {MOST_STAGES} stages, not {len(parts)}"
    for part in parts:
        if (part.kind, part.activation) not in STAGES:
            return f"there is no native stage for {part.kind} with the activation {part.activation}"
    outputs, kinds = len(parts[-1].weights["weight_ih"]), _kinds(parts, vectors)
    if parts[-1].kind != "dense" or outputs > kinds:
        return f"the last stage does not give a logit for each of {kinds} kinds of tokens"
    return weights_refusal(_weights_of(parts, vectors))


def _weights_of(parts: Sequence[Part], vectors: Tensor | None) -> list[Tensor]:
    """Every tensor that is packed."""
    return [w for part in parts for w in part.weights.values()] + ([] if vectors is None else [vectors])


def _kinds(parts: Sequence[Part], vectors: Tensor | None) -> int:
    """How many kinds of tokens the first stage takes."""
    return parts[0].weights["weight_ih"].shape[1] if vectors is None else len(vectors)


def _new(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Zeros for native code, whatever device and dtype are the default."""
    return torch.zeros(shape, dtype=dtype, device="cpu")


def _form(state: list[list[Tensor]]) -> list[list[tuple[object, ...]]]:
    """What native code relies on in a state."""
    return [[(s.shape, s.dtype, s.is_cpu, s.is_contiguous()) for s in own] for own in state]


class Writer:
    """A network of stages, its weights packed as they are now; ``is_of`` says whether they still are.

    ``vectors`` (V, C) are the tokens' vectors (an embedding); without them tokens are one-hot, C = V. The last of
    ``parts`` is dense and gives a logit for each kind of token. ConfigError where ``writer_refusal`` has a reason.

    >>> from corecur.kernels.library import info
    >>> torch.manual_seed(0) and None
    >>> parts = [Part("dense", {"weight_ih": torch.eye(3).roll(1, 0)}, "linear")]  # after 0 comes 1, after 1 comes 2
    >>> info().isa and Writer(parts).write([[0]], 5, choosing=Choosing(temperature=0))[0].tolist()
    [[1, 2, 0, 1, 2]]
    """

    def __init__(self, parts: Sequence[Part], vectors: Tensor | None = None) -> None:
        refusal = writer_refusal(parts, vectors)
        if refusal is not None:
            raise ConfigError(f"this network cannot be run natively: {refusal}")
        self._versions = versions(_weights_of(parts, vectors))
        self._kinds_of_stages = [(part.kind, part.activation) for part in parts]
        self.kinds, self.vocabulary = _kinds(parts, vectors), len(parts[-1].weights["weight_ih"])
        looked_up = vectors is None or len(vectors) <= _LOOKED_UP
        self.stages = [
            Stage(part.kind, part.weights, activation=part.activation, looked_up=looked_up and place == 0)
            for place, part in enumerate(parts)
        ]
        with torch.no_grad():
            first, bias = parts[0].weights["weight_ih"], self.stages[0].bias
            if vectors is None:
                self._vectors = (first.t() + bias).contiguous()  # (V, G)
            else:
                self._vectors = (F.linear(vectors, first, bias) if looked_up else vectors.detach()).contiguous()
        self._looked_up, self._source = looked_up, vectors  # kept alive: nothing else can come to lie where it lies
        self._structs = (StageStruct * len(parts))(*(stage.struct for stage in self.stages))

    def is_of(self, parts: Sequence[Part], vectors: Tensor | None = None) -> bool:
        """Whether it is packed from these weights as they are now; what this cannot see is said in ``native_step``."""
        kinds = [(part.kind, part.activation) for part in parts]
        return kinds == self._kinds_of_stages and self._versions == versions(_weights_of(parts, vectors))

    def first_state(self, batch: int) -> list[list[Tensor]]:
        """Zeros for each stage: [h] or [h, c], (B, H) each; nothing for a dense one."""
        return [[_new(batch, stage.units) for _ in range(stage.states)] for stage in self.stages]

    def write(
        self,
        prompts: Sequence[Sequence[int]],
        length: int,
        *,
        uniforms: Tensor | None = None,
        choosing: Choosing = Choosing(),
        banned: Sequence[int] = (),
        state: list[list[Tensor]] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Read each of B prompts and write on: tokens (B, length), and how many of them each row has (B).

        A row has fewer than ``length`` where no token could come next: all are banned, a logit is no number, or, unless
        the likeliest is taken, one is infinite. ``uniforms`` (B, length) float64 in [0, 1) decide, and are needed
        where the temperature is not 0. ``banned`` tokens are never written. ``state`` (as ``first_state``) is replaced,
        in place, by the state after the last token that was read: all but the last written one, of a row that has
        ``length``. DataError for a prompt that is empty or holds a token that the network does not know.
        """
        batch = len(prompts)
        read = self._prompts(prompts)
        state = self.first_state(batch) if state is None else state
        if uniforms is None:
            if choosing.temperature != 0:
                raise ConfigError("tokens are drawn by random numbers", do="give uniforms, or temperature=0")
            uniforms = _new(batch, length, dtype=torch.float64)
        if tuple(uniforms.shape) != (batch, length) or uniforms.dtype != torch.float64 or not uniforms.is_cpu:
            got = f"{uniforms.dtype} {tuple(uniforms.shape)}"
            raise ConfigError("one random number for each token", got=got, expected=f"float64 ({batch}, {length})")
        if _form(state) != _form(self.first_state(batch)):
            raise ConfigError("this state does not fit", do="give what first_state(batch) returns, or its like")
        tokens, written = _new(batch, length, dtype=torch.int64), _new(batch, dtype=torch.int64)
        if batch and length:
            self._run(read, uniforms.contiguous(), choosing, banned, state, tokens, written)
        return tokens, written

    def _members(self, batch: int) -> int:
        """How many threads share the units of each stage; 1 where they share the texts."""
        return members_of_step(batch, max(stage.recurrent_weights for stage in self.stages))

    def _prompts(self, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """The prompts side by side (B, longest) and their lengths (B)."""
        lengths = torch.tensor([len(prompt) for prompt in prompts], dtype=torch.int64, device="cpu")
        read = _new(len(prompts), max(map(len, prompts), default=0), dtype=torch.int64)
        for row, prompt in zip(read, prompts, strict=True):
            if len(prompt) == 0:
                raise DataError("there is nothing to write on from", got="an empty prompt", do="give it a first token")
            row[: len(prompt)] = torch.as_tensor(prompt, device="cpu")
        if read.numel() and not 0 <= int(read.min()) <= int(read.max()) < self.kinds:
            wrong = int(read[(read < 0) | (read >= self.kinds)][0])
            raise DataError(f"the network does not know token {wrong}", expected=f"0 … {self.kinds - 1}")
        return read, lengths

    def _run(
        self,
        read: tuple[Tensor, Tensor],
        uniforms: Tensor,
        choosing: Choosing,
        banned: Sequence[int],
        state: list[list[Tensor]],
        tokens: Tensor,
        written: Tensor,
    ) -> None:
        batch, length = tokens.shape
        forbidden = _new(self.vocabulary, dtype=torch.uint8)
        forbidden[list(banned)] = 1
        pointers = ctypes.c_void_p * len(self.stages)
        h = pointers(*(s[0].data_ptr() if s else None for s in state))
        c = pointers(*(s[1].data_ptr() if len(s) > 1 else None for s in state))
        first = self.stages[0]
        room = 2 + (0 if self._looked_up else first.features) + 2 * self.vocabulary
        room += sum((1 + stage.states) * stage.units for stage in self.stages)
        room += room % 2  # pointers stand in it
        space = _new(batch * room)
        job = _Job(
            ctypes.addressof(self._structs), len(self.stages), self._looked_up, self._members(batch),
            self._vectors.data_ptr(), self.vocabulary, batch, read[0].shape[1], length, read[0].data_ptr(),
            read[1].data_ptr(), ctypes.addressof(h), ctypes.addressof(c), forbidden.data_ptr(), uniforms.data_ptr(),
            choosing.temperature, choosing.top_p, choosing.top_k, tokens.data_ptr(), written.data_ptr(),
            space.data_ptr(), room,
        )  # fmt: skip
        table().generate(ctypes.byref(job), threads())
