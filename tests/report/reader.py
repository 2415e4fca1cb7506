"""Reads a report as a browser would, and checks what holds for every page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

EVIL = '<img src=x onerror="alert(1)"> & </td></script><script>alert(2)</script>'
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Reader(HTMLParser):
    """Reads a page as a browser would: checks that tags nest, keeps tags, attributes and words."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words = ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words += data


def check_page(source: str) -> Reader:
    """What holds for every page: it nests, runs nothing, asks nobody, and its ids are its own."""
    reader = Reader(source)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(reader.tags)
    assert not [name for _, name, _ in reader.attributes if name.startswith("on")]
    targets = [value for _, name, value in reader.attributes if name in ("src", "href", "xlink:href", "srcset")]
    assert all(value.startswith(("data:image/", "#")) for value in targets)
    assert not re.search(r"url\((?!#)|@import", source)
    ids = [value for _, name, value in reader.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    referred = re.findall(r"url\(#([^)]+)\)", source) + [value[1:] for value in targets if value.startswith("#")]
    assert set(referred) <= set(ids)
    policy = [value for tag, name, value in reader.attributes if (tag, name) == ("meta", "content")][0]
    assert "default-src 'none'" in policy and "img-src data:" in policy and "script-src" not in policy
    return reader
