"""A folder with one folder of text files for each class, with or without train, validation and test folders around."""

from __future__ import annotations

import os
from heapq import nsmallest
from pathlib import Path

from corecur.data.class_folders import Listing, find_split_folders, is_folder, list_folder
from corecur.data.gathered import SPLITS, one_spelling
from corecur.data.text.split_files import is_paper
from corecur.data.text.text_files import TextReader
from corecur.data.text.text_parts import GatheredTexts, TextPart
from corecur.errors import DataError
from corecur.finding import remark

TEXT_SUFFIXES = frozenset({".txt", ".text", ""})
WANTED = "one folder per class with text files in it: reviews/good/1.txt, reviews/bad/1.txt, …"
# Folders of texts without a class beside the class folders, as in the IMDB reviews.
_UNLABELLED = frozenset({"unsup", "unlabeled", "unlabelled", "unsupervised"})
_LOOKED_AT = 40


def is_text_file(path: Path) -> bool:
    """Whether a name is that of a plain text: ``.txt``, ``.text`` or no suffix, and no readme or licence.

    >>> is_text_file(Path("1.txt")), is_text_file(Path("1.png")), is_text_file(Path("LICENSE"))
    (True, False, False)
    """
    return (path.suffix.casefold() in TEXT_SUFFIXES or path.suffix[1:].isdigit()) and not is_paper(path.name)


def is_text_folder(path: Path) -> bool:
    """Whether a folder holds class folders of text files, looking at a few of them.

    >>> is_text_folder(Path("no such folder"))
    False
    """
    if not path.is_dir():
        return False
    leaves = []
    for folder in _glance(path)[0]:
        folders, files = _glance(folder)
        leaves += [_glance(inner)[1] for inner in folders[:4]] if folders else [files]
    files = [file for leaf in leaves for file in leaf]
    return bool(files) and sum(map(is_text_file, files)) >= 0.8 * len(files)


def _glance(folder: Path) -> tuple[list[Path], list[Path]]:
    """The first folders and files of a folder by name, hidden ones left out: a class may have 100,000."""
    try:
        with os.scandir(folder) as entries:
            seen = (entry for entry in entries if not entry.name.startswith((".", "_")))
            # In the order of their names: the system's own order differs from copy to copy.
            first = [(is_folder(e), Path(e.path)) for e in nsmallest(_LOOKED_AT, seen, key=lambda e: e.name)]
            return [path for folder, path in first if folder], [path for folder, path in first if not folder]
    except OSError as error:
        raise DataError(f"the folder cannot be read: {error.strerror}", where=folder) from error


def gather_text_folder(source: Path, reader: TextReader) -> GatheredTexts:
    """Read a folder of class folders; raises DataError where it is none, or a class has no text.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("good/1.txt", "bad/1.txt"):
    ...         file = Path(folder, name); file.parent.mkdir(); _ = file.write_text(name)
    ...     gather_text_folder(Path(folder), TextReader()).parts["train"].labels
    ['bad', 'good']
    """
    listing = list_folder(source)
    split_folders = find_split_folders(source, listing)
    if split_folders is None:
        return GatheredTexts("folder", {"train": _read_classes(source, listing, source, reader)})
    parts = {}
    for split in SPLITS:
        if split not in split_folders:
            continue
        folder = split_folders[split]
        inside = list_folder(folder)
        if split != "train" and not inside.folders:
            reader.notes.append(
                remark(f"{folder.name}/ has no class folders: nothing can be measured on it; it was left out.")
            )
            continue
        parts[split] = _read_classes(folder, inside, source, reader)
    return GatheredTexts("folder", parts)


def _read_classes(folder: Path, listing: Listing, source: Path, reader: TextReader) -> TextPart:
    part = TextPart([], [], [])
    labels: list[str] = []
    left_out = 0
    for class_folder in listing.folders:
        if class_folder.name.casefold() in _UNLABELLED:
            reader.notes.append(remark(f"{class_folder.name}/ holds texts without a class and was left out."))
            continue
        files, others = _walk(class_folder)
        left_out += others
        if not files:
            empty = DataError(
                "a class folder holds no text",
                where=class_folder,
                expected=WANTED,
                do="put text files (.txt) into it, or remove the folder",
            )
            reader.refuse(empty, place=f"{class_folder.name}/")
        label = one_spelling(class_folder.name)
        for file in files:
            text = reader.read(file)
            if text is not None:
                part.texts.append(text)
                labels.append(label)
                part.names.append(one_spelling(file.relative_to(source).as_posix()))
    if not part.names and not reader.bad:
        raise DataError("the folder holds no class folders with texts", where=folder, expected=WANTED)
    if left_out:
        reader.notes.append(remark(f"{left_out:,} files of other kinds in {folder.name}/ were left out."))
    return TextPart(part.texts, labels, part.names)


def _walk(folder: Path) -> tuple[list[Path], int]:
    """Text files in a folder and the folders in it, and how many others; links to folders are not followed."""
    listing = list_folder(folder)
    files = [file for file in listing.others if is_text_file(file)]
    left_out = len(listing.others) - len(files) + len(listing.pictures)
    for inner in listing.folders:
        if not inner.is_symlink():
            more, others = _walk(inner)
            files += more
            left_out += others
    return files, left_out
