"""TextClassifier: texts in classes → a trained, tested, reported and saved network that reads.

N texts, B batch, T time (tokens), K classes.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from corecur import runtime
from corecur.bundle.open import Bundle
from corecur.data.decoding import Progress
from corecur.data.text.length_buckets import BucketBatches
from corecur.data.text.open_texts import load_text_split, load_texts
from corecur.data.text.text_files import AUTO
from corecur.data.text.text_preparation import token_findings
from corecur.data.text.text_sets import TextSet, TextSource
from corecur.data.text.token_arrays import TokenArrays
from corecur.engine.calibration import Calibration, calibrate, tempered
from corecur.engine.callbacks import EarlyStopping
from corecur.engine.clipping import Clipping
from corecur.engine.stochastic_average import AVERAGES
from corecur.engine.trainer import Trainer
from corecur.errors import BundleError, ConfigError
from corecur.finding import Finding
from corecur.layers.embedding import Embedding
from corecur.layers.embedding_bag import EmbeddingBag
from corecur.learners import text_report
from corecur.learners.answer_record import AnswerRecord, classification_record, shortened_text
from corecur.learners.evaluation import Evaluation, doubtful_labels, evaluate_classifier, probabilities_spreadsheet
from corecur.learners.fill_splits import fill_splits, share_in
from corecur.learners.fit_result import FitResult
from corecur.learners.learner import NO_VALIDATION, Learner, name_of
from corecur.learners.naive_bayes import log_count_ratios
from corecur.learners.outcome import Listing, Outcome, Tell
from corecur.learners.simple_features import text_features
from corecur.learners.simple_models import Contest, class_contest
from corecur.learners.text_answers import TextAnswer, answers_listing, text_answers, texts_to_answer
from corecur.learners.text_heads import AverageAccuracy, EachHead
from corecur.learners.text_inputs import VOTING, WORDS, InSteps, TextPreprocess
from corecur.learners.text_networks import build_text_network
from corecur.learners.text_recipe import TextRecipe, choose_text_recipe
from corecur.learners.training import Training
from corecur.learners.word_weights import WordWeights
from corecur.models import Model
from corecur.report.page import Section

_PREDICT_TOKENS = 65_536  # of a batch, padding included
_MOST_NAMED = 12


class TextReading(BaseModel):
    """How labelled texts are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_column: str | None = Field(None, description="column of the texts, where it is not found by itself")
    label_column: str | None = Field(None, description="column of the labels, where it is not found by itself")
    encoding: str = Field(AUTO, description="encoding of the files; auto is UTF-8, else Windows-1252")


class ReadTexts(NamedTuple):
    """What the network says of N texts: class probabilities (N, K), and the weight of each token, if asked for."""

    probabilities: Tensor
    weights: list[tuple[float, ...]]


