"""``text``: an epoch of a language network over tiny Shakespeare beside a loop written by hand in torch.

The network is that of the recipe for text, without dropout: vectors of 65 characters, an LSTM or GRU, a dense layer,
scores by the same vectors; 64 rows of text in pieces of 64 characters, states carried from piece to piece, AdamW, the
norm of gradients clipped. The text is of random characters: what they are changes no time. A timed block is eight
pieces, which pay for what is done once an epoch; an epoch over the 1,003,854 characters of the training part is 245
of them. Both ways start from the same weights, and their losses over three passes are compared before the clock runs.
Target: half the time of the loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.contender import Case, Contender
from bench.harness import Result
from corecur.data.text.contiguous_rows import contiguous_rows
from corecur.engine.clipping import Clipping
from corecur.engine.crossentropy import Crossentropy
from corecur.engine.optimizers import AdamW
from corecur.engine.trainer import Trainer
from corecur.kernels import last_path
from corecur.learners.generator_recipe import GeneratorRecipe
from corecur.learners.settings import checked_settings

CHARACTERS, EPOCH = 65, 1_003_854
ROWS, STEPS, PIECES = 64, 64, 8
RATE, EPSILON, NORM = 1e-3, 1e-8, 1.0
TARGET = 1 / 2
LOOP, OURS = "torch by hand", "corecur"


@dataclass(frozen=True)
class Text:
    """The recurrent layer, and its units."""

    cell: str
    units: int

    @property
    def recipe(self) -> GeneratorRecipe:
        """The recipe of its network."""
        given = {"model": self.cell, "units": self.units, "dropout": 0.0, "input_dropout": 0.0}
        return checked_settings(GeneratorRecipe, given)

    @property
    def flops(self) -> float:
        """Floating-point operations of a piece's products: as many on the way there as twice on the way back."""
        values, gates = self.recipe.embedding, {"lstm": 4, "gru": 3}[self.cell]
        products = gates * self.units * (values + self.units) + values * (self.units + CHARACTERS)
        return 6.0 * ROWS * STEPS * products


JOBS = [Text("lstm", 512), Text("lstm", 128), Text("gru", 512), Text("gru", 128)]


def characters() -> Tensor:
    """The text, one character more than is read."""
    return torch.randint(CHARACTERS, (ROWS * STEPS * PIECES + 1,), generator=torch.Generator().manual_seed(1))


class Ours:
    """The recipe's network and this package's trainer."""

    def __init__(self, text: Text) -> None:
        torch.manual_seed(0)
        self.network = text.recipe.build_network(CHARACTERS)
        optimizer = AdamW(RATE, epsilon=EPSILON, weight_decay=0.0).make(list(self.network.parameters()))
        self.trainer = Trainer(
            self.network,
            loss=Crossentropy(),
            optimizer=optimizer,
            clipping=Clipping(norm=NORM),
            precision=torch.float32,
            bptt_steps=STEPS,
        )
        self.batches = contiguous_rows(characters(), ROWS)

    def prove(self) -> Sequence[float]:
        return [float(logs["loss"]) for logs in self.trainer.fit(self.batches, epochs=3)]

    def run(self) -> int:
        self.trainer.history.clear()
        self.trainer.fit(self.batches, epochs=1)
        return PIECES

    def facts(self) -> Mapping[str, Any]:
        path = last_path()
        return {} if path is None else {"kernel": path.kernel}


class HandLoop(nn.Module):
    """The same as one writes it in torch."""

    def __init__(self, text: Text) -> None:
        super().__init__()
        torch.manual_seed(0)
        weights = text.recipe.build_network(CHARACTERS).state_dict()
        values = text.recipe.embedding
        self.embedding = nn.Embedding(CHARACTERS, values)
        self.recurrent = {"lstm": nn.LSTM, "gru": nn.GRU}[text.cell](values, text.units, batch_first=True)
        self.dense = nn.Linear(text.units, values) if text.units != values else None
        self.bias = nn.Parameter(torch.zeros(CHARACTERS))
        names = {f"{text.cell}.{name}": f"recurrent.{name}" for name, _ in self.recurrent.named_parameters()}
        names["embedding.bias"] = "bias"
        self.load_state_dict({names.get(name, name): value for name, value in weights.items()})
        self.optimizer = torch.optim.AdamW(self.parameters(), lr=RATE, eps=EPSILON, weight_decay=0.0, fused=True)
        self.text = characters()

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Characters (B, T) -> scores (B, T, V), and the last state."""
        y, state = self.recurrent(self.embedding(x), state)
        if self.dense is not None:
            y = self.dense(y)
        return F.linear(y, self.embedding.weight, self.bias), state

    def _pass(self) -> float:
        x, y = (part.view(ROWS, -1) for part in (self.text[:-1], self.text[1:]))
        state, total = None, 0.0
        for start in range(0, x.shape[1], STEPS):
            piece = slice(start, start + STEPS)
            scores, state = self(x[:, piece], state)
            state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
            loss = F.cross_entropy(scores.flatten(0, 1), y[:, piece].flatten())
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.parameters(), NORM)
            self.optimizer.step()
            total += float(loss.detach())
        return total / PIECES

    def prove(self) -> Sequence[float]:
        return [self._pass() for _ in range(3)]

    def run(self) -> int:
        self._pass()
        return PIECES


def cases() -> list[Case]:
    """Each network."""
    return [
        Case(
            f"text {text.cell} {text.units}",
            f"training over tiny Shakespeare, {text.cell.upper()} {text.units}",
            "piece of 4,096 characters",
            (
                Contender(LOOP, "bench.text:HandLoop", {"text": text}),
                Contender(OURS, "bench.text:Ours", {"text": text}),
            ),
            judged=OURS,
            target=TARGET,
            flops=text.flops,
            peak="FMA",
            warm_ups=1,
        )
        for text in JOBS
    ]


def summary(results: Sequence[Result]) -> dict[str, list[Mapping[str, Any]]]:
    """What the pieces come to for an epoch."""
    pieces = EPOCH / (ROWS * STEPS)
    rows: list[Mapping[str, Any]] = []
    for result in results:
        ours, loop = result.standing(OURS), result.standing(LOOP)
        rows.append(
            {
                "network": result.title.rsplit(", ", 1)[1],
                "threads": result.threads,
                "s an epoch": round(ours.milliseconds * pieces / 1000, 1),
                "torch, s an epoch": round(loop.milliseconds * pieces / 1000, 1),
                "of torch's time": ours.ratio,
                "at most": TARGET,
                "accepted": result.accepted,
            }
        )
    return {"epochs": rows}
