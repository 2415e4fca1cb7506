"""What a model answered on a test, sample by sample: enough to compare it with another one without the data.

Shapes: U units (samples, sentences, windows, pieces of text), K counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from corecur.bundle.layout import Limit
from corecur.bundle.strict_json import parse_json
from corecur.engine.paired_tests import Measure
from corecur.errors import BundleError, RunError
from corecur.learners.entities import entities_in
from corecur.learners.evaluation import Evaluation
from corecur.learners.tagging_evaluation import TaggingEvaluation

Array = NDArray[np.float64]
_LIMIT = Limit(1 << 29, 50_000_000, 1 << 20)
# Characters of a text that are kept of a sample, to be shown where models differ.
_SHOWN = 300
_DIGITS = 7  # of a count that is no whole number


@dataclass(frozen=True)
class Figure:
    """One figure of a test: what it is called, and how it comes of sums of counts (…, K)."""

    measure: Measure
    counts: tuple[str, ...]
    score: Callable[[Any], Any]


def _share(total: Any) -> Any:
    return total[..., 0] / np.maximum(total[..., 1], 1e-300)


def _f1(total: Any) -> Any:
    both = total[..., 1] + total[..., 2]
    return np.where(both > 0, 2 * total[..., 0] / np.maximum(both, 1), 1.0)


_ACCURACY = Figure(Measure("accuracy"), ("right", "units"), _share)
_TAGS = Figure(Measure("token accuracy"), ("right", "tokens"), _share)
#: Of each kind of test its figures, the one that counts first.
FIGURES: dict[str, tuple[Figure, ...]] = {
    "classes": (_ACCURACY, Figure(Measure("log loss", False, False), ("nats", "units"), _share)),
    "entities": (Figure(Measure("F1 of entities"), ("found", "there", "answered"), _f1), _TAGS),
    "tags": (_TAGS,),
    "windows": (
        Figure(Measure("MSE", False, False), ("square", "units"), _share),
        Figure(Measure("MAE", False, False), ("absolute", "units"), _share),
    ),
    "characters": (Figure(Measure("bits a character", False, False), ("bits", "characters"), _share),),
    "tokens": (Figure(Measure("nats a token", False, False), ("nats", "tokens"), _share),),
}
#: What people call the units of each kind.
NOUNS = {
    "classes": "samples", "entities": "sentences", "tags": "sentences", "windows": "windows",
    "characters": "pieces of text", "tokens": "pieces of text",
}  # fmt: skip


@dataclass(frozen=True)
class AnswerRecord:
    """The answers of one model to one test.

    ``contents`` are digests of the samples, by which those of two models are paired; ``counts`` what the figures are
    made of; ``parts`` the same counts for a part of every unit (one kind of entity, one column). ``same`` holds what
    two records must agree in to be comparable at all. ``block`` neighbours err alike. ``show`` draws a unit where the
    data are at hand; it is not kept on disk.
    """

    task: str
    kind: str
    names: tuple[str, ...]
    contents: tuple[str, ...]
    counts: Mapping[str, Array]
    truth: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    parts: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    same: Mapping[str, Any] = field(default_factory=dict)
    form: str = ""
    block: int = 1
    findings: tuple[str, ...] = ()
    show: Callable[[int], str] | None = field(default=None, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def noun(self) -> str:
        """What people call its units."""
        return NOUNS[self.kind]

    def table(self, figure: Figure, part: str | None = None) -> Array:
        """The counts a figure is made of, (U, K), of the whole or of a part."""
        counts = self.counts if part is None else self.parts[part]
        ones = np.ones(len(self))
        return np.stack([ones if name == "units" else counts[name] for name in figure.counts], axis=1)

    def as_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {
            "version": 1, "task": self.task, "kind": self.kind, "names": list(self.names),
            "contents": list(self.contents), "truth": list(self.truth), "answers": list(self.answers),
            "labels": list(self.labels), "texts": list(self.texts), "sizes": list(self.sizes),
            "counts": _plain(self.counts), "parts": {name: _plain(part) for name, part in self.parts.items()},
            "same": dict(self.same), "form": self.form, "block": self.block, "findings": list(self.findings),
        }  # fmt: skip


class _Stored(BaseModel):
    """The closed form of a record on disk."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    version: int
    task: str
    kind: str
    names: tuple[str, ...]
    contents: tuple[str, ...]
    truth: tuple[str, ...]
    answers: tuple[str, ...]
    labels: tuple[str, ...]
    texts: tuple[str, ...]
    sizes: tuple[int, ...]
    counts: dict[str, tuple[float, ...]]
    parts: dict[str, dict[str, tuple[float, ...]]]
    same: dict[str, Any]
    form: str
    block: int
    findings: tuple[str, ...]


