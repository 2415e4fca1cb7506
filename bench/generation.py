"""``generation``: characters written by recurrent networks, and one step of an LSTM, beside loops over torch's cells.

A character is read, runs through an embedding (96 characters, 64 values), the recurrent layers and a dense layer; then
softmax at temperature 0.8, and a draw by a number given beforehand. All contenders have the same weights and numbers,
and must write the same 200 characters before the clock runs. Target: an eighth of the time of the loop; with 32 texts
on one thread that is more than the processor can multiply, since torch's loop then spends a third of its time on it.

The step takes 128 features and 128 units, state in and out, batch 1; it has no target here (the aim is 15 µs a call).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.contender import Case, Contender
from bench.step_blocks import run_block
from corecur.kernels.choose import asking_for
from corecur.kernels.native_generation import Choosing, Part, Writer
from corecur.kernels.native_step import Step
from corecur.layers.dense import Dense
from corecur.layers.embedding import Embedding
from corecur.layers.gru import GRU
from corecur.layers.lstm import LSTM
from corecur.layers.recurrent import CarriedStates
from corecur.models import Sequential

CHARACTERS, VALUES, TEMPERATURE = 96, 64, 0.8
WRITTEN, PROVED = 1000, 200
TARGET = 1 / 8


@dataclass(frozen=True)
class Text:
    """A network's cell and its layers' units, and how many texts it writes at once."""

    cell: str
    units: tuple[int, ...]
    batch: int = 1


JOBS = {
    "LSTM 128 × 2": Text("lstm", (128, 128)),
    "GRU 256": Text("gru", (256,)),
    "LSTM 128 × 2, 32 texts": Text("lstm", (128, 128), 32),
    "GRU 256, 32 texts": Text("gru", (256,), 32),
}


class Network:
    """Weights from a seed as torch's modules, and the numbers to draw by (B, characters)."""

    def __init__(self, text: Text) -> None:
        torch.manual_seed(0)
        cell = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}[text.cell]
        self.text = text
        self.embedding = nn.Embedding(CHARACTERS, VALUES)
        sizes = (VALUES, *text.units)
        self.cells = [cell(size, units) for size, units in zip(sizes, text.units, strict=False)]
        self.output = nn.Linear(sizes[-1], CHARACTERS)
        self.uniforms = torch.rand(text.batch, WRITTEN, dtype=torch.float64)

    def written(self, count: int) -> Tensor:
        """(B, count) characters after character 0."""
        raise NotImplementedError

    def prove(self) -> Sequence[float]:
        return self.written(PROVED).flatten().float().tolist()

    def run(self) -> int:
        count = WRITTEN if self.text.batch == 1 else WRITTEN // 4  # a block of many texts would take seconds
        self.written(count)
        return count


class TorchLoop(Network):
    """A loop in Python over torch's cells, as one writes it."""

    @torch.inference_mode()
    def written(self, count: int) -> Tensor:
        states: list[object] = [None] * len(self.cells)
        tokens, found = torch.zeros(self.text.batch, dtype=torch.int64), []
        for place in range(count):
            x = self.embedding(tokens)  # (B, C)
            for layer, cell in enumerate(self.cells):
                states[layer] = state = cell(x, states[layer])
                x = state[0] if isinstance(state, tuple) else state  # (B, H)
            tokens = drawn(self.output(x), self.uniforms[:, place])
            found.append(tokens)
        return torch.stack(found, 1)


