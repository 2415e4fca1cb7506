"""Strict JSON: one reading of every text, found within bounded time and memory, or none."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corecur.bundle.layout import Limit
from corecur.errors import BundleError

#: Characters of a name: a label, a layer, a setting's value.
LONGEST_NAME = 1000

_MAX_DEPTH = 64
_MAX_DIGITS = 40
# Possessive, so that a long text costs no memory for ways back.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
# Control characters, line separators, and the marks that turn the direction of writing and so hide what is shown.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]")


def parse_json(content: bytes, limit: Limit, *, where: Path, name: str) -> Any:
    """The value of a JSON text; BundleError where it is not UTF-8, names a key twice, or has too much of anything.

    >>> parse_json(b'{"a": [1, 2]}', Limit(100, 10), where=Path("m"), name="model.json")
    {'a': [1, 2]}
    """

    def refuse(reason: str, code: str = "bad-json") -> BundleError:
        return BundleError(code, f"{name} is not JSON as it is read here: {reason}", where=where)

    def refuse_constant(text: str) -> Any:
        raise refuse(f"{text} is no number")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise refuse("an object names a key twice", "duplicate-key")
        return found

    def whole(text: str) -> int:
        if len(text) > _MAX_DIGITS or text == "-0":  # -0 is 0 to one reader and a float to another
            raise refuse(f"the number {text[:20]}")
        return int(text)

    def real(text: str) -> float:
        number = float(text)
        lost = number == 0 and any(digit in "123456789" for digit in text.casefold().partition("e")[0])
        if lost or not math.isfinite(number) or len(text) > _MAX_DIGITS:
            raise refuse(f"the number {text[:20]}")
        return number

    _check_extent(content, limit, refuse)
    try:
        value = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=unique,
            parse_constant=refuse_constant,
            parse_float=real,
            parse_int=whole,
        )
        if _HALF_PAIR.search(content):
            json.dumps(value, ensure_ascii=False).encode()  # fails on half a surrogate pair
    except (ValueError, RecursionError) as error:
        raise refuse(str(error)) from error
    return value


def _check_extent(content: bytes, limit: Limit, refuse: Callable[[str], BundleError]) -> None:
    """Refuse what is too deep, too many or too long before it is parsed, which recurses and allocates."""
    texts = (content.count(b'"') - content.count(b'\\"')) // 2  # at least so many, whatever is escaped
    if texts > limit.values:
        raise refuse(f"more than {limit.values:,} texts")
    longest = max((found.end() - found.start() for found in _STRING.finditer(content)), default=0)
    if longest > limit.text:
        raise refuse(f"a text of {longest:,} bytes")
    outside = _STRING.sub(b"", content)
    values = 1 + sum(outside.count(sign) for sign in (b",", b"[", b"{", b":"))
    if values > limit.values:
        raise refuse(f"more than {limit.values:,} values")
    brackets = outside.translate(None, _ALL_BUT_BRACKETS)
    for _ in range(_MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if not brackets:
            return
    raise refuse(f"brackets that do not close, or nested more than {_MAX_DEPTH} deep")


def is_plain(text: str, most: int = LONGEST_NAME) -> bool:
    """Whether a name can be shown as it is: not empty, not long, no control character, no change of direction.

    >>> is_plain("größe 猫"), is_plain("a\\u202egnp.exe"), is_plain("")
    (True, False, False)
    """
    return 0 < len(text) <= most and not _UNSAFE.search(text)


def made_plain(text: str) -> str:
    """The same name as it can be shown: without what ``is_plain`` refuses, a space in place of it.

    >>> made_plain("cat\\n"), made_plain("a\\u202eb")
    ('cat', 'a b')
    """
    return _UNSAFE.sub(" ", text).strip()[:LONGEST_NAME] or "?"
