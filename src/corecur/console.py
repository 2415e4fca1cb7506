"""What the command prints: lines and tables for people, one JSON value or CSV for scripts."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from corecur.engine.progress import clock
from corecur.errors import KernelNotice
from corecur.report.page import NUMBER

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.table import Table

    from corecur.finding import Finding
    from corecur.learners.fit_result import FitResult
from corecur.learners.outcome import Listing, Outcome

# Where nobody sees a screen, a table's lines are as long as what they hold.
_ENDLESS = 100_000
_EVIDENCE = 10
# Names and texts of files and models may hold anything: control characters but line end and tab, changes of direction.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# Beginnings of formulas, the wide forms of East Asian keyboards included.
_FORMULA = re.compile(r"[\t\r\n]|\s*[=+@＝＋＠－-]")
_PLAIN_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


def speak_any_language() -> None:
    """Let the standard streams print every file name, in whatever encoding they have; what does not fit is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say_notices_in_a_line() -> None:
    """Let a notice of corecur's be a line as findings are, without the place in the code that Python shows with it."""
    others = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, KernelNotice):
            complain(f"! {message}")
        else:
            others(message, category, *place, **more)

    warnings.showwarning = show


def visible(text: str) -> str:
    """The text with escapes in place of what would move the cursor, colour or turn round what a terminal shows.

    >>> visible("cat\\x1b[2J\\n")
    'cat\\\\x1b[2J\\n'
    """
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def say(text: str = "", *, end: str = "\n") -> None:
    """Print at once; where nobody reads any more (``| head``), go on in silence, so that a training still ends well."""
    try:
        print(visible(text), end=end, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say_json(value: Any) -> None:
    """Print one JSON value, in plain ASCII where the stream cannot spell it otherwise."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, allow_nan=False)
    say(_UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def complain(text: str) -> None:
    """Print on standard error."""
    sys.stdout.flush()
    print(visible(text), file=sys.stderr, flush=True)


def count_files(done: int, total: int) -> None:
    """Show, on a terminal and for many files, how many have been read."""
    if total >= 500 and sys.stderr.isatty():
        print(f"reading files: {done:,} of {total:,}", end="\n" if done >= total else "\r", file=sys.stderr, flush=True)


def say_recipe(recipe: BaseModel, reading: BaseModel, task: str) -> None:
    """The settings of a recipe and of how sources are read, each with its value and what it is."""
    say(f"task: {task}\nrecipe (change any setting by name, for example --epochs 5):")
    for settings in (recipe, reading):
        for name, field in type(settings).model_fields.items():
            value = getattr(settings, name)
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            say(f"  --{name.replace('_', '-'):<20} {shown:<16} {field.description}")


def say_result(result: FitResult) -> None:
    """How a training went, and what to do next."""
    if result.test is not None:
        say_outcome(result.test)
    for baseline in result.baselines:
        say(f"{'' if baseline.is_beaten else '! '}{baseline.sentence()}")
    if result.run is not None:
        say(f"\nreport: {result.run.report}\nmodel:  {result.run.bundle}")
        say(f"time:   {clock(result.seconds)}, of which training {clock(result.train_seconds)}\n\nnext:")
        for command in result.next_commands:
            say(f"  {command}")


def say_diagnosis(findings: Sequence[Finding]) -> None:
    """What a doctor found, a block for each: verdict, evidence, remedy."""
    for finding in findings:
        say(f"{finding.level}: {finding.verdict} [{finding.kind}]")
        for line in finding.evidence:
            say(f"  {line}")
        if finding.remedy:
            say(f"  do this: {finding.remedy}")


def say_check(findings: Sequence[Finding], sentence: str) -> None:
    """What a check found, each with its level before it, and the result in a sentence."""
    for found in findings:
        say(f"{found.level}: {found.verdict}")
        for line in found.evidence[:_EVIDENCE]:
            say(f"    {line}")
        if len(found.evidence) > _EVIDENCE:
            say(f"    … and {len(found.evidence) - _EVIDENCE:,} more; --json and --report have them all")
        if found.remedy:
            say(f"    do this: {found.remedy}")
    say(sentence)


def say_stream(beginning: str, pieces: Iterable[str]) -> None:
    """Text as it comes, after what it goes on from."""
    say(beginning, end="")
    for piece in pieces:
        say(piece, end="")
    say()


def say_outcome(outcome: Outcome) -> None:
    """What a test is made of, as a table, and its sentence."""
    listing = outcome.listing()
    if listing is not None:
        say()
        say_listing(listing)
    say(f"\n{outcome.sentence()}")


def say_listing(listing: Listing) -> None:
    """A table and its remark; columns of numbers stand right."""
    header, rows, remark = listing
    table = _new_table()
    for number, title in enumerate(header):
        numeric = number > 0 and all(NUMBER.fullmatch(row[number]) for row in rows)
        table.add_column(title, justify="right", no_wrap=True) if numeric else table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    _say_table(table)
    if remark:
        say(remark)


def as_csv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Header and rows as the text of a CSV file, no cell of which a spreadsheet takes for a formula (CWE-1236).

    File names, labels and texts may come from anybody. A cell that begins as formulas do (= + - @, blanks before them
    or not), or with a tab or a line end, gets an apostrophe before it; numbers stay numbers.

    >>> print(as_csv(["file", "label", "value"], [["a,b.png", "=1+1", "-0.5"]]), end="")
    file,label,value
    "a,b.png",'=1+1,-0.5
    """
    return "".join(map(_csv_row, (header, *rows)))


def _csv_row(cells: Sequence[str]) -> str:
    text = io.StringIO()
    # The writer quotes what is in its own line end: with \r in it, no cell can begin a row.
    csv.writer(text, lineterminator="\r\n").writerow(map(_no_formula, cells))
    return text.getvalue().removesuffix("\r\n") + "\n"


def _no_formula(cell: str) -> str:
    is_number = _PLAIN_NUMBER.fullmatch(cell) is not None
    return f"'{cell}" if _FORMULA.match(cell) and not is_number else cell


def _new_table() -> Table:
    from rich.table import Table

    return Table(box=None, pad_edge=False)


def _cell(text: str) -> Any:
    from rich.text import Text

    return Text(text)  # not markup: a class may be called [red]


def _say_table(table: Table) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else _ENDLESS)
    with console.capture() as captured:
        console.print(table)
    say("\n".join(line.rstrip() for line in captured.get().splitlines()))
