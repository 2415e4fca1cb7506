"""What every learner takes and gives, whatever its task: sources, outcomes of a test, tables for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from corecur.finding import Finding

#: How a learner tells a person what it does; the command line prints it.
Tell = Callable[[str], None]
#: A table for people: its header, its rows, and a remark below it or nothing.
Listing = tuple[Sequence[str], Sequence[Sequence[str]], str]


def silence(line: str) -> None:
    """Tell nobody."""


class Outcome(Protocol):
    """What a test of any learner can say."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is odd about the samples."""

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON values."""

    def sentence(self) -> str:
        """The result in words, its interval included."""

    def listing(self) -> Listing | None:
        """The parts it is made of, as a table for people, or None."""


class Source(Protocol):
    """What ``read`` returns, whatever the task: samples in up to three splits."""

    @property
    def origin(self) -> str:
        """Where it comes from: a path, a sample's name."""

    @property
    def kind(self) -> str:
        """Which form it has."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is odd about it."""

    @property
    def train(self) -> Any:
        """The training samples; where they have names, messages use them."""
