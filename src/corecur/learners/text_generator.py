"""TextGenerator: plain text → a network that writes on in its manner, character by character or word by word.

N tokens, B batch (rows of text), T time, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from corecur import runtime
from corecur.bundle.open import Bundle
from corecur.data.batches import Batch, TensorBatches
from corecur.data.decoding import Progress
from corecur.data.text.contiguous_rows import contiguous_rows
from corecur.data.text.corpus import CorpusSet, CorpusSource, hold_out_end, load_corpus
from corecur.data.text.text_files import AUTO, TextReader
from corecur.data.text.token_arrays import UNKNOWN
from corecur.engine.callbacks import EarlyStopping
from corecur.engine.clipping import Clipping
from corecur.engine.crossentropy import Crossentropy
from corecur.engine.paired_tests import Measure
from corecur.engine.trainer import Trainer
from corecur.errors import BundleError, ConfigError, DataError
from corecur.layers.recurrent import recurrent_layers
from corecur.learners import generator_report
from corecur.learners.answer_record import AnswerRecord
from corecur.learners.continuations import Continuation, read_prompts
from corecur.learners.fill_splits import share_in
from corecur.learners.fit_result import FitResult
from corecur.learners.generator_recipe import GeneratorRecipe, choose_generator, recipe_for_speed, with_probabilities
from corecur.learners.generator_tokens import NOUNS, GeneratorPreprocess, Prompt, fit_generator_tokens
from corecur.learners.language_record import language_record
from corecur.learners.language_score import BLOCKS, SHORTEST_BLOCK, LanguageScore, score_losses
from corecur.learners.learner import Learner, name_of
from corecur.learners.outcome import Listing, Tell
from corecur.learners.sampling import Sampling, checked_sampling
from corecur.learners.simple_models import Contest, Way
from corecur.learners.token_counts import CHARACTERS, WORDS, counted_losses, counting_seconds
from corecur.learners.token_stream import TokenStream, token_losses
from corecur.learners.training import Training
from corecur.report.page import Section

LENGTH, TEMPERATURE = 400, 0.8
_LONGEST = 10_000_000
# A row of the validation text has so many tokens or more, so that its first ones, read without a past, weigh little.
_VALIDATION_ROW, _MOST_ROWS = 1024, 64
# Validation may take this share of the training time.
_VALIDATION_SHARE = 0.06
# Validation, the rate's warm-up and the machine's moods take the rest of a time budget.
_STEADY_SHARE = 0.8
_SPECIALS = 2  # padding and unknown, which are never written


class CorpusReading(BaseModel):
    """How plain text is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoding: str = Field(AUTO, description="encoding of the files; auto tries UTF-8 first")
    titles: bool = Field(default=True, description="of JSON lists of poems, read the titles too")


