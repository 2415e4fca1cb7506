"""A page of blocks in one HTML file: no network, no script, all outside text escaped, written whole or not at all."""

from __future__ import annotations

import contextlib
import html
import os
import re
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from corecur import finding
from corecur.errors import ConfigError, RunError
from corecur.names import Table
from corecur.report.style import STYLE

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
LEVELS = Table(
    "finding level",
    {
        "good": ("good", "✓ Good"),
        "note": ("remark", "ℹ Note"),
        "warning": ("warning", "▲ Warning"),
        "problem": ("problem", "✕ Problem"),
    },
    aliases={"ok": "good", "info": "note", "warn": "warning", "error": "problem"},
)
# Marks that turn the reading direction: in a file name they can make one name look like another.
DIRECTION_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Columns whose cells have no more characters than this keep to one line, those with cells beyond the last get room.
_SHORT, _LONG = 24, 60
NUMBER = re.compile(r"[-−+]?\d[\d\s.,]*(e[-+]?\d+)?\s?[%s]?|[–-]|")


def escape(value: object) -> str:
    """Any value as inert HTML text; control characters, lone surrogates and direction marks become visible codes.

    >>> escape('<img onerror="x">')
    '&lt;img onerror=&quot;x&quot;&gt;'
    >>> escape("a\\x00\\udce9")
    'a\\\\x00\\\\udce9'
    """
    return html.escape("".join(_visible(character) for character in str(value)))


def _visible(character: str) -> str:
    if character in "\n\t":
        return character
    if unicodedata.category(character) in ("Cc", "Cs") or character in DIRECTION_MARKS:
        return f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}"
    return character


class Block(Protocol):
    """A part of a section: anything that can show itself as HTML with all text escaped."""

    def html(self) -> str:
        """The part as HTML."""


@dataclass(frozen=True)
class Text:
    """A paragraph; ``lead`` makes it a little larger.

    >>> Text("a < b").html()
    '<p class="block">a &lt; b</p>'
    """

    text: str
    lead: bool = False

    def html(self) -> str:
        return f'<p class="block{" lead" if self.lead else ""}">{escape(self.text)}</p>'


@dataclass(frozen=True)
class KeyValues:
    """Names with values: a plain list, or ``tiles`` for the few figures that matter most.

    >>> KeyValues({"seed": 7}).html()
    '<dl class="block pairs"><div><dt>seed</dt><dd>7</dd></div></dl>'
    """

    values: Mapping[str, object]
    tiles: bool = False

    def html(self) -> str:
        pairs = (f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in self.values.items())
        return f'<dl class="block {"tiles" if self.tiles else "pairs"}">{"".join(pairs)}</dl>'


@dataclass(frozen=True)
class Rows:
    """A table. Columns of numbers stand right (but the first, which names its row); short cells are not broken.

    Rows after ``fold_after`` are folded away, one click from view.

    >>> "<td>a</td><td class=\\"number\\">1</td>" in Rows(("name", "count"), [("a", 1)]).html()
    True
    """

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    fold_after: int = 25

    def html(self) -> str:
        shown, folded = self.rows[: self.fold_after], self.rows[self.fold_after :]
        if len(folded) < 4:  # folding two or three rows hides more than it saves
            shown, folded = self.rows, ()
        rest = f"<details><summary>{len(folded)} more rows</summary>{self._table(folded)}</details>" if folded else ""
        return f'<div class="block">{self._table(shown, self.caption)}{rest}</div>'

    def _table(self, rows: Sequence[Sequence[object]], caption: str = "") -> str:
        cells = [[_cell(cell) for cell in row] for row in self.rows]
        kinds = [_kind([row[place] for row in cells]) if place else "" for place in range(len(self.header))]
        top = "".join(
            f'<th scope="col"{kind}>{escape(name)}</th>' for kind, name in zip(kinds, self.header, strict=True)
        )
        body = "".join(
            f"<tr>{''.join(f'<td{kind}>{_cell(cell)}</td>' for kind, cell in zip(kinds, row, strict=True))}</tr>"
            for row in rows
        )
        title = f"<caption>{escape(caption)}</caption>" if caption else ""
        return f'<div class="scroll"><table>{title}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


