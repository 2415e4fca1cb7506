"""Every exception a user can meet, and the one place that phrases them.

A message says what happened, where, what was got, what was expected and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def phrase(
    what: str,
    *,
    where: object = None,
    got: object = None,
    expected: object = None,
    do: str | None = None,
) -> str:
    """Put the parts of an error message in their fixed order.

    >>> print(phrase("the folder is empty", where="photos/", do="put pictures into it"))
    the folder is empty
      where:    photos/
      do this:  put pictures into it
    """
    lines = [what]
    for label, value in (("where", where), ("got", got), ("expected", expected), ("do this", do)):
        if value is not None:
            lines.append(f"  {label + ':':<9} {value}")
    return "\n".join(lines)


class CorecurError(Exception):
    """Base of every error this package raises on purpose; the command line prints it without a trace.

    >>> str(CorecurError("no such file", where="a.png"))
    'no such file\\n  where:    a.png'
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        got: object = None,
        expected: object = None,
        do: str | None = None,
    ) -> None:
        super().__init__(phrase(what, where=where, got=got, expected=expected, do=do))
        self.what, self.where, self.got, self.do = what, where, got, do


class ConfigError(CorecurError, ValueError):
    """An argument, a setting or a name is wrong."""

    exit_code = 2


class ShapeError(CorecurError, ValueError):
    """A tensor's shape does not fit the layer or the model it was given to."""


class DataError(CorecurError, ValueError):
    """A source cannot be read, or what it holds cannot be learned from."""


class RunError(CorecurError):
    """A run folder or another output cannot be written, or a run cannot go on."""


class Stopped(CorecurError):  # noqa: N818 - no error: somebody asked for it
    """A training was stopped on request, or to wait for a person; it can be resumed."""

    exit_code = 75


class BundleError(CorecurError):
    """A model file is not what it claims to be; ``code`` names the rule it breaks."""

    def __init__(self, code: str, what: str, *, where: object = None, do: str | None = None) -> None:
        super().__init__(f"{what} [{code}]", where=where, do=do)
        self.code = code


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to a mistyped one, or None.

    >>> nearest("conv2", ["conv2d", "dense"])
    'conv2d'
    """
    by_folded = {k.casefold(): k for k in known}
    found = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    return by_folded[found[0]] if found else None


def unknown_name(kind: str, name: object, known: Iterable[str]) -> ConfigError:
    """The error for a name that is in no table, with the nearest valid one.

    >>> print(unknown_name("optimizer", "adm", ["adam", "sgd"]))
    unknown optimizer 'adm'
      expected: one of adam, sgd
      do this:  did you mean 'adam'?
    """
    known = sorted(known)
    guess = nearest(name, known) if isinstance(name, str) else None
    return ConfigError(
        f"unknown {kind} {name!r}",
        expected="one of " + ", ".join(known),
        do=f"did you mean {guess!r}?" if guess else f"use one of these names, or pass the {kind} itself",
    )


class KernelNotice(RuntimeWarning):
    """Given once where the native kernels are missing."""