class TextGenerator(Learner[CorpusSource, GeneratorRecipe, GeneratorPreprocess]):
    """Learns to write on as a text does.

    ``fit`` takes a text file, a folder of them (also JSON lists of poems), the sample ``pydoc``, or a list of texts;
    ``generate`` writes, ``evaluate`` says how well a text is known.

    >>> learner = TextGenerator(epochs=12, units=32, bptt_steps=16, learning_rate=0.02, threads=1)
    >>> result = learner.fit(["abcd" * 500])
    >>> result.test.perplexity < 1.5, "".join(learner.generate("ab", length=6, temperature=0))
    (True, 'cdabcd')
    """

    task = "text-generation"
    title = "text generator"
    fills_time = True
    source_type = CorpusSource
    recipe_model = GeneratorRecipe
    reading_model = CorpusReading
    preprocess_model = GeneratorPreprocess

    def read(
        self,
        source: Any,
        labels: Any = None,
        *,
        validation: Any = None,
        test: Any = None,
        skip_bad: bool = False,
        progress: Progress | None = None,
    ) -> CorpusSource:
        """The text with a validation part; by default the last tenth."""
        if labels is not None:
            raise ConfigError("text to write from has no labels", do="leave them out, or train a TextClassifier")
        shares = {"validation": share_in(validation), "test": share_in(test)}
        parts = {"validation": validation, "test": test}
        given: dict[str, Any] = {k: part if shares[k] is None else shares[k] for k, part in parts.items()}
        if given["test"] == 0:
            given["test"] = None
        return load_corpus(
            source, encoding=self.reading.encoding, skip_bad=skip_bad, titles=self.reading.titles, **given
        )

    def complete(self, data: CorpusSource, *, validation: Any = None, test: Any = None) -> CorpusSource:
        """The text with the shares that it lacks held out from its end."""
        parts: dict[str, Any] = {}
        train = data.train
        for name, wanted in (("test", share_in(test)), ("validation", share_in(validation))):
            if getattr(data, name) is None and wanted:
                train, parts[name] = hold_out_end(train, wanted)
        return dataclasses.replace(data, train=train, **parts) if parts else data

    def describe(self, data: CorpusSource) -> list[str]:
        splits = {"to train on": data.train, "to validate with": data.validation, "to test on": data.test}
        shown = [f"{len(part.text):,} {name}" for name, part in splits.items() if part is not None]
        documents = f"; {len(data.train):,} documents" if len(data.train) > 1 else ""
        opening = " ".join(data.train.documents[0][:200].split())[:70]
        return [
            f"{name_of(data.origin)} ({data.kind}): characters: {', '.join(shown)}{documents}",
            f"it begins: {opening} …",
        ]

    def choose(self, data: CorpusSource, *, seconds: float | None = None) -> GeneratorRecipe:
        recipe = choose_generator(data.train.documents, overrides=self.settings)
        if seconds is None:
            return recipe
        began = time.perf_counter()
        tokens, speed = self._speed(data, recipe)
        left = max(1.0, seconds - (time.perf_counter() - began))
        return recipe_for_speed(recipe, self.settings, tokens=tokens, affordable=_STEADY_SHARE * speed * left)

    def _speed(self, data: CorpusSource, recipe: GeneratorRecipe) -> tuple[int, float]:
        """Tokens of the training text, and how many of them a second a training reads."""
        stream = self._fitted(data, recipe).numbers(data.train.text)
        network = recipe.build_network(max(int(stream.max()) + 1, recipe.vocabulary or 0)).to(self._device)
        trainer = self._trainer(recipe, network)
        piece = next(iter(contiguous_rows(stream.to(self._device), recipe.batch_size)))
        batch = Batch(piece.inputs[:, : recipe.bptt_steps], piece.targets[:, : recipe.bptt_steps])  # type: ignore[call-overload,index]
        seconds = runtime.least_seconds(lambda: trainer.train_step(batch))
        return len(stream), recipe.batch_size * recipe.bptt_steps / seconds

    def trial(self, data: CorpusSource) -> Callable[[], object]:
        recipe = choose_generator(data.train.documents, overrides=self.settings)
        network = recipe.build_network(128).to(self._device).eval()
        tokens = torch.zeros(min(16, recipe.batch_size), 8, dtype=torch.int64, device=self._device)

        @torch.no_grad()
        def answer() -> None:
            with runtime.precision(self._precision, self._device):
                network(tokens)

        return answer

    def advise(self, data: CorpusSource, recipe: GeneratorRecipe, *, timed: bool, tell: Tell) -> None:
        preprocess = self.preprocess
        size, (_, many) = len(preprocess.vocabulary) - _SPECIALS, NOUNS[recipe.level]  # type: ignore[index]
        tell(f"by {recipe.level}: {size:,} distinct {many}")
        if len(data.train.text) < 50_000:
            tell("! this is little text: what is written will be made of its phrases. 1,000,000 characters do well.")

    def set_up(self, data: CorpusSource, recipe: GeneratorRecipe) -> None:
        """Fit the vocabulary on the training text and build the network."""
        self._preprocess = self._fitted(data, recipe)
        self._logits = recipe.build_network(len(self._preprocess.vocabulary))
        self._network = with_probabilities(self._logits)

    def _fitted(self, data: CorpusSource, recipe: GeneratorRecipe) -> GeneratorPreprocess:
        level: Any = recipe.level
        return fit_generator_tokens(data.train.text, level=level, min_count=recipe.min_count, most=recipe.vocabulary)

    def plan(self, data: CorpusSource, recipe: GeneratorRecipe) -> Training:
        stream = self.preprocess.numbers(data.train.text)
        held = None if data.validation is None else self.preprocess.numbers(data.validation.text)
        rows, steps = recipe.batch_size, recipe.bptt_steps
        if len(stream) < rows * 2 + steps:
            raise DataError(
                "the text is shorter than a piece of it in every row",
                where=data.origin,
                got=f"{len(stream):,} tokens for {rows:,} rows (batch_size) and pieces of {steps:,} (bptt_steps)",
                do="give more text, or a smaller --batch-size or --bptt-steps",
            )
        checked = None if held is None or len(held) < 2 else held
        share = 0.0 if checked is None else len(checked) / 3 / (len(stream) * _VALIDATION_SHARE)
        return Training(
            trainer=self._trainer(recipe, self._logits),
            batches=contiguous_rows(stream.to(self._device), rows, shift=steps - 1, seed=self.seed),
            validation=None if checked is None else self._validation_rows(checked),
            validate_every=max(1, math.ceil(share)),
            epochs=recipe.epochs,
            stopping=EarlyStopping("val_loss", patience=recipe.patience, restore_best_weights=True),
            test_seconds=self._seconds_to_score(data),
        )

    @torch.no_grad()
    def _seconds_to_score(self, data: CorpusSource) -> float:
        """About how long the test and the report's look at the held-out text will take."""
        held = data.test or data.validation
        if held is None:
            return 0.0
        tokens = torch.full((_MOST_ROWS, 16), _SPECIALS, device=self._device)
        with runtime.precision(self._precision, self._device):
            seconds = runtime.least_seconds(lambda: self.network(tokens))
        return 1.25 * seconds / tokens.numel() * (len(held.text) + 2 * generator_report.LOOKED_AT)

    def _validation_rows(self, stream: Tensor) -> TensorBatches:
        rows = max(1, min(_MOST_ROWS, len(stream) // _VALIDATION_ROW))
        return contiguous_rows(stream.to(self._device), rows)

    def _trainer(self, recipe: GeneratorRecipe, network: Any) -> Trainer:
        return Trainer(
            network,
            loss=Crossentropy(),
            optimizer=recipe.optimizer_for(network),
            rate=recipe.schedule.rate_at,
            clipping=Clipping(norm=recipe.clip),
            precision=self._precision,
            bptt_steps=recipe.bptt_steps,
        )

    def test(self, data: CorpusSource) -> LanguageScore | None:
        """The score of the test text; of the validation text where there is none."""
        held = {"test": data.test, "validation": data.validation}
        name = next((name for name, part in held.items() if part is not None), None)
        return None if name is None else self._score(held[name], name)  # type: ignore[arg-type]

    def _score(self, part: CorpusSet, split: str) -> LanguageScore:
        numbers = self.preprocess.numbers(part.text)
        losses = self.losses(numbers)
        return score_losses(
            losses,
            split=split,
            level=self.preprocess.level,
            characters=len(self.preprocess.cleaning(part.text)) - 1,
            unknown=int((numbers[1:] == UNKNOWN).sum()),
        )

    def contest(self, data: CorpusSource, test: LanguageScore) -> Contest | None:
        """How often each token stands in the training text, and how often some stand in a row."""
        held = data.test or data.validation
        if held is None or test.losses is None:
            return None
        train, asked = (self.preprocess.numbers(part.text).long().numpy() for part in (data.train, held))
        most = CHARACTERS if self.preprocess.level == "char" else WORDS
        losses = functools.partial(counted_losses, train, asked, size=len(self.preprocess.vocabulary))
        one, many = NOUNS[self.preprocess.level]
        ways = (
            Way(f"frequencies of {many}", "majority", 0.0, lambda: losses(order=1)),
            Way(f"counts of {most} {many} in a row", "linear", counting_seconds(len(train), most),
                lambda: losses(order=most)),
        )  # fmt: skip
        measure = Measure(f"nats a {one}", higher_is_better=False, percent=False)
        return Contest(test.losses, ways, measure, block=max(SHORTEST_BLOCK, len(test.losses) // BLOCKS))

    def losses(self, numbers: Tensor, *, context: int | None = None) -> Tensor:
        """What each token number (N,) but the first costs the network: (N - 1,) nats."""
        return token_losses(self.network, numbers, precision=self._precision, context=context)

    def evaluate(
        self,
        source: Any,
        labels: Any = None,
        *,
        split: str = "test",
        skip_bad: bool = False,
        progress: Progress | None = None,
    ) -> LanguageScore:
        """Score a text: its test split if it has one, else all of it."""
        found, part = self._part(source, split, skip_bad)
        return dataclasses.replace(self._score(part, split), findings=found.findings)

    def _part(self, source: Any, split: str, skip_bad: bool) -> tuple[CorpusSource, CorpusSet]:
        """A source, and the part of it to be scored."""
        found = load_corpus(
            source, validation=0, encoding=self.reading.encoding, skip_bad=skip_bad, titles=self.reading.titles
        )
        parts = {"train": found.train, "validation": found.validation, "test": found.test}
        part = parts.get(split) or (found.train if found.validation is None and found.test is None else None)
        if part is None:
            known = ", ".join(name for name, one in parts.items() if one is not None)
            raise DataError(f"the source has several splits, and none is {split}", where=found.origin, got=known)
        return found, part

    def settle_threads(self) -> None:
        """Take the number of threads that serves the reading of single tokens best: one, where others use the cores."""
        stream = TokenStream(self.network)
        runtime.choose_threads(lambda: [stream.feed([_SPECIALS]) for _ in range(4)])

    def read_prompt(self, prompt: str) -> Prompt:
        """A prompt as the network reads it, with what was replaced in it."""
        if not isinstance(prompt, str):
            raise DataError("a prompt is a text", got=type(prompt).__name__)
        return self.preprocess.prompt(prompt)

    def generate(
        self,
        prompt: str = "",
        *,
        length: int = LENGTH,
        temperature: float = TEMPERATURE,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Iterator[str]:
        """Write on after ``prompt``: ``length`` tokens (characters, or words), as pieces of text when they come.

        ``temperature`` 0 takes the likeliest token each time; ``top_k`` and ``top_p`` cut to the likeliest ones, see
        `Sampling`. The same seed gives the same text, whatever computes it (`writing_path` in `token_stream`): native
        code where the network is one of its own recipes. Unknown characters of the prompt are replaced (`read_prompt`
        says by what). Raises ConfigError for settings out of their range.
        """
        sampling = checked_sampling(temperature=temperature, top_k=top_k, top_p=top_p)
        runtime.check_seed(seed)
        if isinstance(length, bool) or not isinstance(length, int) or not 1 <= length <= _LONGEST:
            raise ConfigError("a length is a number of tokens", got=repr(length), expected=f"1 to {_LONGEST:,}")
        return self._write(self.read_prompt(prompt), length, sampling, seed)

    def _write(self, prompt: Prompt, length: int, sampling: Sampling, seed: int) -> Iterator[str]:
        names, writer = self.preprocess.vocabulary.names, self.preprocess.writer()
        for number in prompt.tokens:  # spaces and quotation marks depend on what stands before
            writer(names[number])
        if prompt.text[-1:].isspace():
            writer.touch()
        stream, generator = TokenStream(self.network), torch.Generator().manual_seed(seed)
        for token in stream.write(prompt.tokens, length, sampling, generator, banned=range(_SPECIALS)):
            piece = writer(names[token])
            if piece:
                yield piece
        rest = writer.close()
        if rest:
            yield rest

    def predict(
        self, source: Any, *, skip_bad: bool = False, progress: Progress | None = None, **settings: Any
    ) -> list[Continuation]:
        """How each prompt goes on: a text, a list of texts, or files of them, a prompt on each line.

        ``settings`` are those of `generate`. Standard input is ``Path("-")``. Each prompt is continued by itself: what
        else is asked for does not change an answer.
        """
        reader = TextReader(encoding=self.reading.encoding, skip_bad=skip_bad)
        answers = []
        for name, text in read_prompts(source, reader):
            prompt = self.read_prompt(text)
            answers.append(Continuation(name, text, "".join(self.generate(text, **settings)), prompt.replaced))
        return answers

    def listing(self, answers: Sequence[Continuation], *, top: int) -> Listing:
        rows = [(answer.name, answer.prompt + answer.text) for answer in answers]
        return ("prompt", "text"), rows, ""

    def spreadsheet(self, answers: Sequence[Continuation]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        return ["name", "prompt", "text"], [[a.name, a.prompt, a.text] for a in answers]

    def facts(self, data: CorpusSource) -> dict[str, Any]:
        splits = {"training": data.train, "validation": data.validation, "test": data.test}
        return {
            "level": self.preprocess.level,
            "vocabulary": len(self.preprocess.vocabulary) - _SPECIALS,
            "documents": {name: len(part) for name, part in splits.items() if part is not None},
            "characters": {name: len(part.text) for name, part in splits.items() if part is not None},
        }

    def report(self, data: CorpusSource, result: FitResult, config: Mapping[str, Any]) -> Sequence[Section]:
        return generator_report.sections(self, data, result, config=config)

    def next_commands(self, bundle: Path, data: CorpusSource) -> tuple[str, ...]:
        model = shlex.quote(str(bundle))
        prompt = shlex.quote(generator_report.opening(data.validation or data.train))
        return (
            f"corecur generate {model} --prompt {prompt} --length 400 --temperature 0.8",
            f"corecur evaluate {model} TEXT",
            f"corecur info {model}",
        )

    def record(self, data: CorpusSource, outcome: LanguageScore) -> AnswerRecord:
        part = data.test or data.validation
        if part is None:
            raise ConfigError("there is no test split")
        return language_record(self.preprocess, part.text, outcome)

    def examine(
        self, source: Any, *, split: str = "test", skip_bad: bool = False, progress: Progress | None = None
    ) -> AnswerRecord:
        found, part = self._part(source, split, skip_bad)
        score = dataclasses.replace(self._score(part, split), findings=found.findings)
        return language_record(self.preprocess, part.text, score)

    def once(self, size: int) -> Callable[[], object]:
        stream = TokenStream(self.network)
        return lambda: stream.feed([_SPECIALS])

    def check_loaded(self, bundle: Bundle) -> None:
        symbols, outputs = self.network.input_symbols, self.network.output_symbols
        size = len(self.preprocess.vocabulary)
        if len(symbols) != 1 or len(outputs) != 1 or outputs[0].shape != (None, None, size):
            raise BundleError("bad-preprocess", "the vocabulary does not fit the network", where=bundle.path)
        sizes = {m.input_dim for m in self.network.modules() if hasattr(m, "input_dim")}
        if sizes != {size} or any(layer.go_backwards for layer in recurrent_layers(self.network)):
            raise BundleError("bad-architecture", "this network cannot write token after token", where=bundle.path)
