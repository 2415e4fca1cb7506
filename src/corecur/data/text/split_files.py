"""Which files of a folder are its training, validation and test data, by the words in their names."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from corecur.data.class_folders import list_folder
from corecur.data.gathered import SPLIT_WORDS, SPLITS, natural_key
from corecur.errors import DataError

_PAPERS = re.compile(
    r"(readme|licen[cs]e|copying|citation|changelog|authors|notice|statistics|stats|sha256sums)\b", re.I
)
_PAPER_SUFFIXES = frozenset({".md", ".rst", ".pdf", ".html", ".xml", ".bib", ".sha256", ".md5", ".py", ".sh", ".yaml"})


def split_of(name: str) -> str | None:
    """The split that a file name speaks of, or None.

    >>> split_of("wap.valid.txt"), split_of("wnut17train.conll"), split_of("TREC.train.all"), split_of("latest.txt")
    ('validation', 'train', 'train', None)
    """
    words = re.findall("[a-z]+", name.casefold())
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)


def data_files(path: Path) -> tuple[Path, ...]:
    """The files of a folder in natural order, without papers (readme, licence, …); of a path that is no file and no
    folder, those beside it whose names begin with its name and a full stop.

    >>> data_files(Path("no such folder", "set"))
    ()
    """
    if path.is_file():
        return (path,)
    folder, start = (path, "") if path.is_dir() else (path.parent, path.name + ".")
    if not folder.is_dir() or start == ".":
        return ()
    listing = list_folder(folder)
    files = sorted((*listing.pictures, *listing.others), key=lambda file: natural_key(file.name))
    return tuple(file for file in files if file.name.startswith(start) and not is_paper(file.name))


def is_paper(name: str) -> bool:
    """Whether a file tells about the data and is none of it.

    >>> is_paper("README.md"), is_paper("LICENSE"), is_paper("reviews.txt")
    (True, True, False)
    """
    return bool(_PAPERS.match(name)) or os.path.splitext(name)[1].casefold() in _PAPER_SUFFIXES


def by_split(files: Sequence[Path]) -> dict[str, list[Path]]:
    """The files of each split; those whose names speak of none are under ``""``.

    >>> by_split([Path("a.train.txt"), Path("b.txt")])
    {'train': [PosixPath('a.train.txt')], '': [PosixPath('b.txt')]}
    """
    found: dict[str, list[Path]] = {}
    for file in files:
        found.setdefault(split_of(file.name) or "", []).append(file)
    return found


def one_file_a_split(path: Path, files: Sequence[Path]) -> tuple[dict[str, Path], tuple[Path, ...]]:
    """The file of each split and the files left out; a file, given or alone, is the training data.

    Raises DataError where the folder holds several sets, or none that is for training.

    >>> one_file_a_split(Path("a.csv"), [Path("a.csv")])
    ({'train': PosixPath('a.csv')}, ())
    """
    if len(files) == 1:
        return {"train": files[0]}, ()
    found = by_split(files)
    if "train" not in found or any(len(found.get(split, [])) > 1 for split in SPLITS):
        sets = sorted({_set_name(file.name) for file in files}, key=natural_key)
        raise DataError(
            "the folder holds several files, and which of them is for training is not clear",
            where=path,
            got=", ".join(file.name for file in files[:6]) + (" …" if len(files) > 6 else ""),
            expected="one file, or one each with train, validation and test in its name",
            do=f"give one of them, for example {(path if path.is_dir() else path.parent) / sets[-1]}",
        )
    return {split: found[split][0] for split in SPLITS if split in found}, tuple(found.get("", ()))


def _set_name(name: str) -> str:
    """The name of a file before the word that says which split it is."""
    return re.split(rf"[._-]?(?:{'|'.join(SPLIT_WORDS)})\b", name, maxsplit=1, flags=re.I)[0] or name