@dataclass(frozen=True)
class Figure:
    """One drawing or picture: ``picture`` is an SVG element of our own making or an image data URI.

    ``alt`` says in words what the picture shows; ``beside`` is a second, small data URI shown to its left.

    >>> Figure("https://example.org/a.png", alt="a")
    Traceback (most recent call last):
        ...
    corecur.errors.ConfigError: a figure takes an <svg> element or a data:image URI
      got:      https://example.org/a.png
    """

    picture: str
    alt: str
    caption: str = ""
    beside: str = ""
    title: str = ""

    def __post_init__(self) -> None:
        for picture in filter(None, (self.picture, self.beside)):
            _check_picture(picture)

    def html(self) -> str:
        title = f"<h3>{escape(self.title)}</h3>" if self.title else ""
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        picture = _picture(self.picture, self.alt)
        if self.beside:
            picture = f'<div class="beside">{_picture(self.beside, "")}{picture}</div>'
        return f'<figure class="block">{title}<div class="scroll">{picture}</div>{caption}</figure>'


@dataclass(frozen=True)
class Picture:
    """One tile of a gallery: a data URI (or several, in a row), what they show, a caption and a smaller detail line."""

    picture: str | tuple[str, ...]
    alt: str
    caption: str = ""
    detail: str = ""

    def __post_init__(self) -> None:
        for picture in self._pictures():
            _check_picture(picture)

    def _pictures(self) -> tuple[str, ...]:
        return (self.picture,) if isinstance(self.picture, str) else self.picture

    def html(self) -> str:
        detail = f'<span class="detail">{escape(self.detail)}</span>' if self.detail else ""
        pictures = "".join(_picture(picture, self.alt) for picture in self._pictures())
        caption = f"<figcaption>{escape(self.caption)}{detail}</figcaption>"
        return f'<figure><div class="row">{pictures}</div>{caption}</figure>'


@dataclass(frozen=True)
class Gallery:
    """Pictures with captions in a grid; ``wide`` tiles hold a strip of several pictures each."""

    pictures: Sequence[Picture]
    wide: bool = False

    def html(self) -> str:
        tiles = "".join(picture.html() for picture in self.pictures)
        return f'<div class="block gallery{" wide" if self.wide else ""}">{tiles}</div>'


@dataclass(frozen=True)
class Code:
    """Text in a fixed-width face. A ``command`` wraps and is selected whole by one click, ready to copy.

    >>> Code("corecur train digits", command=True).html()
    '<pre class="block whole" tabindex="0"><code>corecur train digits</code></pre>'
    """

    text: str
    command: bool = False

    def html(self) -> str:
        kind = "block whole" if self.command else "block"
        return f'<pre class="{kind}" tabindex="0"><code>{escape(self.text)}</code></pre>'


@dataclass(frozen=True)
class Finding:
    """What the doctor or the data check says: verdict, evidence, remedy; ``level`` is a name of ``LEVELS``.

    >>> "▲ Warning" in Finding("over-fitting", "the gap grows", "augment", "warning").html()
    True
    """

    verdict: str
    evidence: str = ""
    remedy: str = ""
    level: str = "note"

    @classmethod
    def of(cls, found: finding.Finding) -> Finding:
        """The block that shows what was found.

        >>> Finding.of(finding.Finding("copies", "1 copy.")).level
        'warning'
        """
        return cls(found.verdict, finding.listed(found.evidence), found.remedy, found.level)

    def html(self) -> str:
        kind, word = LEVELS[self.level]
        evidence = f"<p>{escape(self.evidence)}</p>" if self.evidence else ""
        remedy = f"<p><b>Do this:</b> {escape(self.remedy)}</p>" if self.remedy else ""
        verdict = f'<p class="verdict"><span class="level">{word}</span>{escape(self.verdict)}</p>'
        return f'<div class="block finding {kind}">{verdict}{evidence}{remedy}</div>'


