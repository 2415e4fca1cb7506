"""What all commands share: their common options, and errors in words for people instead of traces."""

from __future__ import annotations

import contextlib
import re
import signal
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from corecur import console
from corecur.errors import ConfigError, CorecurError, phrase

DATA, TRAINING, MACHINE, OUTPUT = "Data", "Training", "Machine", "Output"

Bundle = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file (a bundle), or a run folder.")]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON value on standard output and nothing else there.", rich_help_panel=OUTPUT
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the Python trace of an error.", rich_help_panel=OUTPUT)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps, …", rich_help_panel=MACHINE)]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="Set unreadable samples aside instead of refusing.", rich_help_panel=DATA),
]


@contextlib.contextmanager
def errors_for_people(debug: bool) -> Iterator[None]:
    """Print whatever goes wrong, without a trace, and leave with its code: 1 failed, 2 usage, 75 resumable."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        notes = getattr(error, "__notes__", [])
        console.complain("\n".join([f"corecur: {_in_words(error)}", *notes]))
        raise SystemExit(_exit_code(error)) from None


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    return error.exit_code if isinstance(error, CorecurError) else 1


def _in_words(error: BaseException) -> str:
    if isinstance(error, CorecurError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "stopped"
    if isinstance(error, OSError):
        return phrase("the system refused", where=error.filename, got=error.strerror or str(error))
    return phrase(
        "something went wrong that should not",
        got=f"{type(error).__name__}: {error}",
        do="run it again with --debug, and report what it prints",
    )


def parse_seconds(text: str) -> float:
    """A duration in seconds.

    >>> parse_seconds("90"), parse_seconds("1.5m"), parse_seconds("1h")
    (90.0, 90.0, 3600.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|m|min|h)?\s*", text)
    seconds = 0.0 if match is None else float(match[1]) * {"m": 60, "h": 3600}.get((match[2] or "s")[0], 1)
    if seconds <= 0:
        raise ConfigError("this is not a length of time", got=text, expected="60s, 10m or 1h")
    return seconds


def say_nothing(line: str) -> None:
    """In place of what is said for people."""
