"""Inline drawings: themed, without outside fonts or ids, with outside text kept out of matplotlib."""

from __future__ import annotations

import re
import warnings
from xml.etree import ElementTree

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from corecur.report.svg import FIRST, columns, draw, label, shorten

ODD = ["猫（灰色）", '<img src=x onerror="a">', "$x_{$", "a & b", "\\frac", "label-0-", "😀"]


def _paint(figure: Figure) -> None:
    axes = figure.add_subplot()
    axes.plot([0, 1, 2], [0.123456, 5, 1], "o-", color=FIRST)
    axes.set_yticks(range(len(ODD)), [label(i) for i in range(len(ODD))])


def test_outside_text_reaches_the_drawing_unharmed() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = draw(_paint, width=300, height=200, labels=ODD)
    root = ElementTree.fromstring(source)
    words = ["".join(node.itertext()).strip() for node in root.iter() if node.tag.endswith("text")]
    assert [word for word in words if word in ODD] == ODD


def test_the_drawing_follows_the_page() -> None:
    source = draw(_paint, width=300, height=200, labels=ODD)
    assert "var(--first)" in source and "#01010" not in source
    assert "font-family" not in source and "http" not in source and "<style" not in source
    assert 'viewBox="0 0 300 200"' in source
    assert not re.search(r"\.\d{3,}", re.sub(r">[^<]*<", "", source))


def test_it_is_the_same_every_time_whatever_the_user_prefers() -> None:
    first = draw(_paint, width=300, height=200, labels=ODD)
    with matplotlib.rc_context({"lines.linewidth": 9, "axes.facecolor": "black", "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        assert draw(_paint, width=300, height=200, labels=ODD) == first
        assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in draw.__globals__


def test_ids_of_two_drawings_never_meet() -> None:
    ids = [
        set(re.findall(r' id="([^"]+)"', draw(_paint, width=300, height=200, labels=ODD, salt=salt))) for salt in "ab"
    ]
    assert ids[0] and not ids[0] & ids[1]


@given(st.text(), st.integers(min_value=1, max_value=40))
def test_short_text_fits(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert columns(short) <= limit
    if columns(text) <= limit and text == " ".join(text.split()):
        assert short == text


@pytest.mark.parametrize(("text", "width"), [("", 0), ("abc", 3), ("猫a", 3), ("e\u0301", 1)])
def test_columns(text: str, width: int) -> None:
    assert columns(text) == width
