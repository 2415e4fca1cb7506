"""The page: balanced, inert, without network, written whole or not at all."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corecur.errors import ConfigError, RunError
from corecur.report import page

from .reader import EVIL, check_page

DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)
EVERY_BLOCK = [
    page.Text(EVIL),
    page.KeyValues({EVIL: EVIL}),
    page.KeyValues({EVIL: EVIL}, tiles=True),
    page.Rows([EVIL], [[EVIL]] * 40, caption=EVIL),
    page.Figure(DOT, alt=EVIL, caption=EVIL, title=EVIL, beside=DOT),
    page.Figure('<svg viewBox="0 0 1 1"></svg>', alt=EVIL),
    page.Gallery([page.Picture(DOT, EVIL, EVIL, EVIL), page.Picture((DOT, DOT), EVIL)]),
    page.Code(EVIL),
    page.Code(EVIL, command=True),
    page.Finding(EVIL, EVIL, EVIL, "problem"),
    page.Columns([page.Text(EVIL)]),
    page.Stack([page.Text(EVIL)]),
    page.Fold(EVIL, [page.Text(EVIL)]),
]


@pytest.mark.parametrize("block", EVERY_BLOCK, ids=lambda block: type(block).__name__)
def test_no_block_lets_outside_text_become_markup(block: page.Block) -> None:
    source = page.render(EVIL, EVIL, [page.Section(EVIL, [block], note=EVIL)])
    reader = check_page(source)
    assert EVIL in reader.words
    assert all(value == DOT for tag, name, value in reader.attributes if (tag, name) == ("img", "src"))


@given(st.text())
def test_escaped_text_is_inert_encodable_and_readable(text: str) -> None:
    escaped = page.escape(text)
    assert not set('<>"') & set(escaped)
    assert escaped.encode("utf-8").decode("utf-8") == escaped
    if text.isprintable():
        assert html.unescape(escaped) == text


def test_names_that_hide_something_are_made_visible() -> None:
    assert page.escape("a\u202egnp.exe") == "a\\u202egnp.exe"
    assert page.escape(os.fsdecode(b"caf\xe9")) == "caf\\udce9"
    assert page.escape("a\x00b") == "a\\x00b"
    assert page.escape("two\nlines, 猫 and ع") == "two\nlines, 猫 and ع"


def test_long_tables_fold_and_lose_nothing() -> None:
    source = page.Rows(["n"], [[i] for i in range(1000)]).html()
    assert "<summary>975 more rows</summary>" in source
    assert [int(n.replace(",", "")) for n in re.findall(r"<td>([\d,]+)</td>", source)] == list(range(1000))
    assert "details" not in page.Rows(["n"], [[i] for i in range(28)]).html()


def test_columns_of_numbers_stand_right() -> None:
    source = page.Rows(["class", "share", "note"], [["7", "98.1 %", "1 a"], ["8", "–", "2 b"]]).html()
    assert re.findall(r'<th scope="col"( class="\w+")?>', source) == ["", ' class="number"', ' class="short"']


def test_pictures_from_elsewhere_are_refused() -> None:
    for bad in ("https://example.org/a.png", "javascript:alert(1)", "<script>"):
        with pytest.raises(ConfigError):
            page.Figure(bad, alt="")
        with pytest.raises(ConfigError):
            page.Picture(bad, "")


def test_an_unknown_level_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="did you mean 'warning'"):
        page.Finding("x", level="warnin").html()


def test_the_page_arrives_in_one_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "new folder" / "report.html"
    page.write_page(target, "first", "", [])
    before = target.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as broken:
            broken.setattr(os, step, fail)
            with pytest.raises(RunError, match="No space left"):
                page.write_page(target, "second", "", [])
        assert target.read_bytes() == before
        assert list(target.parent.iterdir()) == [target]
    page.write_page(target, "second", "", [])
    assert b"<title>second</title>" in target.read_bytes()
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("name", ["file/report.html", "folder", "nul\x00.html"])
def test_a_place_that_cannot_be_written_says_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match="report cannot be written"):
        page.write_page(tmp_path / name, "t", "", [])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


def test_the_same_input_gives_the_same_bytes() -> None:
    sections = [page.Section("all", EVERY_BLOCK)]
    assert page.render("t", "s", sections) == page.render("t", "s", sections)
