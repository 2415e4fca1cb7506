"""Writing in one native call against the same in NumPy float64, step by step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from corecur.errors import ConfigError, DataError
from corecur.kernels import reference
from corecur.kernels.cell import RECURRENCES
from corecur.kernels.native_generation import Choosing, Part, Writer, writer_refusal
from tests.kernels.needs_kernels import needs_kernels

pytestmark = needs_kernels

# Two ways to add up may differ by so much, in logits and in a share of all probability.
NEAR = 1e-4


def recurrence(kind: str, features: int, units: int, *, activation: str = "tanh", bias: bool = True) -> Part:
    shapes = RECURRENCES[kind].shapes(features=features, units=units, outputs=units)
    scale = 1.5 / math.sqrt(units)
    weights = {name: torch.randn(shape) * scale for name, shape in shapes.items() if bias or "bias" not in name}
    return Part(kind, weights, activation)


def dense(features: int, units: int, activation: str = "linear", *, scale: float = 2.0) -> Part:
    weight = torch.randn(units, features) * (scale / math.sqrt(features))
    return Part("dense", {"weight_ih": weight, "bias_ih": torch.randn(units)}, activation)


def chain(kinds: Sequence[str], *, features: int, units: int, vocabulary: int) -> list[Part]:
    parts = []
    for kind in kinds:
        parts.append(recurrence(kind, features, units))
        features = units
    return [*parts, dense(features, vocabulary)]


class InNumpy:
    """A network of parts in float64; ``step`` reads a token for each row and gives logits (B, V)."""

    def __init__(self, parts: Sequence[Part], vectors: Tensor | None, batch: int) -> None:
        self.parts = parts
        kinds = parts[0].weights["weight_ih"].shape[1]
        self.vectors = np.eye(kinds) if vectors is None else vectors.double().numpy()
        self.weights = [{n: w.detach().double().numpy() for n, w in part.weights.items()} for part in parts]
        self.state: list[Any] = [None] * len(parts)
        self.batch = batch

    def step(self, tokens: Sequence[int]) -> Any:
        x = self.vectors[np.asarray(tokens)]
        for place, (part, weights) in enumerate(zip(self.parts, self.weights, strict=True)):
            zeros = {n: np.zeros(len(weights["weight_ih"])) for n in ("bias_ih", "bias_hh")}
            if part.kind == "dense":
                x = x @ weights["weight_ih"].T + (zeros | weights)["bias_ih"]
                if part.activation != "linear":
                    x = {"relu": lambda v: np.maximum(v, 0), "tanh": np.tanh, "sigmoid": reference.sigmoid}[
                        part.activation
                    ](x)
                continue
            done = reference.forward(
                part.kind, x[:, None], zeros | weights, state=self.state[place], activation=part.activation
            )
            self.state[place], x = done.state, done.outputs[:, 0]
        return x


def shares(logits: Any, choosing: Choosing, banned: Sequence[int]) -> tuple[Any, bool]:
    """Probabilities (V,) of the next token, and whether a cut is too close to call."""
    scores = logits.copy()
    scores[list(banned)] = -np.inf
    p = np.exp((scores - scores.max()) / choosing.temperature)
    order = np.argsort(-p, kind="stable")
    keep, close = np.ones(len(p), dtype=bool), False
    if 0 < choosing.top_k < len(p):
        keep[order[choosing.top_k :]] = False
        edge = p[order[choosing.top_k - 1 : choosing.top_k + 1]]
        close |= bool(edge[0] - edge[1] < NEAR * edge[0])
    p = np.where(keep, p, 0)
    if choosing.top_p < 1:
        before = np.cumsum(p[order]) - p[order]
        keep[order[before >= choosing.top_p * p.sum()]] = False
        close |= bool((np.abs(before / p.sum() - choosing.top_p) < NEAR).any())
        close |= bool((np.diff(-p[order]) < NEAR * p[order][:-1]).any())
    p = np.where(keep, p, 0)
    return p / p.sum(), close


def check(
    parts: Sequence[Part],
    vectors: Tensor | None,
    prompts: Sequence[Sequence[int]],
    written: Tensor,
    uniforms: Tensor,
    choosing: Choosing,
    banned: Sequence[int] = (),
) -> None:
    """Every written token is what float64 chooses after the same tokens before it, where that is not too close."""
    for row, prompt in enumerate(prompts):
        network = InNumpy(parts, vectors, 1)
        for token in prompt[:-1]:
            network.step([token])
        last = prompt[-1]
        for place, token in enumerate(written[row].tolist()):
            logits = network.step([last])[0]
            last = token
            assert token not in banned
            if choosing.temperature == 0:
                allowed = np.delete(logits, list(banned))
                assert logits[token] >= allowed.max() - NEAR
                continue
            p, close = shares(logits, choosing, banned)
            if close:
                continue
            ends = np.cumsum(p)
            u = float(uniforms[row, place])
            assert p[token] > 0 and ends[token] - p[token] - NEAR <= u <= ends[token] + NEAR


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    kinds=st.lists(st.sampled_from(["lstm", "gru", "simple_rnn"]), min_size=1, max_size=3),
    units=st.sampled_from([1, 3, 8, 17, 33, 48]),
    vocabulary=st.integers(2, 40),
    batch=st.sampled_from([1, 2, 3, 7, 13, 33]),
    embedding=st.sampled_from([None, 1, 5, 20]),
    temperature=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    top_k=st.sampled_from([0, 1, 2, 5, 100]),
    top_p=st.sampled_from([1.0, 0.9, 0.3, 1e-6]),
    seed=st.integers(0, 2**16),
)
def test_written_tokens_are_those_of_float64(
    kinds: list[str],
    units: int,
    vocabulary: int,
    batch: int,
    embedding: int | None,
    temperature: float,
    top_k: int,
    top_p: float,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    vectors = None if embedding is None else torch.randn(vocabulary, embedding)
    parts = chain(kinds, features=embedding or vocabulary, units=units, vocabulary=vocabulary)
    prompts = [torch.randint(vocabulary, (1 + row % 4,)).tolist() for row in range(batch)]
    uniforms, choosing = torch.rand(batch, 9, dtype=torch.float64), Choosing(temperature, top_k, top_p)
    banned = [0] if vocabulary > 2 else []
    tokens, done = Writer(parts, vectors).write(prompts, 9, uniforms=uniforms, choosing=choosing, banned=banned)
    assert done.tolist() == [9] * batch
    check(parts, vectors, prompts, tokens, uniforms, choosing, banned)


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("vocabulary", [50, 1100])  # looked up, and not
def test_dense_stages_between_and_missing_biases(activation: str, vocabulary: int) -> None:
    torch.manual_seed(1)
    vectors = torch.randn(vocabulary, 6)
    parts = [
        dense(6, 11, activation), recurrence("gru", 11, 19, bias=False), dense(19, 5, activation),
        recurrence("simple_rnn", 5, 21, activation="relu", bias=False), dense(21, vocabulary),
    ]  # fmt: skip
    uniforms = torch.rand(5, 30, dtype=torch.float64)
    prompts = [[3, 1], [4], [0, 0, 7], [9], [vocabulary - 1]]
    tokens, _ = Writer(parts, vectors).write(prompts, 30, uniforms=uniforms)
    check(parts, vectors, prompts, tokens, uniforms, Choosing())


def network(seed: int = 0) -> tuple[list[Part], Tensor]:
    torch.manual_seed(seed)
    return chain(["lstm", "gru"], features=7, units=20, vocabulary=30), torch.randn(30, 7)


def test_pieces_are_the_whole() -> None:
    parts, vectors = network()
    writer, uniforms = Writer(parts, vectors), torch.rand(3, 40, dtype=torch.float64)
    prompts: list[list[int]] = [[1, 2, 3], [4], [5, 6]]
    whole, _ = writer.write(prompts, 40, uniforms=uniforms)
    state, read, pieces, at = writer.first_state(3), prompts, [], 0
    for size in (1, 2, 30, 7):
        tokens, _ = writer.write(read, size, uniforms=uniforms[:, at : at + size], state=state)
        pieces.append(tokens)
        read, at = tokens[:, -1:].tolist(), at + size
    # Also the rows that end before others, whose prompts are shorter.
    assert torch.equal(torch.cat(pieces, 1), whole)


def test_rows_do_not_know_of_each_other_and_runs_repeat() -> None:
    parts, vectors = network()
    writer, uniforms = Writer(parts, vectors), torch.rand(6, 50, dtype=torch.float64)
    prompts = [[1], [2, 3, 4, 5], [6], [7, 8], [9], [10]]
    together, _ = writer.write(prompts, 50, uniforms=uniforms)
    for _ in range(3):
        assert torch.equal(writer.write(prompts, 50, uniforms=uniforms)[0], together)
    for row, prompt in enumerate(prompts):
        alone, _ = writer.write([prompt], 50, uniforms=uniforms[row : row + 1])
        check(parts, vectors, [prompt], alone, uniforms[row : row + 1], Choosing())
    check(parts, vectors, prompts, together, uniforms, Choosing())


def test_nothing_to_write() -> None:
    parts, vectors = network()
    writer = Writer(parts, vectors)
    assert writer.write([[1], [2]], 0, uniforms=torch.zeros(2, 0, dtype=torch.float64))[0].shape == (2, 0)
    assert writer.write([], 5, uniforms=torch.zeros(0, 5, dtype=torch.float64))[0].shape == (0, 5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_row_ends_where_no_token_can_come(bad: float) -> None:
    # Token 2 leads to logits of which all are `bad`; each other token to the next one.
    weight = torch.eye(4).roll(1, 0) * 9
    weight[:, 2] = bad
    writer = Writer([Part("dense", {"weight_ih": weight}, "linear")])
    choosing = Choosing(0.01)
    tokens, done = writer.write([[0], [3]], 6, uniforms=torch.full((2, 6), 0.5, dtype=torch.float64), choosing=choosing)
    assert done.tolist() == [2, 3]
    assert tokens[0, :2].tolist() == [1, 2] and tokens[1, :3].tolist() == [0, 1, 2]


def test_banning_all_leaves_nothing() -> None:
    parts, vectors = network()
    tokens, done = Writer(parts, vectors).write([[1]], 3, choosing=Choosing(0), banned=range(30))
    assert done.tolist() == [0]
    tokens, done = Writer(parts, vectors).write([[1]], 3, choosing=Choosing(0), banned=[t for t in range(30) if t != 5])
    assert tokens.tolist() == [[5, 5, 5]]


def test_ties_go_to_the_lower_number_and_the_ends_of_the_line_are_in_it() -> None:
    writer = Writer([Part("dense", {"weight_ih": torch.zeros(4, 4)}, "linear")])
    uniforms = torch.tensor([[0.0, 0.25, 0.4999999, 0.5, 0.99999999, 1 - 2**-53]], dtype=torch.float64)

    def written(**how: Any) -> list[int]:
        return writer.write([[0]], 6, uniforms=uniforms, **how)[0][0].tolist()  # type: ignore[no-any-return]

    assert written() == [0, 1, 1, 2, 3, 3]
    assert written(choosing=Choosing(1.0, 2)) == [0, 0, 0, 1, 1, 1]
    assert written(choosing=Choosing(1.0, 0, 0.5)) == [0, 0, 0, 1, 1, 1]
    assert written(choosing=Choosing(1.0, 3, 0.5)) == [0, 0, 0, 1, 1, 1]
    assert written(banned=[0, 3]) == [1, 1, 1, 2, 2, 2]
    assert written(choosing=Choosing(0), banned=[0]) == [1] * 6
    assert written(choosing=Choosing(5e-324)) == [0, 1, 1, 2, 3, 3]


def test_changed_weights_are_seen() -> None:
    parts, vectors = network()
    writer = Writer(parts, vectors)
    assert writer.is_of(parts, vectors)
    with torch.no_grad():
        parts[1].weights["bias_hh"].add_(1)
    assert not writer.is_of(parts, vectors)
    assert not Writer(parts, vectors).is_of(parts, vectors.clone())


def test_refusals() -> None:
    parts, vectors = network()
    assert "is no number" not in (writer_refusal(parts, vectors) or "")
    assert "float64" in (writer_refusal([Part("dense", {"weight_ih": torch.eye(3).double()}, "linear")], None) or "")
    assert "classic_gru" in (writer_refusal([recurrence("classic_gru", 3, 3), dense(3, 3)], None) or "")
    assert "logit" in (writer_refusal([recurrence("gru", 3, 3)], None) or "")
    assert "stages" in (writer_refusal([], None) or "")
    with torch.inference_mode():
        frozen = Part("dense", {"weight_ih": torch.eye(3)}, "linear")
    with pytest.raises(ConfigError, match="inference mode"):
        Writer([frozen])
    writer = Writer(parts, vectors)
    with pytest.raises(DataError, match="empty prompt"):
        writer.write([[]], 3, choosing=Choosing(0))
    for wrong in (-1, 30):
        with pytest.raises(DataError, match=f"token {wrong}"):
            writer.write([[1], [2, wrong]], 3, choosing=Choosing(0))
    for wrong_state in ([[], []], [[torch.zeros(1, 20)] * 2, [torch.zeros(1, 20).double()], []]):
        with pytest.raises(ConfigError, match="state does not fit"):
            writer.write([[1]], 3, choosing=Choosing(0), state=wrong_state)  # type: ignore[arg-type]
    settings_: list[dict[str, Any]] = [{"temperature": -1}, {"temperature": math.nan}, {"top_k": -1}, {"top_p": 0}]
    for setting in settings_:
        with pytest.raises(ConfigError, match="chosen like this"):
            Choosing(**setting)
    with pytest.raises(ConfigError, match="random numbers"):
        writer.write([[1]], 3)
    with pytest.raises(ConfigError, match="one random number"):
        writer.write([[1]], 3, uniforms=torch.rand(1, 2, dtype=torch.float64))


def test_other_defaults_of_torch_change_nothing() -> None:
    parts, vectors = network()
    uniforms = torch.rand(2, 20, dtype=torch.float64)
    expected, _ = Writer(parts, vectors).write([[1], [2]], 20, uniforms=uniforms)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            found, _ = Writer(parts, vectors).write([[1], [2]], 20, uniforms=uniforms)
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(found, expected)
