from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from corecur.data.text.open_texts import load_texts
from corecur.data.text.pydoc_sample import of_file


def test_topics_can_be_learned() -> None:
    found = load_texts("pydoc")
    assert found.findings == () and len(found.classes) == 7
    assert found.train.labels is not None and len(set(found.train.texts)) == len(found.train)
    labels, order = found.train.labels.numpy(), np.random.default_rng(0).permutation(len(found.train))
    inputs = TfidfVectorizer(max_features=3000).fit_transform([found.train.texts[n] for n in order])
    cut = len(order) * 4 // 5
    model = LogisticRegression(C=10, max_iter=200).fit(inputs[:cut], labels[order[:cut]])
    assert model.score(inputs[cut:], labels[order[cut:]]) > 0.7


def test_nothing_is_imported() -> None:
    absent = [name for name in ("ftplib", "poplib", "imaplib") if name not in sys.modules]
    library = Path(sysconfig.get_path("stdlib"))
    found = [text for name in ("ftplib", "poplib", "imaplib") for _, text in of_file(library / f"{name}.py", library)]
    assert len(found) > 50 and absent
    assert not set(absent) & set(sys.modules)
