"""The report of a text generator, gathered from the run.

N tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from corecur.data.text.corpus import CorpusSet, CorpusSource
from corecur.data.text.token_arrays import UNKNOWN
from corecur.engine.progress import clock
from corecur.learners.fit_result import FitResult
from corecur.learners.generator_tokens import NOUNS
from corecur.learners.language_score import LanguageScore
from corecur.report.charts import learning_curves, percent
from corecur.report.classification import flat_config
from corecur.report.language_charts import context_curve, perplexity_curve
from corecur.report.page import Block, Code, Columns, Finding, KeyValues, Rows, Section, Text
from corecur.report.svg import shorten
from corecur.summary import summarize

if TYPE_CHECKING:
    from corecur.learners.text_generator import TextGenerator

TEMPERATURES = (0.5, 0.8, 1.0)
_SAMPLE = {"char": 500, "word": 120, "bpe": 150}
# From so many kinds of characters on, a character says as much as a piece of a word.
_SCRIPT_OF_WORDS = 1000
_LONGEST_OPENING = 40
_MOST_TOKENS = 25
# Tokens of the held-out text that the tables and the chart of the past are made of.
LOOKED_AT, _CONTEXT = 65_536, 256
_SHOWN = {"\n": "⏎ (line end)", " ": "␣ (space)", "\t": "⇥ (tab)"}


def sections(
    learner: TextGenerator, data: CorpusSource, result: FitResult, *, config: Mapping[str, Any]
) -> list[Section]:
    """The sections of the page: the answer and samples first, the evidence after them, the settings last."""
    history = [{"epoch": float(n + 1)} | {k: float(v) for k, v in row.items()} for n, row in enumerate(result.history)]
    curves: list[Block] = list(learning_curves(history))
    perplexity = perplexity_curve(history)
    if perplexity is not None:
        curves.insert(1, perplexity)
    return [
        Section("Result", _result(learner, data, result)),
        _samples(learner, data),
        Section("Curves", [Columns(curves)] if curves else [Text("No epoch was finished.")]),
        Section("Text", _text_facts(learner, data)),
        *_evidence(learner, data),
        Section("Network", [Code(summarize(learner.network))]),
        Section("Configuration", [KeyValues(flat_config({k: config[k] for k in ("source", "seed", "recipe")}))]),
        Section("Environment", [KeyValues(config["environment"])]),
        Section("Next commands", [Code(command, command=True) for command in result.next_commands]),
    ]


def opening(part: CorpusSet) -> str:
    """The beginning of a line of a text, to continue: the first line that begins inside it.

    >>> opening(CorpusSet(("half a line\\nROMEO:\\nO!",), ("a",)))
    'ROMEO:'
    """
    lines = [line for line in part.documents[0][:20_000].split("\n") if line.strip()]
    return " ".join((lines[1] if len(lines) > 1 else lines[0] if lines else "").split())[:_LONGEST_OPENING]


def _result(learner: TextGenerator, data: CorpusSource, result: FitResult) -> list[Block]:
    score: LanguageScore | None = result.test
    level = learner.preprocess.level
    one, many = NOUNS[level]
    figures: dict[str, str] = {}
    if score is not None:
        figures = {f"Nats a {one}": f"{score.nats:.3f}", "Perplexity": f"{score.perplexity:.2f}"}
        if score.bits_per_character is not None:
            figures["Bits a character"] = f"{score.bits_per_character:.3f}"
    figures |= {
        f"Distinct {many}": f"{len(learner.preprocess.vocabulary) - 2:,}",
        "Parameters": f"{learner.network.count_params():,}",
        "Epochs": f"{len(result.history)}" + (f" of {result.planned_epochs}" if result.stopped_early else ""),
        "Training time": clock(result.train_seconds),
        "Time in all": clock(result.seconds),
    }
    verdict = "Nothing was held out to score." if score is None else score.sentence()
    remarks = [] if score is None else [_how(score)]
    findings = [Finding.of(found) for found in result.findings]
    lead = Text(f"{verdict[0].upper()}{verdict[1:]}{'' if verdict.endswith('.') else '.'}", lead=True)
    return [lead, KeyValues(figures, tiles=True), *remarks, *findings]


def _how(score: LanguageScore) -> Text:
    """How the figure came about."""
    chosen = (
        "The weights are those of the epoch with the lowest loss on this very text, so the figure is a little kind. "
        if score.split == "validation"
        else ""
    )
    unknown = f" {score.unknown:,} of them are unknown, and scored as “unknown”." if score.unknown else ""
    return Text(
        f"{chosen}Every token was scored with what stands before it; the interval is a bootstrap over blocks of the "
        f"text.{unknown}"
    )


def _samples(learner: TextGenerator, data: CorpusSource) -> Section:
    prompt = opening(data.validation or data.test or data.train)
    length = _SAMPLE[learner.preprocess.level]
    if len(learner.preprocess.vocabulary) > _SCRIPT_OF_WORDS:
        length = min(length, _SAMPLE["bpe"])
    blocks: list[Block] = []
    for temperature in TEMPERATURES:
        written = "".join(learner.generate(prompt, length=length, temperature=temperature, seed=0))
        blocks += [Text(f"Temperature {temperature:g}:"), Code(prompt + written, command=True)]
    note = f"What the network writes after “{prompt}”: the lower the temperature, the safer its choices. Seed 0."
    return Section("Samples", blocks, note=note)


def _text_facts(learner: TextGenerator, data: CorpusSource) -> list[Block]:
    """A row for each split."""
    many = NOUNS[learner.preprocess.level][1]
    rows: list[tuple[object, ...]] = []
    for name, part in (("training", data.train), ("validation", data.validation), ("test", data.test)):
        if part is not None:
            numbers = learner.preprocess.numbers(part.text)
            unknown = float((numbers == UNKNOWN).float().mean()) if len(numbers) else 0.0
            lines, kinds = part.text.count("\n") + 1, int((torch.bincount(numbers) > 0).sum())
            rows.append((name, len(part), lines, len(part.text), len(numbers), kinds, percent(unknown, 2)))
    return [Rows(("split", "documents", "lines", "characters read", f"{many} learned", "distinct", "unknown"), rows)]


def _evidence(learner: TextGenerator, data: CorpusSource) -> list[Section]:
    """The most frequent tokens with what each costs, and how much of the past the network uses."""
    preprocess = learner.preprocess
    counts = torch.bincount(preprocess.numbers(data.train.text), minlength=len(preprocess.vocabulary))
    held = data.test or data.validation
    numbers = None if held is None else preprocess.numbers(held.text)[:LOOKED_AT]
    scored = numbers if numbers is not None and len(numbers) > 1 else None
    losses = None if scored is None else learner.losses(scored)
    one, many = NOUNS[preprocess.level]
    frequent = Section(
        f"Most frequent {many}",
        [_frequent(preprocess.vocabulary.names, counts, scored, losses, one)],
        note=None if losses is None else f"The nats are those of the {one} in the held-out text, on average.",
    )
    if scored is None or len(scored) < 2 * _CONTEXT:
        return [frequent]
    count = (len(scored) - 1) // _CONTEXT * _CONTEXT
    by_place = learner.losses(scored[: count + 1], context=_CONTEXT).view(-1, _CONTEXT).mean(0)  # (N,)
    return [Section("How much the past helps", [context_curve(by_place.numpy(), noun=many)]), frequent]


def _frequent(names: tuple[str, ...], counts: Tensor, scored: Tensor | None, losses: Tensor | None, one: str) -> Rows:
    total = int(counts.sum())
    rows: list[tuple[object, ...]] = []
    for number in counts.argsort(descending=True, stable=True)[:_MOST_TOKENS].tolist():
        name, count = _SHOWN.get(names[number], shorten(names[number], 30)), int(counts[number])
        row: list[object] = [name, count, percent(count / total)]
        if scored is not None and losses is not None:
            costs = losses[scored[1:] == number]
            row.append(f"{float(costs.mean()):.3f}" if len(costs) else "–")
        rows.append(tuple(row))
    header = (one, "times", "share", "nats")
    return Rows(header if losses is not None else header[:3], rows)
