"""A folder with one folder of pictures for each class, with or without train, validation and test folders around them.

Shapes: N files.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corecur.data.gathered import SPLIT_WORDS, SPLITS, Gathered, Part, natural_key, one_spelling
from corecur.data.pictures import SUFFIXES
from corecur.errors import DataError
from corecur.finding import Finding, remark

WANTED = "one folder per class with pictures in it: photos/cat/1.jpg, photos/dog/2.jpg, …"
ELSEWHERE = frozenset({".csv", ".tsv", ".npz"})


@dataclass(frozen=True)
class Listing:
    """What lies directly in a folder, hidden files left out, in natural order."""

    folders: tuple[Path, ...]
    pictures: tuple[Path, ...]
    others: tuple[Path, ...]


#: What is done about an error that does not end a reading: raise it, or keep it and go on.
Refuse = Callable[[DataError], None]


def refuse_at_once(error: DataError) -> None:
    """Raise the error: a reading ends with the first.

    >>> refuse_at_once(DataError("the folder is empty"))
    Traceback (most recent call last):
        ...
    corecur.errors.DataError: the folder is empty
    """
    raise error


def gather_folder(source: Path, refuse: Refuse = refuse_at_once) -> Gathered:
    """Look through a folder of class folders; raises DataError where it is none, is empty, or its splits disagree.

    ``refuse`` is told of empty classes and of splits that disagree.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
    ...         file = Path(folder, name); file.parent.mkdir(exist_ok=True); file.touch()
    ...     found = gather_folder(Path(folder))
    >>> found.kind, list(found.parts["train"].names)
    ('folder', ['cat/1.png', 'cat/2.png', 'dog/1.png'])
    """
    listing = list_folder(source)
    split_folders = find_split_folders(source, listing)
    findings: list[Finding] = []
    if split_folders is None:
        parts = {"train": _gather_classes(source, listing, source, findings, refuse)}
        return Gathered("folder", parts, findings=tuple(findings))
    parts = {}
    for split in SPLITS:
        if split not in split_folders:
            continue
        folder = split_folders[split]
        inside = list_folder(folder)
        if split != "train" and not inside.folders and inside.pictures:
            findings.append(
                remark(
                    f"{folder.name}/ holds {len(inside.pictures):,} pictures without class folders: "
                    "nothing can be measured on them, and they were left out."
                )
            )
            continue
        parts[split] = _gather_classes(folder, inside, source, findings, refuse)
    _refuse_different_classes(parts, split_folders, refuse)
    return Gathered("folder", parts, findings=tuple(findings))


def list_folder(folder: Path) -> Listing:
    """What lies in a folder; raises DataError where it may not be read.

    >>> list_folder(Path("no such folder"))
    Traceback (most recent call last):
        ...
    corecur.errors.DataError: the folder cannot be read: No such file or directory
      where:    no such folder
    """
    try:
        with os.scandir(folder) as entries:
            visible = [(is_folder(entry), Path(entry.path)) for entry in entries if not _is_hidden(entry.name)]
    except OSError as error:
        raise DataError(f"the folder cannot be read: {error.strerror}", where=folder) from error
    visible.sort(key=lambda found: natural_key(found[1].name))
    files = [path for folder, path in visible if not folder]
    return Listing(
        tuple(path for folder, path in visible if folder),
        tuple(path for path in files if path.suffix.casefold() in SUFFIXES),
        tuple(path for path in files if path.suffix.casefold() not in SUFFIXES),
    )


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; a link that leads in a circle is a file that cannot be read."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def find_split_folders(source: Path, listing: Listing) -> dict[str, Path] | None:
    """Folder of each split, or None where the folders are classes; raises DataError where both stand side by side.

    ``train`` may be a class too (of vehicles, say): it is a split where it holds folders, or where nothing but split
    names stands beside it.
    """
    named = [(SPLIT_WORDS.get(folder.name.casefold()), folder) for folder in listing.folders]
    splits: dict[str, Path] = {}
    for split, folder in named:
        if split is not None and split in splits:
            raise DataError(
                f"two folders hold the {split} split",
                where=source,
                got=f"{splits[split].name}/ and {folder.name}/",
                do="keep one of them",
            )
        if split is not None:
            splits[split] = folder
    if "train" not in splits:
        if len(splits) > 1 and len(splits) == len(named):
            raise DataError("there is no train folder", where=source, got=", ".join(f"{f.name}/" for _, f in named))
        return None
    classes = [folder.name for split, folder in named if split is None]
    if not list_folder(splits["train"]).folders and classes:
        return None
    if classes:
        raise DataError(
            "class folders stand beside the train folder",
            where=source,
            got=", ".join(f"{name}/" for name in classes[:5]),
            expected="train/, validation/ and test/ only, each with the class folders in it",
            do="move these folders elsewhere",
        )
    return splits


def _no_classes(folder: Path, listing: Listing) -> DataError:
    elsewhere = [path.name for path in listing.others if path.suffix.casefold() in ELSEWHERE]
    if listing.pictures:
        advice = f"give the table of labels instead: {folder / elsewhere[0]}" if elsewhere else None
        return DataError(
            "the pictures are not in class folders, so nothing says what they show",
            where=folder,
            got=f"{len(listing.pictures):,} pictures",
            expected=WANTED,
            do=advice or "move them into class folders, or write a CSV file with the columns path and label",
        )
    return DataError(
        "the folder holds no pictures" if listing.others or listing.folders else "the folder is empty",
        where=folder,
        got=", ".join(path.name for path in listing.others[:5]) or None,
        expected=WANTED,
        do=f"did you mean the file {folder / elsewhere[0]}?" if elsewhere else None,
    )


def _gather_classes(folder: Path, listing: Listing, source: Path, findings: list[Finding], refuse: Refuse) -> Part:
    files: list[Path] = []
    labels: list[str] = []
    left_out: Counter[str] = Counter()
    empty: list[str] = []
    for class_folder in listing.folders:
        pictures, others = _walk(class_folder)
        left_out.update(path.suffix.casefold() or "no suffix" for path in others)
        files += pictures
        labels += [one_spelling(class_folder.name)] * len(pictures)
        if not pictures:
            empty.append(class_folder.name)
    if not files:
        raise _no_classes(folder, listing)
    _refuse_one_level_up(folder, listing)
    if empty:
        refuse(
            DataError(
                "a class folder holds no picture",
                where=folder,
                got=", ".join(f"{name}/" for name in empty[:10]),
                expected="PNG, JPEG, BMP, GIF or WebP files",
                do="put pictures into it, or remove the folder",
            )
        )
    place = "" if folder == source else f" in {folder.name}/"
    if listing.pictures:
        findings.append(
            remark(f"{len(listing.pictures):,} pictures{place} lie outside the class folders and were left out.")
        )
    if left_out:
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in left_out.most_common(5))
        findings.append(remark(f"{left_out.total():,} files of other kinds{place} were left out ({kinds})."))
    return Part(files, np.array(labels), [one_spelling(path.relative_to(source).as_posix()) for path in files])


def _refuse_one_level_up(folder: Path, listing: Listing) -> None:
    """An unpacked archive is often a folder in a folder of the same name."""
    inner = list_folder(listing.folders[0])
    if len(listing.folders) == 1 and not inner.pictures and len(inner.folders) > 1:
        raise DataError(
            "there is one class folder, and its pictures lie in folders inside it",
            where=folder,
            got=", ".join(f"{path.parent.name}/{path.name}/" for path in inner.folders[:5]),
            expected=WANTED,
            do=f"did you mean {listing.folders[0]}?",
        )


def _walk(folder: Path) -> tuple[list[Path], list[Path]]:
    """Pictures and other files in a folder and the folders in it; links to folders inside may circle: not followed."""
    listing = list_folder(folder)
    pictures, others = list(listing.pictures), list(listing.others)
    for inner in listing.folders:
        if not inner.is_symlink():
            more_pictures, more_others = _walk(inner)
            pictures += more_pictures
            others += more_others
    return pictures, others


def _refuse_different_classes(parts: dict[str, Part], folders: dict[str, Path], refuse: Refuse) -> None:
    wanted = set(parts["train"].labels.tolist())
    for split, part in parts.items():
        found = set(part.labels.tolist())
        if found != wanted:
            missing, extra = sorted(wanted - found, key=natural_key), sorted(found - wanted, key=natural_key)
            got = [f"without {', '.join(missing[:5])}"] * bool(missing) + [f"with {', '.join(extra[:5])}"] * bool(extra)
            refuse(
                DataError(
                    f"the classes of {folders[split].name}/ are not those of {folders['train'].name}/",
                    where=folders[split],
                    got=" and ".join(got),
                    expected="the same class folders in each split",
                    do="add, rename or remove class folders",
                )
            )
