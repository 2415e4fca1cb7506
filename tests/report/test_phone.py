"""Pages on a phone 390 points wide: the page itself never scrolls sideways, wide tables scroll in their own room."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from corecur.report import page

WIDTH = 390
NAMES = [f"a rather long name of column {k}" for k in range(9)]
BLOCKS: list[page.Block] = [
    page.Rows(NAMES, [[f"row {k}", *(12345.678 + k for _ in NAMES[1:])] for k in range(40)], caption="many " * 30),
    page.Rows(["file", "said"], [["very/long/" * 20 + "name.png", "word" * 60]]),
    page.KeyValues({"source": "folder/" * 40, "n" * 200: "1"}),
    page.KeyValues({"Test accuracy": "98.9 %", "Parameters": "1" * 60}, tiles=True),
    page.Code("python -m corecur " + "--an-option value " * 30),
    page.Code("corecur " + "x" * 300, command=True),
    page.Finding("w" * 300, "e" * 300, "r" * 300, "warning"),
    page.Figure('<svg viewBox="0 0 900 100" style="min-width: 700px" width="900" height="100"></svg>', alt="wide"),
    page.Text("word" * 100),
]
SEEN = """
const rooms = [...document.querySelectorAll('table')].map(table => table.closest('.scroll'));
const wide = rooms.filter(room => room.scrollWidth > room.clientWidth + 1);
for (const room of wide) room.scrollLeft = 150;
return {inner: window.innerWidth, page: document.documentElement.scrollWidth, wide: wide.length,
  names: wide.map(room => room.querySelector('td').getBoundingClientRect().left - room.getBoundingClientRect().left)};
"""


def test_tables_and_drawings_stand_in_a_room_that_scrolls() -> None:
    source = "".join(block.html() for block in BLOCKS)
    parts = re.findall(r'<div class="scroll">(<\w+)', source)
    assert parts.count("<table") == source.count("<table") and parts.count("<svg") == source.count("<svg")


@pytest.fixture(scope="module")
def phone() -> Iterator[Any]:
    """Opens a file in Chromium as a phone shows it and runs a script there."""
    if shutil.which("chromedriver") is None:
        pytest.skip("needs chromedriver and Chromium")
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(path: str, body: Any, method: str = "POST") -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/session{path}", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"}, method=method)  # fmt: skip
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    metrics = {"width": WIDTH, "height": 844, "pixelRatio": 2, "mobile": True}
    options = {"args": ["--headless=new", "--no-sandbox"], "mobileEmulation": {"deviceMetrics": metrics}}
    session = ""

    def show(path: Path, script: str) -> Any:
        ask(f"/{session}/url", {"url": path.as_uri()})
        return ask(f"/{session}/execute/sync", {"script": script, "args": []})

    try:
        for left in reversed(range(100)):
            try:
                found = ask("", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
                break
            except OSError:
                if not left:
                    raise
                time.sleep(0.1)
        session = found["sessionId"]
        yield show
    finally:
        if session:
            ask(f"/{session}", {}, "DELETE")  # else Chromium would outlive its driver
        driver.terminate()
        driver.wait(30)


def test_the_page_does_not_scroll_sideways(phone: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    page.write_page(path, "A page " + "x" * 90, "today", [page.Section("All", BLOCKS)])
    seen = phone(path, SEEN)
    assert seen["inner"] == seen["page"] == WIDTH
    assert seen["wide"] >= 1
    assert all(abs(left) <= 1 for left in seen["names"])  # what names a row stays in sight