@dataclass(frozen=True)
class Columns:
    """Blocks side by side where there is room, one below the other on a phone."""

    blocks: Sequence[Block]

    def html(self) -> str:
        return f'<div class="block columns">{"".join(block.html() for block in self.blocks)}</div>'


@dataclass(frozen=True)
class Stack:
    """Blocks one below the other that count as one, for instance in ``Columns``."""

    blocks: Sequence[Block]

    def html(self) -> str:
        return f'<div class="block">{"".join(block.html() for block in self.blocks)}</div>'


@dataclass(frozen=True)
class Fold:
    """Blocks behind one line that opens at a click."""

    summary: str
    blocks: Sequence[Block]

    def html(self) -> str:
        inside = "".join(block.html() for block in self.blocks)
        return f'<details class="block"><summary>{escape(self.summary)}</summary>{inside}</details>'


@dataclass(frozen=True)
class Section:
    """A titled part of the page; ``note`` is a quiet line under the title."""

    title: str
    blocks: Sequence[Block]
    note: str | None = None

    def html(self, anchor: str) -> str:
        note = f'<p class="note">{escape(self.note)}</p>' if self.note else ""
        inside = "\n".join(block.html() for block in self.blocks)
        return f'<section id="{anchor}"><h2>{escape(self.title)}</h2>{note}\n{inside}</section>'


def render(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The whole page as a string; the same input gives the same text.

    >>> page = render("digits", "", [Section("Result", [Text("98.9 %")])])
    >>> '<section id="part-1"><h2>Result</h2>' in page
    True
    """
    links = "".join(f'<a href="#part-{i}">{escape(section.title)}</a>' for i, section in enumerate(sections, 1))
    body = "\n".join(section.html(f"part-{i}") for i, section in enumerate(sections, 1))
    below = f'<p class="subtitle">{escape(subtitle)}</p>' if subtitle else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<header><h1>{escape(title)}</h1>{below}<nav aria-label="Sections">{links}</nav></header>\n'
        f"<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def write_page(path: str | os.PathLike[str], title: str, subtitle: str, sections: Sequence[Section]) -> Path:
    """Write the page to ``path`` in one move: a reader sees the old file or the new one, never a part.

    Missing folders are made. Raises RunError where the file cannot be written; nothing is left behind then.
    """
    target = Path(path)
    content = render(title, subtitle, sections).encode("utf-8", "backslashreplace")
    draft = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(draft, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, target)
        finally:
            with contextlib.suppress(OSError):
                draft.unlink()
    except (OSError, ValueError) as error:
        raise RunError(
            "the report cannot be written",
            where=target,
            got=error,
            do="choose a folder you may write to, with space left",
        ) from error
    _keep_rename(target.parent)
    return target


def _keep_rename(folder: Path) -> None:
    """Ask the disk to keep the rename through a power cut, where the system lets a folder be synced."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _kind(cells: Sequence[str]) -> str:
    """How a column is set: numbers at the right, short cells on one line, long ones with room even on a phone."""
    if not cells:
        return ""
    longest = max(map(len, cells))
    if all(NUMBER.fullmatch(cell) for cell in cells):
        return ' class="number"'
    return ' class="short"' if longest <= _SHORT else ' class="long"' if longest > _LONG else ""


def _cell(value: object) -> str:
    return f"{value:,}" if type(value) is int else escape(value)


def _check_picture(picture: str) -> None:
    if not picture.startswith(("<svg ", "data:image/")):
        raise ConfigError("a figure takes an <svg> element or a data:image URI", got=picture[:60])


def _picture(picture: str, alt: str) -> str:
    if picture.startswith("<svg "):
        return f'<svg role="img" aria-label="{escape(alt)}" {picture[5:]}'
    smooth = "" if picture.startswith("data:image/png") else ' class="smooth"'
    return f'<img src="{escape(picture)}" alt="{escape(alt)}"{smooth}>'
