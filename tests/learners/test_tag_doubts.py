"""Wrong tags that were planted, named after a training and by folds."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from corecur.data.text.tagged_sets import TaggedSet
from corecur.errors import DataError
from corecur.learners.label_check import label_findings
from corecur.learners.sequence_tagger import SequenceTagger

from .test_sequence_tagger import QUICK, made_up, write


def spoil(tags: list[list[str]], rows: range) -> list[list[str]]:
    """The second word of these sentences, a verb, is tagged as a person."""
    return [["B-person" if row in rows and place == 1 else tag for place, tag in enumerate(one)]
            for row, one in enumerate(tags)]  # fmt: skip


@pytest.mark.parametrize("crf", [True, False])
def test_probabilities_are_those_of_all_paths(crf: bool) -> None:
    """Against the sum over every sequence of tags, one by one; of three sentences of unequal length."""
    tagger = SequenceTagger(**{**QUICK, "epochs": 1}, crf=crf, precision="float32")
    tagger.fit(*made_up(30, seed=0), test=0, validation=0)
    part = TaggedSet((("Anna", "sees"), ("it",), ("Bert", "likes", "Anna", ".")), None, ("a", "b", "c"))
    found = tagger.probabilities_of(part)
    assert [one.shape for one in found] == [(2, 3), (1, 3), (4, 3)]
    for one in found:
        assert np.allclose(one.sum(1), 1, atol=1e-5)
    layer = tagger.crf
    if layer is None:
        assert [tuple(tagger.classes[k] for k in one.argmax(1)) for one in found] == tagger.tags_of(part)
        return
    (batch,) = tagger._batches(part, tagged=False)
    with torch.no_grad():
        chain = tagger.network.eval()(*batch.inputs).chain
        row = batch.index.tolist().index(2)
        paths = torch.tensor(list(itertools.product(range(3), repeat=4)))
        weights = layer.log_likelihood(chain.emissions[row : row + 1, :4].repeat(len(paths), 1, 1), paths).exp()
    for place, tag in itertools.product(range(4), range(3)):
        assert found[2][place, tag] == pytest.approx(float(weights[paths[:, place] == tag].sum()), abs=1e-4)


def test_wrong_tags_of_the_test_are_named_after_a_training() -> None:
    train, held = made_up(200, seed=0), made_up(60, seed=1)
    spoiled = (held[0], spoil(held[1], range(4)))
    result = SequenceTagger(**QUICK).fit(*train, validation=0, test=spoiled)
    (found,) = (one for one in result.findings if one.kind == "wrong-labels")
    assert len(found.evidence) == 4 and all("word 2" in line and "tagged B-person" in line for line in found.evidence)
    clean = SequenceTagger(**QUICK).fit(*train, validation=0, test=held)
    assert not [one for one in clean.findings if one.kind == "wrong-labels"]


def test_a_poor_tagger_doubts_nothing() -> None:
    sentences, tags = made_up(40, seed=0)
    result = SequenceTagger(**{**QUICK, "epochs": 1, "learning_rate": 1e-5}).fit(sentences, spoil(tags, range(4)))
    assert not [one for one in result.findings if one.kind == "wrong-labels"]


def test_wrong_tags_are_named_by_folds(tmp_path: Path) -> None:
    sentences, tags = made_up(240, seed=0)
    path = write(tmp_path / "told.conll", sentences, spoil(tags, range(5)))
    told: list[str] = []
    (found,) = label_findings(str(path), task="sequence-tagging", folds=2, epochs=4, threads=1, tell=told.append)
    lines = [1 + sum(len(one) + 1 for one in sentences[:row]) for row in range(5)]
    assert {line.split(",")[0] for line in found.evidence} == {f"told.conll:{line}" for line in lines}
    assert found.kind == "wrong-labels" and len(told) == 2
    (poor,) = label_findings(str(write(tmp_path / "few.conll", sentences[:12], tags[:12])), task="sequence-tagging",
                             folds=2, epochs=1, threads=1)  # fmt: skip
    assert poor.kind == "not-doubted" and poor.level == "note"
    with pytest.raises(DataError, match="fewer samples than folds"):
        label_findings(str(tmp_path / "few.conll"), task="sequence-tagging", folds=20, epochs=1, threads=1)
