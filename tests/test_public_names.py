from __future__ import annotations

import subprocess
import sys

import pytest

import corecur


def test_learners_are_loaded_at_first_use() -> None:
    script = """
import sys, corecur
early = [name for name in ("pydantic", "corecur.learners.image_classifier", "corecur.report") if name in sys.modules]
print(early, corecur.ImageClassifier.__name__, "corecur.learners.image_classifier" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.split("\n")[0] == "[] ImageClassifier True"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'ImageClasifier'"):
        _ = corecur.ImageClasifier  # type: ignore[attr-defined]
