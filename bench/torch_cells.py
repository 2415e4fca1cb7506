"""The jobs of ``recurrent`` in this package's layers, in ``torch.nn``'s, and in loops over time written by hand.

B batch, T time, C features, H units, G gates · H, P outputs, D the width of a step's output.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from bench.sequences import Job, inputs, lengths, proof, real_steps, weights
from bench.step_blocks import run_block
from bench.step_memory import peak_megabytes
from bench.torch_operations import Operations
from corecur.kernels import last_path
from corecur.kernels.room import release_room
from corecur.layers.bidirectional import Bidirectional
from corecur.layers.gru import GRU
from corecur.layers.lstm import LSTM
from corecur.layers.masks import with_mask
from corecur.layers.simple_rnn import SimpleRNN
from corecur.models import Sequential

Weights = Mapping[str, Tensor]


class TorchWork:
    """What all contenders on torch do alike: the step, the proof, and what is told of it.

    A step in training is forward, the mean square of the outputs at real steps, and backward; without an optimiser.
    """

    def __init__(self, job: Job) -> None:
        # torch tells that oneDNN has no projection; the kernel in the table tells it too
        warnings.filterwarnings("ignore", message="LSTM with projections", category=UserWarning)
        self.job = job
        self.x = torch.from_numpy(inputs(job))  # (B, T, C)
        self.mask = None if job.padding is None else torch.from_numpy(real_steps(job))  # (B, T)
        self.lengths = torch.from_numpy(lengths(job))  # (B,)
        self.count = int(self.lengths.sum())
        self.network = self.made()
        self.network.train(job.training)

    def made(self) -> nn.Module:
        """The network with its first weights."""
        raise NotImplementedError

    def outputs(self) -> Tensor:
        """(B, T, D), right at the real steps."""
        raise NotImplementedError

    def step(self) -> Tensor:
        """One step of the job; its outputs."""
        if not self.job.training:
            with torch.inference_mode():
                return self.outputs()
        for parameter in self.network.parameters():
            parameter.grad = None
        y = self.outputs()
        self.loss(y).backward()  # type: ignore[no-untyped-call]
        return y.detach()

    def loss(self, y: Tensor) -> Tensor:
        """The mean square of the outputs (B, T, D) at real steps."""
        squares = y.square().sum(2)
        if self.mask is not None:
            squares = squares * self.mask
        return squares.sum() / (self.count * y.shape[2])

    def prove(self) -> Sequence[float]:
        self.network.eval()  # no dropout; gradients are made all the same
        y = self.step()
        gradients = [g.norm().item() for g in self.gradients()] if self.job.training else []
        self.network.train(self.job.training)
        return proof(self.job, y.numpy(), gradients)

    def gradients(self) -> list[Tensor]:
        """Those of the input's and the recurrent weights, layer by layer, forwards and then backwards."""
        found = dict(self.network.named_parameters())
        names = [name for name in found if "weight_ih" in name or "weight_hh" in name]
        return [gradient for name in names if (gradient := found[name].grad) is not None]

    def run(self) -> int:
        return run_block(self.step)

    def facts(self) -> Mapping[str, Any]:
        """Which kernel ran, and the memory of a step."""
        with Operations() as seen, torch.set_grad_enabled(self.job.training):
            self.outputs()
        # also the run that ``last_path`` tells of: unwatched, as those on the clock
        memory = peak_megabytes(self.step, forget=release_room)
        return {"kernel": self.kernel(seen.recurrence), "peak MiB": memory}

    def kernel(self, engine: str) -> str:
        """The kernel's name, given what torch ran inside."""
        return engine


def named(job: Job) -> dict[str, Tensor]:
    """All weights under the names they have in ``torch.nn``'s stacked layers."""
    return {
        f"{name}_l{layer}{'_reverse' * direction}": torch.from_numpy(array)
        for layer, directions in enumerate(weights(job))
        for direction, arrays in enumerate(directions)
        for name, array in arrays.items()
    }


class Ours(TorchWork):
    """This package's layers; a mask comes with the inputs, as it would from ``Embedding`` or ``Masking``."""

    def made(self) -> nn.Module:
        job = self.job
        if self.mask is not None:
            with_mask(self.x, self.mask)
        layers = [own_layer(job) for _ in range(job.layers)]
        network = Sequential(layers)
        network(self.x[:1])
        for layer, directions in zip(layers, weights(job), strict=True):
            state = {
                f"{name}_l0{'_reverse' * direction}": torch.from_numpy(array)
                for direction, arrays in enumerate(directions)
                for name, array in arrays.items()
            }
            layer.load_state_dict(state)
        return network

    def outputs(self) -> Tensor:
        y: Tensor = self.network(self.x)
        return y

    def kernel(self, engine: str) -> str:
        path = last_path()
        name = path.kernel if path else "none"
        return name if name.startswith("native") else f"{name}, {engine}"


def own_layer(job: Job) -> nn.Module:
    """One layer of the job in this package."""
    options: dict[str, Any] = {"return_sequences": True, "recurrent_dropout": job.recurrent_dropout}
    kind, more = _OWN[job.cell]
    if job.cell == "projected_lstm":
        more = {"projection": job.outputs}
    layer = kind(job.units, **options, **more)
    return Bidirectional(layer) if job.both_ways else layer