class LayerLoop(Network):
    """A loop over this package's layers, each character by its Python loop: what ran before there was a native one."""

    def __init__(self, text: Text) -> None:
        super().__init__(text)
        layer = {"lstm": LSTM, "gru": GRU}[text.cell]
        recurrent = [layer(units, return_sequences=True) for units in text.units]
        self.network = Sequential([Embedding(CHARACTERS, VALUES), *recurrent, Dense(CHARACTERS)]).eval()
        self.network(torch.zeros(1, 1, dtype=torch.int64))
        theirs = [self.embedding, *self.cells, self.output]
        state = [tensor for module in theirs for tensor in module.state_dict().values()]
        self.network.load_state_dict(dict(zip(self.network.state_dict(), state, strict=True)))

    @torch.no_grad()
    def written(self, count: int) -> Tensor:
        tokens, found = torch.zeros(self.text.batch, dtype=torch.int64), []
        with CarriedStates(self.network), asking_for("python loop"):
            for place in range(count):
                tokens = drawn(self.network(tokens[:, None])[:, -1], self.uniforms[:, place])
                found.append(tokens)
        return torch.stack(found, 1)


class Native(Network):
    """One native call for all characters."""

    def __init__(self, text: Text) -> None:
        super().__init__(text)
        parts = [Part(text.cell, dict(cell.named_parameters())) for cell in self.cells]
        output = {"weight_ih": self.output.weight, "bias_ih": self.output.bias}
        self.writer = Writer([*parts, Part("dense", output, "linear")], self.embedding.weight)

    def written(self, count: int) -> Tensor:
        uniforms = self.uniforms[:, :count]
        return self.writer.write([[0]] * self.text.batch, count, uniforms=uniforms, choosing=Choosing(TEMPERATURE))[0]


def drawn(logits: Tensor, uniforms: Tensor) -> Tensor:
    """A character for each row of logits (B, V): the first at which the sum of probabilities passes the number (B)."""
    sums = torch.softmax(logits / TEMPERATURE, 1).cumsum(1)
    points = (uniforms * sums[:, -1]).float().unsqueeze(1)
    return torch.searchsorted(sums, points, right=True).squeeze(1).clamp_(max=CHARACTERS - 1)


class TorchCell:
    """One step of ``nn.LSTMCell``."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.cell = nn.LSTMCell(128, 128)
        self.x, self.h, self.c = torch.randn(1, 128), torch.randn(1, 128), torch.randn(1, 128)

    def step(self) -> Tensor:
        """The new output (1, H)."""
        with torch.inference_mode():
            h: Tensor = self.cell(self.x, (self.h, self.c))[0]
            return h

    def prove(self) -> Sequence[float]:
        return self.step().flatten().tolist()

    def run(self) -> int:
        return run_block(self.step)


class PreparedStep(TorchCell):
    """The native step, prepared once."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared = Step("lstm", dict(self.cell.named_parameters()))

    def step(self) -> Tensor:
        return self.prepared(self.x, self.h, self.c)[0]


class LayerStep(TorchCell):
    """A whole call of the layer with one step, state in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = LSTM(128, return_state=True).eval()
        self.layer(self.x[:, None])
        self.layer.load_state_dict({f"{name}_l0": w for name, w in self.cell.state_dict().items()})

    def step(self) -> Tensor:
        with torch.inference_mode():
            return self.layer(self.x[:, None], [self.h, self.c])[0]  # type: ignore[no-any-return]


def cases() -> list[Case]:
    """Every network, then the step."""
    found = []
    for title, text in JOBS.items():
        contenders = (
            Contender("torch, loop over cells", "bench.generation:TorchLoop", {"text": text}, process="torch"),
            Contender("corecur", "bench.generation:Native", {"text": text}, process="corecur"),
            Contender("corecur, Python loop", "bench.generation:LayerLoop", {"text": text}, process="corecur loop"),
        )
        found.append(Case(title, f"writing, {title}", "character", contenders, judged="corecur", target=TARGET))
    steps = (
        Contender("torch.nn.LSTMCell", "bench.generation:TorchCell", process="torch"),
        Contender("corecur, prepared step", "bench.generation:PreparedStep", process="corecur"),
        Contender("corecur, LSTM layer", "bench.generation:LayerStep", process="corecur loop"),
    )
    title = "one step, LSTM 128, batch 1"
    return [*found, Case("LSTM step", title, "step", steps, judged="corecur, prepared step", target=None)]