def read_record(file: Path) -> AnswerRecord | None:
    """The record in a file; None where there is no such file, RunError where it holds something else."""
    try:
        if not file.is_file():
            return None
        found = _Stored.model_validate(parse_json(file.read_bytes(), _LIMIT, where=file, name=file.name))
    except OSError as error:
        raise RunError("the run's answers cannot be read", where=file, got=error.strerror) from error
    except (BundleError, ValidationError) as error:
        raise _damaged(file, error.what if isinstance(error, BundleError) else error.errors()[0]["msg"]) from error
    count, needed = len(found.names), FIGURES.get(found.kind)
    if needed is None or found.version != 1 or not count or found.block < 1:
        raise _damaged(file, f"kind {found.kind!r}, version {found.version}, {count} samples, blocks of {found.block}")
    names = {name for figure in needed for name in figure.counts} - {"units"}
    tables = [found.counts, *found.parts.values()]
    lengths = {len(found.contents), *(len(values) for table in tables for values in table.values())}
    lengths |= {len(each) for each in (found.truth, found.answers, found.texts, found.sizes) if each}
    if lengths != {count} or any(not names <= table.keys() for table in tables):
        raise _damaged(file, "its columns do not fit each other")
    fields = {name: getattr(found, name) for name in _Stored.model_fields if name not in ("version", "counts", "parts")}
    parts = {name: _arrays(part) for name, part in found.parts.items()}
    return AnswerRecord(counts=_arrays(found.counts), parts=parts, **fields)


def _damaged(file: Path, got: str) -> RunError:
    return RunError(
        "the run's answers are damaged", where=file, got=got, do="compare on data instead: --on SOURCE, or train again"
    )


def digest(content: Hashable) -> str:
    """A sample's content in 16 digits: bytes, a text, or words.

    >>> digest("a b") == digest("a b"), digest(("a", "b")) == digest(("a b",)), len(digest(b""))
    (True, False, 16)
    """
    if isinstance(content, tuple):
        content = "\x1f".join(map(str, content))
    raw = content if isinstance(content, bytes) else str(content).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, digest_size=8).hexdigest()


def classification_record(
    task: str, part: Any, outcome: Evaluation, *, sizes: Sequence[int] = (), form: str = "", **more: Any
) -> AnswerRecord:
    """The record of a classifier's test on samples with names and contents."""
    probabilities, labels = outcome.probabilities.double(), outcome.labels
    chosen = probabilities.argmax(1)
    of_truth = probabilities.gather(1, labels[:, None]).clamp_min(1e-12).log().neg().flatten()
    return AnswerRecord(
        task=task,
        kind="classes",
        names=tuple(part.names),
        contents=tuple(map(digest, part.contents())),
        truth=tuple(outcome.classes[place] for place in labels.tolist()),
        answers=tuple(outcome.classes[place] for place in chosen.tolist()),
        labels=outcome.classes,
        sizes=tuple(sizes),
        counts={"right": (chosen == labels).double().numpy(), "nats": of_truth.numpy()},
        form=form,
        findings=tuple(map(str, outcome.findings)),
        **more,
    )


def tagging_record(task: str, part: Any, outcome: TaggingEvaluation, labels: Sequence[str]) -> AnswerRecord:
    """The record of a tagger's test on sentences; of entities also by their kind."""
    counts = _tag_counts(outcome, None)
    kinds = sorted({row.name for row in outcome.per_class}) if outcome.entities else []
    return AnswerRecord(
        task=task,
        kind="entities" if outcome.entities else "tags",
        names=tuple(part.names),
        contents=tuple(map(digest, part.contents())),
        truth=tuple(" ".join(tags) for tags in outcome.truth),
        answers=tuple(" ".join(tags) for tags in outcome.answers),
        labels=tuple(labels),
        texts=tuple(shortened_text(" ".join(words)) for words in part.sentences),
        sizes=tuple(map(len, part.sentences)),
        counts=counts,
        parts={kind: _tag_counts(outcome, kind) for kind in kinds},
        findings=tuple(map(str, outcome.findings)),
    )


def shortened_text(text: str) -> str:
    """As much of a text as is kept of a sample.

    >>> len(shortened_text("a" * 1000))
    301
    """
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _tag_counts(outcome: TaggingEvaluation, kind: str | None) -> dict[str, Array]:
    rows = []
    for truth, answer in zip(outcome.truth, outcome.answers, strict=True):
        there, answered = (
            {e for e in entities_in(tags) if kind in (None, e.kind)} if outcome.entities else set()
            for tags in (truth, answer)
        )  # fmt: skip
        rows.append((len(truth), sum(map(str.__eq__, truth, answer)), len(there), len(answered), len(there & answered)))
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    return dict(zip(("tokens", "right", "there", "answered", "found"), table.T, strict=True))


def _plain(counts: Mapping[str, Array]) -> dict[str, list[float]]:
    return {name: [_short(value) for value in values.tolist()] for name, values in counts.items()}


def _short(value: float) -> float:
    return int(value) if value.is_integer() and abs(value) < 1e15 else float(f"{value:.{_DIGITS}g}")


def _arrays(counts: Mapping[str, Sequence[float]]) -> dict[str, Array]:
    return {name: np.asarray(values, dtype=np.float64) for name, values in counts.items()}
