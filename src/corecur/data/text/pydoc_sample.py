"""The sample ``pydoc``: Python's own documentation texts, read from its sources; nothing is fetched or imported."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sysconfig
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from corecur.data.text.text_parts import GatheredTexts, TextPart
from corecur.errors import DataError

# What a module is about. Packages (with a stroke) are read file by file; what an installation lacks is passed over.
TOPICS = {
    "files": "shutil pathlib pathlib/ tempfile zipfile zipfile/ tarfile glob fnmatch os posixpath ntpath fileinput "
    "gzip bz2 lzma filecmp genericpath shelve stat zipapp linecache",
    "network": "http/ ftplib smtplib socket ssl socketserver imaplib poplib xmlrpc/ ipaddress webbrowser "
    "nntplib telnetlib wsgiref/ asynchat",
    "numbers": "statistics fractions _pydecimal random numbers colorsys heapq bisect _pydatetime datetime calendar "
    "_strptime sched",
    "tasks": "asyncio/ concurrent/futures/ multiprocessing/ queue subprocess _threading_local",
    "testing": "unittest/ doctest pdb bdb trace timeit cProfile profile pstats tracemalloc code",
    "language": "ast inspect dis tokenize typing types importlib/ importlib/metadata/ abc dataclasses functools enum "
    "contextlib copy copyreg weakref pickletools symtable pyclbr modulefinder runpy pkgutil",
    "text": "email/ email/mime/ xml/etree/ json/ csv textwrap string difflib configparser argparse optparse "
    "locale codecs quopri plistlib pprint reprlib cmd shlex",
}
_SHORTEST, _LONGEST = 40, 600

Documented: TypeAlias = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def gather_pydoc() -> GatheredTexts:
    """First paragraphs of docstrings with the topic of their module, for learning to tell the topic of a text.

    A text that stands under two topics, or twice, is left out. Raises DataError where the library has no sources.

    >>> found = gather_pydoc().parts["train"]
    >>> len(found) > 1500, sorted(set(found.labels))[:3]
    (True, ['files', 'language', 'network'])
    """
    rows = [(name, topic, short) for name, topic, text in docstrings() if (short := _opening(text)) is not None]
    times = Counter(text for _, _, text in rows)
    kept = [row for row in rows if times[row[2]] == 1]
    return GatheredTexts(
        "sample", {"train": TextPart([r[2] for r in kept], [r[1] for r in kept], [r[0] for r in kept])}
    )


@functools.lru_cache(maxsize=1)
def docstrings() -> tuple[tuple[str, str, str], ...]:
    """Name, topic and text of each docstring in the chosen modules of the standard library, in a fixed order.

    >>> docstrings()[0][:2]
    ('shutil', 'files')
    """
    library = Path(sysconfig.get_path("stdlib"))
    found = [
        (name, topic, text)
        for topic, modules in TOPICS.items()
        for module in modules.split()
        for file in _files(library, module)
        for name, text in of_file(file, library)
    ]
    if not found:
        raise DataError("the sources of Python's library are not here", where=library, do="give a source of your own")
    return tuple(found)


def _files(library: Path, module: str) -> list[Path]:
    if module.endswith("/"):
        folder = library / module
        return sorted(folder.glob("*.py")) if folder.is_dir() else []
    file = library / f"{module}.py"
    return [file] if file.is_file() else []


def of_file(file: Path, library: Path) -> Iterator[tuple[str, str]]:
    """Name and text of the docstrings in a source file under ``library``: of the module, its classes and functions.

    >>> library = Path(sysconfig.get_path("stdlib"))
    >>> next(of_file(library / "this.py", library), None) is None
    True
    """
    with tokenize.open(file) as source:
        text = source.read()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # escapes in strings that a newer Python warns about
        tree = ast.parse(text)
    module = ".".join(file.relative_to(library).with_suffix("").parts).removesuffix(".__init__")
    yield from _below(tree, module)


def _below(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> Iterator[tuple[str, str]]:
    text = ast.get_docstring(node)
    if text:
        yield name, inspect.cleandoc(text)
    if isinstance(node, (ast.Module, ast.ClassDef)):
        for inner in node.body:
            if isinstance(inner, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from _below(inner, f"{name}.{inner.name}")


def _opening(text: str) -> str | None:
    """The first paragraphs of a docstring as one line, or None where there is little of them."""
    pieces = [" ".join(piece.split()) for piece in re.split(r"\n\s*\n", text)]
    opening = ""
    for piece in pieces:
        if opening and len(opening) + len(piece) > _LONGEST:
            break
        opening = f"{opening} {piece}".strip()
    opening = opening[:_LONGEST]
    return opening if len(opening) >= _SHORTEST else None
