"""SequenceTagger: sentences with a tag for each word → a network that tags any sentence.

N sentences, B batch, T time (words), K tags.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from corecur import runtime
from corecur.bundle.open import Bundle
from corecur.data.check import drawn_findings
from corecur.data.decoding import Progress
from corecur.data.random_keys import permutation
from corecur.data.text.length_buckets import BucketBatches
from corecur.data.text.open_tagged import READERS, load_tagged, load_tagged_split
from corecur.data.text.tagged_sets import TaggedSet, TaggedSource
from corecur.data.text.text_files import AUTO, TextReader
from corecur.data.text.text_kinds import text_kind
from corecur.data.text.token_arrays import TokenArrays
from corecur.data.text.tokenizers import choose_tokenizer
from corecur.engine.accuracy import Accuracy
from corecur.engine.calibration import Calibration, calibrate
from corecur.engine.callback import Callback, Logs
from corecur.engine.callbacks import EarlyStopping
from corecur.engine.clipping import Clipping
from corecur.engine.crf_loss import CRFLoss
from corecur.engine.crossentropy import SparseCategoricalCrossentropy
from corecur.engine.loss import Loss
from corecur.engine.paired_tests import Measure
from corecur.engine.trainer import Trainer
from corecur.errors import BundleError, ConfigError, DataError
from corecur.finding import Finding
from corecur.layers.crf import CRF
from corecur.learners import tagger_report
from corecur.learners.answer_record import AnswerRecord, tagging_record
from corecur.learners.entities import are_entity_tags
from corecur.learners.fill_splits import share_in
from corecur.learners.fit_result import FitResult
from corecur.learners.learner import NO_VALIDATION, Learner
from corecur.learners.outcome import Listing, Outcome
from corecur.learners.simple_features import usual_tags
from corecur.learners.simple_models import Contest, Way
from corecur.learners.tag_confidence import NOUN, calibrate_chains, tag_confidence, tag_probabilities
from corecur.learners.tag_doubts import doubtful_tags
from corecur.learners.tagger_inputs import SpellOut, TaggerPreprocess, doubts, fit_tagger_inputs
from corecur.learners.tagger_recipe import TaggerRecipe, choose_tagger
from corecur.learners.tagging_evaluation import TaggedSentence, TaggingEvaluation, evaluate_tagging
from corecur.learners.training import Training
from corecur.report.charts import percent
from corecur.report.page import Section

Array = NDArray[Any]

_PREDICT_BATCH = 256
_MOST_SHOWN = 12  # tags named when a source is described
_MOST_TAGS = 5000
# What a temperature is fitted on, at most: words times tags, with a CRF times tags once more.
_MOST_CELLS = 5_000_000
# Of a search for a temperature of a CRF, in readings of the sentences that it is fitted on.
_SEARCHED = 8


class TaggedReading(BaseModel):
    """How tagged sentences are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoding: str = Field(AUTO, description="encoding of the files; auto tries UTF-8 first")


class EntityScore(Callback):
    """Adds ``val_f1``, the F1 of whole entities in some sentences, to the results of an epoch."""

    def __init__(self, tagger: SequenceTagger, held: TaggedSet) -> None:
        self.tagger = tagger
        self.held = held

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["val_f1"] = evaluate_tagging(self.held.tags or (), self.tagger.tags_of(self.held)).f1