_OWN: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "simple_rnn": (SimpleRNN, {}),
    "lstm": (LSTM, {}),
    "gru": (GRU, {}),
    "classic_gru": (GRU, {"reset_after": False}),
    "layer_norm_lstm": (LSTM, {"layer_norm": True}),
    "peephole_lstm": (LSTM, {"peephole": True}),
    "projected_lstm": (LSTM, {}),
}
_TORCH: dict[str, Callable[..., nn.RNNBase]] = {
    "simple_rnn": nn.RNN,
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "projected_lstm": nn.LSTM,
}


class TorchLayers(TorchWork):
    """``torch.nn``'s layer over all steps, padding included: right at the real ones where padding comes after them."""

    def made(self) -> nn.Module:
        job = self.job
        more = {"proj_size": job.outputs} if job.cell == "projected_lstm" else {}
        kind = _TORCH[job.cell]
        network = kind(job.features, job.units, job.layers, batch_first=True, bidirectional=job.both_ways, **more)
        network.load_state_dict(named(job))
        return network

    def outputs(self) -> Tensor:
        y: Tensor = self.network(self.x)[0]
        return y


class Packed(TorchLayers):
    """``torch.nn``'s layer over a packed batch. Padding on the left, which packing does not know, is moved behind."""

    def made(self) -> nn.Module:
        steps = self.job.steps
        places = torch.arange(steps)
        begins = (steps - self.lengths)[:, None]  # (B, 1), of the real steps
        self.to_front, self.back = (places + begins) % steps, (places - begins) % steps  # (B, T)
        return super().made()

    def outputs(self) -> Tensor:
        x = self.x if self.job.padding == "right" else moved(self.x, self.to_front)
        packed = pack_padded_sequence(x, self.lengths, batch_first=True, enforce_sorted=False)
        y = pad_packed_sequence(self.network(packed)[0], batch_first=True, total_length=self.job.steps)[0]
        return y if self.job.padding == "right" else moved(y, self.back)


def moved(x: Tensor, places: Tensor) -> Tensor:
    """The steps of x (B, T, D) in the order of ``places`` (B, T)."""
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[2]))


class HandLoop(TorchWork):
    """A loop over time as one writes it where ``torch.nn`` has no such layer; the input's part of all steps at once."""

    def made(self) -> nn.Module:
        holder = nn.Module()
        for name, value in named(self.job).items():
            holder.register_parameter(name, nn.Parameter(value))
        return holder

    def outputs(self) -> Tensor:
        y = self.x
        for layer in range(self.job.layers):
            ending = f"_l{layer}"
            w = {name.removesuffix(ending): p for name, p in self.network.named_parameters() if name.endswith(ending)}
            y = self.over_time(y, w)
        return y

    def over_time(self, x: Tensor, w: Weights) -> Tensor:
        """One layer: (B, T, C) -> (B, T, H)."""
        step, rate = _STEPS[self.job.cell], self.job.recurrent_dropout
        a = F.linear(x, w["weight_ih"])  # (B, T, G)
        if "weight_norm_ih" in w:
            a = F.layer_norm(a, a.shape[-1:], w["weight_norm_ih"])
        a = a + w["bias_ih"]
        h = c = x.new_zeros(len(x), self.job.units)
        kept = F.dropout(torch.ones_like(h), rate) if rate and self.network.training else None
        ys = []
        for part in a.unbind(1):
            h, c = step(part, h if kept is None else h * kept, h, c, w)
            ys.append(h)
        return torch.stack(ys, 1)


def _lstm(a: Tensor, u: Tensor, h: Tensor, c: Tensor, w: Weights) -> tuple[Tensor, Tensor]:
    i, f, g, o = (a + F.linear(u, w["weight_hh"], w["bias_hh"])).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _peephole(a: Tensor, u: Tensor, h: Tensor, c: Tensor, w: Weights) -> tuple[Tensor, Tensor]:
    i, f, g, o = (a + F.linear(u, w["weight_hh"], w["bias_hh"])).chunk(4, 1)
    i, f = i + w["weight_ci"] * c, f + w["weight_cf"] * c
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return (o + w["weight_co"] * c).sigmoid() * c.tanh(), c


def _layer_norm(a: Tensor, u: Tensor, h: Tensor, c: Tensor, w: Weights) -> tuple[Tensor, Tensor]:
    recurrent = F.linear(u, w["weight_hh"])
    recurrent = F.layer_norm(recurrent, recurrent.shape[1:], w["weight_norm_hh"], w["bias_hh"])
    i, f, g, o = (a + recurrent).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * F.layer_norm(c, c.shape[1:], w["weight_norm_c"], w["bias_norm_c"]).tanh(), c


def _classic_gru(a: Tensor, u: Tensor, h: Tensor, c: Tensor, w: Weights) -> tuple[Tensor, Tensor]:
    gates, candidate = w["weight_hh"].tensor_split([2 * h.shape[1]])
    a_gates, a_candidate = (a + w["bias_hh"]).tensor_split([2 * h.shape[1]], 1)
    r, z = (a_gates + F.linear(u, gates)).sigmoid().chunk(2, 1)
    n = (a_candidate + F.linear(r * u, candidate)).tanh()
    return n + z * (h - n), c


_STEPS = {"lstm": _lstm, "peephole_lstm": _peephole, "layer_norm_lstm": _layer_norm, "classic_gru": _classic_gru}
