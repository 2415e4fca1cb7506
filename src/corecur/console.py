"""What the command prints: lines and tables for people, one JSON value or CSV for scripts.

K classes.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from corecur.engine.progress import clock
from corecur.report.charts import percent

if TYPE_CHECKING:
    from rich.table import Table

    from corecur.learners.evaluation import Evaluation, Prediction
    from corecur.learners.image_recipe import ImageRecipe
    from corecur.learners.learner import FitResult

# Where nobody sees a screen, a table's lines are as long as what they hold.
_ENDLESS = 100_000
_MOST_CLASSES = 40


def speak_any_language() -> None:
    """Let the standard streams print every file name, in whatever encoding they have; what does not fit is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str = "", *, end: str = "\n") -> None:
    """Print at once; where nobody reads any more (``| head``), go on in silence, so that a training still ends well."""
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say_json(value: Any) -> None:
    """Print one JSON value, in plain ASCII where the stream cannot spell it otherwise."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, allow_nan=False)
    say(text)


def complain(text: str) -> None:
    """Print on standard error."""
    sys.stdout.flush()
    print(text, file=sys.stderr, flush=True)


def count_files(done: int, total: int) -> None:
    """Show, on a terminal and for many files, how many have been read."""
    if total >= 500 and sys.stderr.isatty():
        print(
            f"reading pictures: {done:,} of {total:,}", end="\n" if done >= total else "\r", file=sys.stderr, flush=True
        )


def say_recipe(recipe: ImageRecipe, task: str) -> None:
    """The settings of a recipe, each with its value and what it is."""
    say(f"task: {task}\nrecipe (change any setting by name, for example --epochs 5):")
    for name, field in type(recipe).model_fields.items():
        value = getattr(recipe, name)
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        say(f"  --{name.replace('_', '-'):<20} {shown:<16} {field.description}")


def say_result(result: FitResult) -> None:
    """How a training went, and what to do next."""
    if result.test is not None:
        say_evaluation(result.test)
    if result.run is not None:
        say(f"\nreport: {result.run.report}\nmodel:  {result.run.bundle}")
        say(f"time:   {clock(result.seconds)}, of which training {clock(result.train_seconds)}\n\nnext:")
        for command in result.next_commands:
            say(f"  {command}")


def say_evaluation(result: Evaluation) -> None:
    """The table of the classes (of many, the weakest), and the accuracy with its interval."""
    table = _new_table("class", right=("precision", "recall", "F1", "samples"))
    rows, left_out = result.per_class, max(0, len(result.classes) - _MOST_CLASSES)
    if left_out:
        rows = sorted(rows, key=lambda row: row.f1 if math.isfinite(row.f1) else 1.0)[:_MOST_CLASSES]
    for row in rows:
        table.add_row(_cell(row.name), *map(percent, (row.precision, row.recall, row.f1)), f"{row.support:,}")
    say()
    _say_table(table)
    if left_out:
        say(f"… and {left_out:,} classes that do better; the report and --json have them all")
    say(f"\n{result.sentence()}")


def say_predictions(answers: Sequence[Prediction], *, top: int) -> None:
    """A table of the answers, with the next most probable labels."""
    table = _new_table("file", "label", right=("probability",))
    if top > 1:
        table.add_column("then", overflow="fold")
    for answer in answers:
        others = list(answer.probabilities.items())[1:top]
        then = ", ".join(f"{label} {percent(share)}" for label, share in others)
        cells = (answer.name, answer.label, percent(answer.probability), then)
        table.add_row(*(_cell(cell) for cell in cells[: len(table.columns)]))
    _say_table(table)


def as_csv(answers: Sequence[Prediction], classes: Sequence[str]) -> str:
    """The answers with the probability of every class.

    >>> as_csv([], ["cat", "dog"])
    'file,label,probability,cat,dog\\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "label", "probability", *classes])
    for answer in answers:
        shares = (f"{answer.probabilities[name]:.6f}" for name in classes)
        writer.writerow([answer.name, answer.label, f"{answer.probability:.6f}", *shares])
    return text.getvalue()


def _new_table(*left: str, right: Sequence[str] = ()) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in left:
        table.add_column(title, overflow="fold")
    for title in right:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _cell(text: str) -> Any:
    from rich.text import Text

    return Text(text)  # not markup: a class may be called [red]


def _say_table(table: Table) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else _ENDLESS)
    with console.capture() as captured:
        console.print(table)
    say("\n".join(line.rstrip() for line in captured.get().splitlines()))
