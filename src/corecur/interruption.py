"""Stub until merged."""

import contextlib

_WANTED = False


def wanted() -> bool:
    return _WANTED


def request():
    global _WANTED
    _WANTED = True


@contextlib.contextmanager
def polite():
    global _WANTED
    try:
        yield
    finally:
        _WANTED = False


def hint(text): ...