class TextClassifier(Learner[TextSource, TextRecipe, TextPreprocess]):
    """Learns to tell classes of texts apart.

    ``fit`` takes a folder of class folders, a table, a file of labelled lines, or in Python texts and labels.

    >>> learner = TextClassifier(epochs=4, threads=1)
    >>> result = learner.fit(["good film", "fine film", "bad film", "dull film"] * 20, ["+", "+", "-", "-"] * 20)
    >>> result.test.accuracy, learner.predict("a fine one")[0].label
    (1.0, '+')
    """

    task = "text-classification"
    title = "text classifier"
    source_type = TextSource
    recipe_model = TextRecipe
    reading_model = TextReading
    preprocess_model = TextPreprocess

    _learning: Model  # the network while it learns: the same layers, the heads apart

    def read(
        self,
        source: Any,
        labels: Any = None,
        *,
        validation: Any = None,
        test: Any = None,
        skip_bad: bool = False,
        progress: Progress | None = None,
    ) -> TextSource:
        """The source with all three splits; what it lacks is taken from its training data, class by class."""
        given = {"validation": validation, "test": test}
        extra: dict[str, Any] = {name: None if share_in(part) is not None else part for name, part in given.items()}
        found = load_texts(source, labels, skip_bad=skip_bad, progress=progress, **self.reading.model_dump(), **extra)
        return self.complete(found, validation=validation, test=test)

    def complete(self, data: TextSource, *, validation: Any = None, test: Any = None) -> TextSource:
        return fill_splits(data, seed=self.split_seed, validation=share_in(validation), test=share_in(test))

    def describe(self, data: TextSource) -> list[str]:
        splits = {"training": data.train, "validation": data.validation, "test": data.test}
        shown = ", ".join(f"{len(split):,} {name}" for name, split in splits.items() if split is not None)
        names = ", ".join(data.classes[:_MOST_NAMED]) + (", …" if len(data.classes) > _MOST_NAMED else "")
        counts = torch.bincount(_labels(data.train), minlength=len(data.classes))
        least, most = int(counts.min()), int(counts.max())
        return [
            f"{name_of(data.origin)} ({data.kind}): {len(data.classes):,} classes; texts: {shown}",
            f"classes: {names}",
            f"training samples a class: {least:,}" + (f" to {most:,}" if most > least else ""),
        ]

    def choose(self, data: TextSource, *, seconds: float | None = None) -> TextRecipe:
        return choose_text_recipe(data.train.texts, overrides=self.settings)

    def advise(self, data: TextSource, recipe: TextRecipe, *, timed: bool, tell: Tell) -> None:
        for name, held in (("validation", data.validation), ("test", data.test)):
            if held is not None:
                arrays = self.preprocess.arrays(self._tokens(held.texts))
                for finding in token_findings(arrays[0], split=name, names=held.names):
                    tell(f"! {finding}")

    def set_up(self, data: TextSource, recipe: TextRecipe) -> None:
        """Fit the preprocessing on the training split; build the network, which starts from counts."""
        self.classes = data.classes
        self._preprocess = recipe.prepare(data.train.texts)
        self._network, self._learning = build_text_network(
            self.preprocess.sizes, len(data.classes), recipe, votes=self._first_votes(data)
        )

    def _first_votes(self, data: TextSource) -> Tensor | None:
        """What counts of words, pairs and openings in the training texts say of the classes; None where none vote."""
        sizes, labels = self.preprocess.sizes, _labels(data.train)
        voting = [place for place, name in enumerate(sizes) if name in VOTING]
        if not voting:
            return None
        arrays = self.preprocess.arrays(self._tokens(data.train.texts))
        rows = torch.arange(len(labels)).repeat_interleave(arrays[0].lengths)  # (S,)
        held = torch.cat([arrays[place].flat for place in voting])
        size = list(sizes.values())[voting[-1]]
        return log_count_ratios(held, rows.repeat(len(voting)), labels, size=size, classes=len(data.classes))

    def plan(self, data: TextSource, recipe: TextRecipe) -> Training:
        train = self._batches(data.train, recipe)
        held = None if data.validation is None else self._batches(data.validation)
        trainer = Trainer(
            self._learning,
            loss=EachHead(label_smoothing=recipe.label_smoothing),
            optimizer=recipe.optimizer_for(self._learning),
            metrics=[AverageAccuracy()],
            rate=recipe.schedule.rate_at,
            clipping=Clipping(norm=recipe.clip),
            precision=self._precision,
        )
        return Training(
            callbacks=AVERAGES[recipe.average](),
            trainer=trainer,
            batches=train,
            validation=held,
            epochs=recipe.epochs,
            stopping=EarlyStopping(
                "val_accuracy", patience=recipe.patience, restore_best_weights=True, only_when_stopped=True
            ),
            test_seconds=self._seconds_to_test(data),
        )

    def _batches(self, texts: TextSet, recipe: TextRecipe | None = None) -> BucketBatches:
        """Batches of a split; those of the recipe for training, others in order of length."""
        arrays = self.preprocess.arrays(self._tokens(texts.texts))
        if recipe is None:
            return self._in_order(arrays, texts.labels)
        return BucketBatches(
            arrays[0] if len(arrays) == 1 else arrays, texts.labels, batch_size=recipe.batch_size, shuffle=True,
            seed=self.seed, drop_last=len(texts) > recipe.batch_size,
            transform=InSteps(self.preprocess.step, recipe.word_dropout, self.seed), device=self._device,
        )  # fmt: skip

    def _in_order(self, arrays: tuple[TokenArrays, ...], labels: Tensor | None = None) -> BucketBatches:
        longest = max(1, int(arrays[0].lengths.max()))
        size = max(1, min(256, _PREDICT_TOKENS // longest))
        inputs = arrays[0] if len(arrays) == 1 else arrays
        return BucketBatches(
            inputs, labels, batch_size=size, by_length=True, transform=InSteps(self.preprocess.step),
            device=self._device,
        )  # fmt: skip

    def _tokens(self, texts: Sequence[str]) -> list[list[str]]:
        return self.preprocess.preparation.tokens(texts)

    def _seconds_to_test(self, data: TextSource) -> float:
        """About how long the test will take, from a few texts."""
        answered = [part for part in (data.validation, data.test) if part is not None]
        if not answered:
            return 0.0
        some = answered[-1].texts[:32]
        self.read_texts(some)
        began = time.perf_counter()
        self.read_texts(some)
        return 1.25 * (time.perf_counter() - began) / len(some) * sum(map(len, answered))

    def calibrate(self, data: TextSource) -> Calibration:
        """Fit the temperature of the probabilities on the validation split."""
        held = data.validation
        if held is None:
            return Calibration(obstacle=NO_VALIDATION)
        found = calibrate(self.uncalibrated(held.texts), _labels(held))
        self._preprocess = self.preprocess.model_copy(update={"temperature": found.temperature})
        return found

    def test(self, data: TextSource) -> Evaluation | None:
        return None if data.test is None else self._evaluate_set(data.test)

    def read_texts(self, texts: Sequence[str], *, weigh: bool = False) -> ReadTexts:
        """Class probabilities (N, K) of texts, and with ``weigh`` the weight of each token that was read."""
        read = self._read(texts, weigh=weigh)
        return read._replace(probabilities=tempered(read.probabilities, self.preprocess.temperature))

    def uncalibrated(self, texts: Sequence[str]) -> Tensor:
        """Class probabilities (N, K) as the network gives them."""
        return self._read(texts).probabilities

    def contest(self, data: TextSource, test: Evaluation) -> Contest | None:
        """The majority class, and logistic regression on tf-idf of the same tokens."""
        if data.test is None:
            return None
        seen, held = data.train.texts, data.test.texts
        features = {"linear model": lambda: text_features(self._tokens(seen), self._tokens(held))}
        size = sum(map(len, seen)) / 2  # terms and pairs that are not 0: about half as many as characters
        return class_contest(test.right, _labels(data.train).numpy(), test.labels.numpy(), features, size=size)

    @torch.no_grad()
    def _read(self, texts: Sequence[str], *, weigh: bool = False) -> ReadTexts:
        arrays = self.preprocess.arrays(self._tokens(texts))
        probabilities = torch.empty(len(arrays[0]), len(self.classes))
        weights: list[tuple[float, ...]] = [()] * len(arrays[0])
        network = self.network
        training = network.training
        network.eval()
        with WordWeights(network) as weighed, runtime.precision(self._precision, self._device):
            for batch in self._in_order(arrays):
                inputs = (batch.inputs,) if isinstance(batch.inputs, Tensor) else batch.inputs
                rows = torch.arange(len(inputs[0])) if batch.index is None else batch.index
                probabilities[rows] = network(*inputs).float().cpu()
                if weigh:
                    for row, shares in zip(rows.tolist(), weighed(inputs[0] != 0), strict=True):
                        weights[row] = shares
        network.train(training)
        return ReadTexts(probabilities, weights)

    def evaluate(
        self,
        source: Any,
        labels: Any = None,
        *,
        split: str = "test",
        skip_bad: bool = False,
        progress: Progress | None = None,
    ) -> Evaluation:
        """Test on labelled texts: the source's test split if it has one, else all of it."""
        held, findings = load_text_split(
            source, labels, classes=self.classes, split=split, skip_bad=skip_bad, **self.reading.model_dump()
        )
        return dataclasses.replace(self._evaluate_set(held), findings=findings)

    def doubts(self, data: TextSource, test: Outcome | None) -> list[Finding]:
        """Labels of held-out samples that are probably wrong."""
        return doubtful_labels(data, test, self._evaluate_set)

    def _evaluate_set(self, held: TextSet) -> Evaluation:
        raw, temperature = self.uncalibrated(held.texts), self.preprocess.temperature
        return evaluate_classifier(raw, _labels(held), self.classes, temperature=temperature)

    def predict(self, source: Any, *, skip_bad: bool = False, progress: Progress | None = None) -> list[TextAnswer]:
        """Answer for a text (a str), for several, or for paths: text files, tables, folders, ``Path("-")``.

        A text without a word that is known gets an answer too: what the network makes of no word at all.
        """
        reading = {"text_column": self.reading.text_column, "encoding": self.reading.encoding}
        names, texts = texts_to_answer(source, skip_bad=skip_bad, **reading)
        return self.answers(names, texts)

    def answers(self, names: Sequence[str], texts: Sequence[str]) -> list[TextAnswer]:
        """The answers for texts, with the tokens that were read and the weight of each."""
        found = self.read_texts(texts, weigh=True)
        tokens = [self.preprocess.kept(words) for words in self._tokens(texts)]
        return text_answers(names, texts, tokens, found.probabilities, found.weights, self.classes)

    def listing(self, answers: Sequence[TextAnswer], *, top: int) -> Listing:
        return answers_listing(answers, top=top)

    def spreadsheet(self, answers: Sequence[TextAnswer]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        return probabilities_spreadsheet(answers, self.classes, what="text")

    def facts(self, data: TextSource) -> dict[str, Any]:
        return {
            "classes": list(data.classes),
            "training texts": len(data.train),
            "vocabulary": len(self.preprocess.preparation.vocabulary),
            "samples": text_report.class_counts(data),
        }

    def report(self, data: TextSource, result: FitResult, config: Mapping[str, Any]) -> Sequence[Section]:
        return text_report.sections(self, data, result, config=config)

    def trial(self, data: TextSource) -> Callable[[], object]:
        recipe = self.choose(data)
        network = build_text_network({WORDS: 1000}, len(data.classes), recipe).answering.to(self._device).eval()
        tokens = torch.randint(1, 1000, (recipe.batch_size, 32), device=self._device)

        @torch.no_grad()
        def answer() -> None:
            with runtime.precision(self._precision, self._device):
                network(tokens)

        return answer

    def record(self, data: TextSource, outcome: Evaluation) -> AnswerRecord:
        return self._record(data.test, outcome)

    def examine(
        self, source: Any, *, split: str = "test", skip_bad: bool = False, progress: Progress | None = None
    ) -> AnswerRecord:
        held, findings = load_text_split(
            source, classes=self.classes, split=split, skip_bad=skip_bad, **self.reading.model_dump()
        )
        return self._record(held, dataclasses.replace(self._evaluate_set(held), findings=findings))

    def _record(self, held: TextSet | None, outcome: Evaluation) -> AnswerRecord:
        if held is None:
            raise ConfigError("there is no test split")
        sizes = [len(text.split()) if " " in text else len(text) for text in held.texts]
        return classification_record(
            self.task, held, outcome, sizes=sizes, texts=tuple(shortened_text(text.strip()) for text in held.texts)
        )

    def once(self, size: int) -> Callable[[], object]:
        tokens = self.preprocess.preparation.vocabulary.tokens
        text = " ".join(tokens[place % len(tokens)] for place in range(max(1, size)))
        return lambda: self.read_texts([text])

    def check_loaded(self, bundle: Bundle) -> None:
        sizes, symbols, outputs = self.preprocess.sizes, self.network.input_symbols, self.network.output_symbols
        known = [size for name, size in sizes.items() if name not in VOTING]
        voting = [size for name, size in sizes.items() if name in VOTING][-1:]
        layers = list(self.network.modules())
        if (
            [(symbol.shape, symbol.dtype) for symbol in symbols] != [((None, None), torch.int64)] * len(sizes)
            or not _repeats([layer.input_dim for layer in layers if isinstance(layer, Embedding)], known)
            or not _repeats([layer.input_dim for layer in layers if isinstance(layer, EmbeddingBag)], voting)
        ):
            raise BundleError(
                "bad-preprocess", "the preprocessing makes other inputs than the network takes", where=bundle.path
            )
        if len(outputs) != 1 or outputs[0].shape != (None, len(self.classes)):
            raise BundleError("bad-labels", "the labels do not fit the network's outputs", where=bundle.path)


def _repeats(found: list[int], wanted: list[int]) -> bool:
    """Whether these sizes are the wanted ones, once for each member of a combination."""
    members = len(found) // max(1, len(wanted))
    return found == wanted * members and bool(members or not wanted)


def _labels(texts: TextSet) -> Tensor:
    """The class numbers (N,) of a split."""
    if texts.labels is None:
        raise ConfigError("this needs texts with labels")
    return texts.labels
