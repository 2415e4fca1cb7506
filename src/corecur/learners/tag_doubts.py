"""Tags that are probably wrong, by what a tagger that did not learn from them says of every word.

Shapes: N words, K tags, B batch, T time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from corecur.data.quality.wrong_labels import wrong_label_findings
from corecur.data.text.tagged_sets import TaggedSet
from corecur.finding import Finding
from corecur.learners.outcome import Outcome
from corecur.learners.tagging_evaluation import TaggingEvaluation

if TYPE_CHECKING:
    from corecur.learners.sequence_tagger import SequenceTagger

#: Right so often (entities by their F1), a tagger may doubt the tags of what it did not learn from.
TRUSTED = 0.8
# So much likelier another tag must be: of what a margin of 0.5 names in parts of speech, only 60 % is wrong.
_MARGIN = 0.8
# Probabilities that are held at once: words times tags.
_MOST = 100_000_000


def rightness(test: TaggingEvaluation) -> float:
    """How much a tagger may be trusted: the F1 of entities where tags mark some, else the share of right words.

    >>> rightness(TaggingEvaluation((("N", "V"),), (("N", "N"),)))
    0.5
    """
    return test.f1 if test.entities else test.accuracy


def doubtful_tags(tagger: SequenceTagger, data: Any, test: Outcome | None) -> list[Finding]:
    """Tags of the validation and test sentences of ``data`` that are probably wrong; none of a poor tagger."""
    if not isinstance(test, TaggingEvaluation) or rightness(test) < TRUSTED:
        return []
    findings = []
    for split in ("validation", "test"):
        part = getattr(data, split)
        if part is not None and part.tags is not None and part.words * len(data.classes) <= _MOST:
            probabilities = tagger.probabilities_of(part)
            findings += wrong_tag_findings(probabilities, part, data.classes, split=split)
    return findings


def wrong_tag_findings(
    probabilities: Sequence[NDArray[np.float32]], part: TaggedSet, classes: Sequence[str], *, split: str
) -> list[Finding]:
    """What is said of tags that contradict the probabilities (T, K) of each sentence; unknown tags are passed over.

    >>> part = TaggedSet((("go",) * 20,), (("VERB",) * 10 + ("NOUN",) * 9 + ("VERB",),), ("f:1",))
    >>> sure = np.repeat([[0.95, 0.05], [0.05, 0.95]], 10, axis=0)
    >>> wrong_tag_findings([sure], part, ["VERB", "NOUN"], split="test")[0].evidence
    ("f:1, word 20, 'go': tagged VERB, looks like NOUN (95 % against 5 %)",)
    """
    number: Mapping[str, int] = {tag: place for place, tag in enumerate(classes)}
    kept: list[NDArray[np.float32]] = []
    labels: list[int] = []
    names: list[str] = []
    for found, name, words, tags in zip(probabilities, part.names, part.sentences, part.tags or (), strict=True):
        known = [place for place, tag in enumerate(tags) if tag in number]
        kept.append(found[known])
        labels += [number[tags[place]] for place in known]
        names += [f"{name}, word {place + 1}, {words[place]!r}" for place in known]
    if not labels:
        return []
    together = np.concatenate(kept).astype(np.float64)  # (N, K)
    return wrong_label_findings(
        together, np.array(labels), names, classes, split=split, noun="tag", given="tagged", margin=_MARGIN
    )
