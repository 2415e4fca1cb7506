"""What a text generator expects next, to be explained by the tokens before it.

N variants, T time (tokens), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from corecur.data.text.text_files import TextReader
from corecur.explain.question import Question, Shown, differentiable, log_odds, run_parts
from corecur.learners.continuations import read_prompts
from corecur.learners.explained_class import wanted_class
from corecur.learners.token_gates import gated, mean_row
from corecur.report.charts import percent

if TYPE_CHECKING:
    from corecur.data.text.corpus import CorpusSource
    from corecur.learners.text_generator import TextGenerator

# Tokens before the last that are looked at: what stands further back moves the next one little.
_MOST_TOKENS, _MOST_PARTS, _SPECIALS = 256, 96, 2
_PROMPT = 60  # characters before the token that the report explains
_LOGITS_AT_ONCE = 2**22
_SHOWN = {"\n": "⏎", " ": "␣", "\t": "⇥"}


def generator_questions(
    learner: TextGenerator, source: Any, target: str | None, *, skip_bad: bool
) -> Iterator[Question]:
    """A question for each prompt of a source as `predict` takes it: which tokens make ``target`` the next one.

    By default the likeliest next token.
    """
    for name, text in read_prompts(source, TextReader(encoding=learner.reading.encoding, skip_bad=skip_bad)):
        yield generator_question(learner, name, text, target)


def generator_question(learner: TextGenerator, name: str, text: str, target: str | None = None) -> Question:
    """The question for the token after one prompt."""
    network, names = learner.network, learner.preprocess.vocabulary.names
    prompt = learner.read_prompt(text)
    tokens = torch.tensor(prompt.tokens[-_MOST_TOKENS:], device=learner._device)[None]  # (1, T)
    count = tokens.shape[1]

    def probabilities(variants: Tensor) -> Tensor:
        with gated(network, variants, base=mean_row):
            return network(tokens.expand(len(variants), -1))[:, -1].float()  # type: ignore[no-any-return]

    with torch.no_grad(), differentiable(network):
        expected = probabilities(torch.ones(1, count, device=learner._device))[0].cpu()
    expected[:_SPECIALS] = 0.0
    place = wanted_class(names, expected, target, what="token")
    shown = tuple(_SHOWN.get(names[token], names[token]) for token in tokens[0].tolist())
    best = int(expected.argmax())
    said = f"{_SHOWN.get(names[best], names[best])!r} expected next ({percent(float(expected[best]))})"
    gates = torch.ones(count, device=learner._device)
    left_out = len(prompt.tokens) - count
    notes = [str(found) for found in (prompt.finding(),) if found]
    notes += [f"The first {left_out:,} tokens of the prompt are left out."] if left_out else []
    return Question(
        name=name,
        kind="text",
        network=network,
        score=lambda variants: log_odds(probabilities(variants), place),
        inputs=gates,
        baseline=torch.zeros_like(gates),
        parts=run_parts(count, most=_MOST_PARTS).to(gates.device),
        target=f"{_SHOWN.get(names[place], names[place])!r} next",
        answer=said,
        removed="the mean of all tokens",
        shown=Shown(words=shown, spaced=learner.preprocess.level == "word"),
        batch=max(1, min(128, _LOGITS_AT_ONCE // (count * len(names)))),
        notes=tuple(notes),
    )


def held_out_prompts(learner: TextGenerator, data: CorpusSource) -> Iterator[Question]:
    """Beginnings out of the held-out text, for the report."""
    text = (data.validation or data.test or data.train).text
    for place in range(0, max(1, len(text) - _PROMPT), _PROMPT):
        piece = text[place : place + _PROMPT]
        if piece.strip():
            yield generator_question(learner, f"held-out text at {place:,}", piece)