class SequenceTagger(Learner[TaggedSource, TaggerRecipe, TaggerPreprocess]):
    """Learns to give every word of a sentence a tag: parts of speech, names of people and places.

    ``fit`` takes a CoNLL or CoNLL-U file or a folder of them, or in Python lists of words beside lists of tags.

    >>> sentences, tags = [["a", "cat", "sleeps"], ["a", "dog", "runs"]] * 20, [["DET", "NOUN", "VERB"]] * 40
    >>> tagger = SequenceTagger(epochs=8, units=8, threads=1)
    >>> _ = tagger.fit(sentences, tags)
    >>> tagger.predict([["a", "dog", "sleeps"]])[0].tags
    ('DET', 'NOUN', 'VERB')
    """

    task = "sequence-tagging"
    title = "sequence tagger"
    source_type = TaggedSource
    recipe_model = TaggerRecipe
    reading_model = TaggedReading
    preprocess_model = TaggerPreprocess

    def read(
        self,
        source: Any,
        labels: Any = None,
        *,
        validation: Any = None,
        test: Any = None,
        skip_bad: bool = False,
        progress: Progress | None = None,
    ) -> TaggedSource:
        given = {"validation": validation, "test": test}
        parts = {name: None if share_in(part) is not None else part for name, part in given.items()}
        found = load_tagged(source, labels, encoding=self.reading.encoding, skip_bad=skip_bad, **parts)
        return self.complete(found, validation=validation, test=test)

    def complete(self, data: TaggedSource, *, validation: Any = None, test: Any = None) -> TaggedSource:
        shares = {
            "test": 0.0 if data.test is not None else share_in(test),
            "validation": 0.0 if data.validation is not None else share_in(validation),
        }
        usual = 0.1 if len(data.train) >= 20 else 0.0
        order = permutation(len(data.train), self.split_seed, stream="splits")
        parts: dict[str, Any] = {}
        for name, share in shares.items():
            count = round(len(data.train) * (usual if share is None else share))
            if count:
                parts[name], order = data.train.take(order[:count].sort().values), order[count:]
        if not parts:
            return data
        if not len(order):
            raise DataError("no sentence is left to learn from", where=data.origin, do="take smaller shares")
        rest = data.train.take(order.sort().values)
        notes = [note for name, held in parts.items() for note in drawn_findings(rest, held, split=name)]
        return dataclasses.replace(data, train=rest, findings=(*data.findings, *notes), **parts)

    def describe(self, data: TaggedSource) -> list[str]:
        splits = {"training": data.train, "validation": data.validation, "test": data.test}
        shown = ", ".join(f"{len(s):,} {name} ({s.words:,} words)" for name, s in splits.items() if s is not None)
        tags = ", ".join(data.classes[:_MOST_SHOWN]) + (", …" if len(data.classes) > _MOST_SHOWN else "")
        return [f"{data.origin} ({data.kind}): sentences: {shown}", f"{len(data.classes)} tags: {tags}"]

    def choose(self, data: TaggedSource, *, seconds: float | None = None) -> TaggerRecipe:
        return choose_tagger(tokens=data.train.words, overrides=self.settings)

    def set_up(self, data: TaggedSource, recipe: TaggerRecipe) -> None:
        if len(data.classes) > _MOST_TAGS:
            raise DataError(
                "there are too many different tags",
                where=data.origin,
                got=f"{len(data.classes):,} tags: {', '.join(data.classes[:3])}, …",
                expected=f"{_MOST_TAGS:,} at most",
                do="check that the last column holds the tags",
            )
        self.classes = data.classes
        self._preprocess = fit_tagger_inputs(
            data.train.sentences, min_count=recipe.min_count, outlines=recipe.outline > 0
        )
        self._network = recipe.build_network(self._preprocess.sizes, tags=len(data.classes))

    def plan(self, data: TaggedSource, recipe: TaggerRecipe) -> Training:
        held = None if data.validation is None else self._batches(data.validation, tagged=True)
        # Nearly all words are outside of entities: how many words are right says little there.
        entities = data.validation is not None and are_entity_tags(data.classes)
        score = (EntityScore(self, data.validation),) if entities and data.validation is not None else ()
        loss: Loss = CRFLoss() if recipe.crf else SparseCategoricalCrossentropy(from_logits=True)
        trainer = Trainer(
            self.network,
            loss=loss,
            optimizer=recipe.optimizer_for(self.network),
            metrics=[Accuracy()],
            rate=recipe.schedule.rate_at,
            clipping=Clipping(norm=5.0),
            precision=self._precision,
        )
        return Training(
            trainer=trainer,
            batches=self._batches(data.train, tagged=True, recipe=recipe),
            validation=held,
            epochs=recipe.epochs,
            stopping=EarlyStopping(
                f"val_{'f1' if score else 'accuracy'}", mode="max", patience=recipe.patience, restore_best_weights=True
            ),
            callbacks=score,
            test_seconds=self._seconds_to_test(data),
        )

    def _batches(self, part: TaggedSet, *, tagged: bool, recipe: TaggerRecipe | None = None) -> BucketBatches:
        """Batches of sentences; those of the recipe for training, others in order of length."""
        preprocess, training = self.preprocess, recipe is not None
        words = preprocess.numbers(part.sentences)
        places, table = preprocess.spelled(part.sentences)
        doubt = None
        if recipe is not None and recipe.word_dropout:
            doubt = doubts(part.sentences, preprocess.words, strength=recipe.word_dropout)
        return BucketBatches(
            (words, places, *preprocess.outlined(part.sentences)),
            self._tag_numbers(part) if tagged else None,
            batch_size=_PREDICT_BATCH if recipe is None else recipe.batch_size,
            shuffle=training,
            by_length=not training,
            seed=self.seed,
            transform=SpellOut(table, doubt=doubt, seed=self.seed),
            device=self._device,
        )

    def _tag_numbers(self, part: TaggedSet) -> TokenArrays:
        """The tags as class numbers."""
        numbers = {tag: number for number, tag in enumerate(self.classes)}
        return TokenArrays.of([[numbers[tag] for tag in tags] for tags in part.tags or ()])

    def tags_of(self, part: TaggedSet) -> list[tuple[str, ...]]:
        """The tags of each sentence, in the order given."""
        found: list[tuple[str, ...]] = [()] * len(part)
        for row, best in self._answered(part, lambda output: output.argmax(-1)):  # (B, T, K) -> (B, T)
            found[row] = tuple(self.classes[k] for k in best.tolist())
        return found

    def probabilities_of(self, part: TaggedSet, *, calibrated: bool = True) -> list[NDArray[np.float32]]:
        """The probability of each tag at each word of each sentence, (T, K), whatever the other words are tagged.

        ``calibrated`` ones are those at the temperature that the validation split asked for.
        """
        found: list[NDArray[np.float32]] = [np.zeros((0, len(self.classes)), np.float32)] * len(part)
        temperature = self.preprocess.temperature if calibrated else 1.0
        for row, likely in self._answered(part, lambda output: tag_probabilities(output, temperature)):
            found[row] = likely.float().numpy()
        return found

    def _answers(self, part: TaggedSet, *temperatures: float) -> Iterator[tuple[int, Array, list[Array]]]:
        """Of each sentence its row, the numbers of its tags (T,), and at each temperature their probabilities."""

        def read(output: Tensor) -> Tensor:
            best = output.argmax(-1, keepdim=True).double()
            each = (tag_probabilities(output, temperature).double() for temperature in temperatures)
            return torch.cat([best, *each], -1)  # (B, T, 1 + K of each)

        tags = len(self.classes)
        for row, made in self._answered(part, read):
            numbers = made[:, 0].long().numpy()
            yield row, numbers, [one.numpy() for one in torch.split(made[:, 1:], tags, -1)]

    @torch.no_grad()
    def _answered(self, part: TaggedSet, read: Callable[[Tensor], Tensor]) -> Iterator[tuple[int, Tensor]]:
        """Of each sentence its row, and what ``read`` makes of the outputs (B, T, K) at its words."""
        for rows, output, _ in self._outputs(part, tagged=False):
            for row, own in zip(rows, read(output).cpu(), strict=True):
                yield row, own[: len(part.sentences[row])]

    @torch.no_grad()
    def _outputs(self, part: TaggedSet, *, tagged: bool) -> Iterator[tuple[list[int], Tensor, Any]]:
        """Of each batch the rows of its sentences, the network's outputs (B, T, K), and their tags (B, T)."""
        network = self.network
        training = network.training
        network.eval()
        with runtime.precision(self._precision, self._device):
            for batch in self._batches(part, tagged=tagged):
                rows = [] if batch.index is None else batch.index.tolist()
                yield rows, network(*batch.inputs), batch.targets
        network.train(training)

    def calibrate(self, data: TaggedSource) -> Calibration:
        """Fit the temperature of the probabilities on the words of the validation split."""
        held = data.validation
        if held is None:
            return Calibration(obstacle=NO_VALIDATION, noun=NOUN)
        found = self._fit_temperature(held)
        self._preprocess = self.preprocess.model_copy(update={"temperature": found.temperature})
        return found

    def _seconds_to_test(self, data: TaggedSource) -> float:
        """About how long calibration and test will take, from a few sentences."""
        asked = data.test or data.validation
        if asked is None or not len(asked):
            return 0.0
        some = asked.take(torch.arange(min(32, len(asked))))
        list(self._answers(some, 1.0, 2.0))
        began = time.perf_counter()
        list(self._answers(some, 1.0, 2.0))
        fitted = 0 if data.validation is None else len(self._enough(data.validation))
        readings = fitted * _SEARCHED + (0 if data.test is None else len(data.test))
        return 1.25 * (time.perf_counter() - began) / len(some) * readings

    def _enough(self, held: TaggedSet) -> TaggedSet:
        """As many sentences as a temperature needs, which is one number."""
        cells = held.words * len(self.classes) ** (1 if self.crf is None else 2)
        if cells <= _MOST_CELLS:
            return held
        return held.take(torch.linspace(0, len(held) - 1, max(1, len(held) * _MOST_CELLS // cells)).long())

    def _fit_temperature(self, held: TaggedSet) -> Calibration:
        held = self._enough(held)
        if self.crf is not None:
            found = [(output.chain, tags) for _, output, tags in self._outputs(held, tagged=True)]  # type: ignore[attr-defined]
            return calibrate_chains([chain for chain, _ in found], [tags for _, tags in found])
        numbers = self._tag_numbers(held)
        shares = self.probabilities_of(held, calibrated=False)
        together = torch.from_numpy(np.concatenate(shares)) if shares else torch.zeros(0, len(self.classes))
        return dataclasses.replace(calibrate(together, numbers.flat.long()), noun=NOUN)

    def test(self, data: TaggedSource) -> TaggingEvaluation | None:
        return None if data.test is None else self._evaluate(data.test)

    def contest(self, data: TaggedSource, test: TaggingEvaluation) -> Contest | None:
        """One tag for all, and each word's most frequent tag."""
        train, held = data.train, data.test
        if train.tags is None or held is None:
            return None
        seen, given, asked = train.sentences, train.tags, held.sentences

        def counts(answers: Sequence[Sequence[str]]) -> Any:
            return evaluate_tagging(test.truth, answers).counts

        commonest = Counter(tag for tags in given for tag in tags).most_common(1)[0][0]
        ways = (
            Way("majority tag", "majority", 0.0, lambda: counts([(commonest,) * len(words) for words in asked])),
            Way("most frequent tag of each word", "linear", 0.0, lambda: counts(usual_tags(seen, given, asked))),
        )
        measure = Measure("F1 of entities" if test.entities else "accuracy")
        return Contest(test.counts, ways, measure, test.score, samples=test.tokens)

    def doubts(self, data: TaggedSource, test: Outcome | None) -> list[Finding]:
        """Tags of held-out sentences that are probably wrong."""
        return doubtful_tags(self, data, test)

    def _evaluate(self, part: TaggedSet) -> TaggingEvaluation:
        """A test on tagged sentences, and how far the probabilities of the answers can be believed."""
        number = {tag: place for place, tag in enumerate(self.classes)}
        temperature = self.preprocess.temperature
        asked = (temperature,) if temperature == 1.0 else (temperature, 1.0)
        tags: list[tuple[str, ...]] = [()] * len(part)
        words: list[tuple[Any, ...]] = []  # of each sentence: numbers of answers and truth, probabilities
        for row, best, shares in self._answers(part, *asked):
            tags[row] = tuple(self.classes[k] for k in best.tolist())
            truth = np.array([number[tag] for tag in (part.tags or ())[row]], dtype=np.int64)
            words.append((best, truth, shares))
        answers, truths = [one[0] for one in words], [one[1] for one in words]
        found = None
        for place in reversed(range(len(asked))):
            shares = [one[2][place] for one in words]
            found = tag_confidence(shares, answers, truths, temperature=asked[place], before=found)
        return evaluate_tagging(part.tags or (), tags, confidence=found)

    def evaluate(
        self,
        source: Any,
        labels: Any = None,
        *,
        split: str = "test",
        skip_bad: bool = False,
        progress: Progress | None = None,
    ) -> TaggingEvaluation:
        part, findings = load_tagged_split(
            source, labels, classes=self.classes, split=split, encoding=self.reading.encoding, skip_bad=skip_bad
        )
        return dataclasses.replace(self._evaluate(part), findings=findings)

    def predict(self, source: Any, *, skip_bad: bool = False, progress: Progress | None = None) -> list[TaggedSentence]:
        """Tags for a sentence (a str, or a list of words), several of them, or the lines of files.

        Of CoNLL files the words are read, their tags ignored; of any other file, and of standard
        input (``Path("-")``), every line is a sentence.
        """
        part = _sentences(source, TextReader(encoding=self.reading.encoding, skip_bad=skip_bad))
        found = [TaggedSentence(name, words, ()) for name, words in zip(part.names, part.sentences, strict=True)]
        for row, best, (shares,) in self._answers(part, self.preprocess.temperature):
            tags, sure = tuple(self.classes[k] for k in best.tolist()), np.take_along_axis(shares, best[:, None], 1)
            found[row] = dataclasses.replace(found[row], tags=tags, probabilities=tuple(sure[:, 0].tolist()))
        return found

    def listing(self, answers: Sequence[TaggedSentence], *, top: int) -> Listing:
        rows = [(a.name if n == 0 else "", word, tag, percent(sure))
                for a in answers for n, (word, tag, sure) in enumerate(_words(a))]  # fmt: skip
        return ("sentence", "word", "tag", "probability"), rows, ""

    def spreadsheet(self, answers: Sequence[TaggedSentence]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        rows = [[a.name, word, tag, f"{sure:.6f}"] for a in answers for word, tag, sure in _words(a)]
        return ["sentence", "word", "tag", "probability"], rows

    def facts(self, data: TaggedSource) -> dict[str, Any]:
        splits = {"training": data.train, "validation": data.validation, "test": data.test}
        return {
            "classes": list(data.classes),
            "sentences": {name: len(part) for name, part in splits.items() if part is not None},
            "words": {name: part.words for name, part in splits.items() if part is not None},
        }

    def report(self, data: TaggedSource, result: FitResult, config: Mapping[str, Any]) -> Sequence[Section]:
        return tagger_report.sections(self, data, result, config=config)

    def record(self, data: TaggedSource, outcome: TaggingEvaluation) -> AnswerRecord:
        if data.test is None:
            raise ConfigError("there is no test split")
        return tagging_record(self.task, data.test, outcome, self.classes)

    def examine(
        self, source: Any, *, split: str = "test", skip_bad: bool = False, progress: Progress | None = None
    ) -> AnswerRecord:
        part, findings = load_tagged_split(
            source, classes=self.classes, split=split, encoding=self.reading.encoding, skip_bad=skip_bad
        )
        found = dataclasses.replace(self._evaluate(part), findings=findings)
        return tagging_record(self.task, part, found, self.classes)

    def once(self, size: int) -> Callable[[], object]:
        words = self.preprocess.words.tokens
        part = TaggedSet((tuple(words[place % len(words)] for place in range(max(1, size))),), None, ("",))
        return lambda: list(self._answers(part, self.preprocess.temperature))

    def check_loaded(self, bundle: Bundle) -> None:
        symbols, outputs = self.network.input_symbols, self.network.output_symbols
        known = self.preprocess.sizes
        if len(symbols) != len(known) or len(outputs) != 1 or outputs[0].shape[-1] != len(self.classes):
            raise BundleError("bad-labels", "the labels do not fit the network's outputs", where=bundle.path)
        sizes = [getattr(m, "input_dim", None) for m in self.network.modules() if hasattr(m, "input_dim")]
        members = max(1, len(sizes) // len(known))  # each of a combination looks up its own vectors
        if sizes != list(known.values()) * members:
            raise BundleError("bad-preprocess", "the vocabularies do not fit the network", where=bundle.path)

    @property
    def crf(self) -> CRF | None:
        """The last layer, where it has learned which tags follow each other."""
        found = (layer for layer in self.network.layers if isinstance(layer, CRF) and layer.answer == "path")
        return next(found, None)


def _words(answer: TaggedSentence) -> Iterator[tuple[str, str, float]]:
    return zip(answer.tokens, answer.tags, answer.probabilities, strict=True)


def _sentences(source: Any, reader: TextReader) -> TaggedSet:
    """Sentences to answer for, with what messages call them; those that are text are parted into words."""
    if isinstance(source, (str, Path)):
        source = [source]
    if not isinstance(source, (list, tuple)) or not source:
        raise DataError("there are no sentences here", got=repr(source)[:60], expected="a sentence, or a list of them")
    found: list[tuple[str, str | tuple[str, ...]]] = []
    for number, entry in enumerate(source):
        if isinstance(entry, Path):
            found += _read(entry, reader)
        else:
            found.append((f"sentence {number}", entry if isinstance(entry, str) else tuple(map(str, entry))))
    tokenize = choose_tokenizer(entry for _, entry in found if isinstance(entry, str))
    sentences = [(name, tuple(tokenize(entry)) if isinstance(entry, str) else entry) for name, entry in found]
    if not any(words for _, words in sentences):
        raise DataError("there is no word in what was given", got=f"{len(sentences)} empty sentences")
    return TaggedSet(tuple(words for _, words in sentences), None, tuple(name for name, _ in sentences))


def _read(path: Path, reader: TextReader) -> list[tuple[str, str | tuple[str, ...]]]:
    """The sentences of a file: words of a CoNLL file, lines of any other and of standard input."""
    kind = None if str(path) == "-" else text_kind(path)
    if kind is not None and kind in READERS:
        part = READERS[kind](path, reader)
        return [] if part is None else list(zip(part.names, part.sentences, strict=True))
    text = sys.stdin.read() if str(path) == "-" else reader.read(path) or ""
    return [(f"{path.name}:{number}", line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
