"""From anything that holds labelled pictures to prepared images: recognise the kind, gather, prepare, check.

Shapes: N samples, H height, W width, C channels.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corecur.data.check import class_findings, duplicate_findings, missing_findings, refuse_classes
from corecur.data.cifar import gather_cifar_binary, gather_cifar_pickle, is_cifar_binary, is_cifar_pickle
from corecur.data.class_folders import Refuse, gather_folder, list_folder, refuse_at_once
from corecur.data.decoding import (
    BadFile,
    Progress,
    count_steps,
    decode_files,
    list_bad_files,
    read_headers,
    refuse_bad_files,
)
from corecur.data.gathered import SPLITS, Gathered, Part, class_numbers, classes_of
from corecur.data.idx import gather_idx, is_idx
from corecur.data.image_arrays import array_part, prepare_arrays, white_of
from corecur.data.image_sizes import Size, asked_size, choose_size, size_finding
from corecur.data.images import ImageSet, ImageSource, Preparation
from corecur.data.memory import fits_in_memory
from corecur.data.numpy_files import gather_npy, gather_npz, read_npy
from corecur.data.path_table import gather_table
from corecur.data.pictures import SUFFIXES, Header
from corecur.data.samples import SAMPLES, gather_sample
from corecur.errors import ConfigError, DataError, nearest
from corecur.finding import Finding, remark

Step = Callable[[int], None]


@dataclass(frozen=True)
class Kind:
    """A kind of source on disk: how it is told from the others, and what looks through it."""

    name: str
    recognises: Callable[[Path], bool]
    gather: Callable[[Path], Gathered]
    example: str


def _has_suffix(*suffixes: str) -> Callable[[Path], bool]:
    return lambda path: path.is_file() and path.suffix.casefold() in suffixes


# The first row that recognises a path reads it.
KINDS = (
    Kind("idx", is_idx, gather_idx, "train-images-idx3-ubyte.gz"),
    Kind("cifar-binary", is_cifar_binary, gather_cifar_binary, "cifar-10-batches-bin/"),
    Kind("cifar-pickle", is_cifar_pickle, gather_cifar_pickle, "cifar-10-batches-py/"),
    Kind("npz", _has_suffix(".npz"), gather_npz, "pictures.npz"),
    Kind("npy", _has_suffix(".npy"), gather_npy, "images.npy"),
    Kind("csv", _has_suffix(".csv", ".tsv"), gather_table, "labels.csv"),
    Kind("folder", Path.is_dir, gather_folder, "photos/"),
)


def load_images(
    source: Any,
    labels: Any = None,
    *,
    size: int | Size | None = None,
    skip_bad: bool = False,
    validation: Any = None,
    test: Any = None,
    progress: Progress | None = None,
) -> ImageSource:
    """Read labelled pictures from a path, a sample name or arrays, into uint8 tensors of one size.

    ``source`` is a folder of class folders, a CSV file of paths and labels, IDX files, a CIFAR folder, an ``.npz`` or
    ``.npy`` file; a sample name (``digits``, ``mnist``, ``fashion-mnist``, ``kmnist``, ``cifar10``); an array (N, H, W)
    or (N, H, W, C) with ``labels`` (N,) of integers or text; a pair (images, labels), or ((train images, train labels),
    (test images, test labels)). A text that is a sample name means the sample, even where a file has that name: write
    ``./digits`` for the file. ``validation`` and ``test`` are sources of their own. ``size`` is (H, W) or one side;
    without it see `choose_size`. Pictures have one channel where every training picture is grey, else three. A split
    the source does not have stays None.

    Raises DataError for everything that cannot be learned from; bad picture files are named all at once, or, with
    ``skip_bad``, set aside with a finding. ``progress(done, total)`` counts files.

    >>> source = load_images("digits")
    >>> source.train.images.shape, source.classes[:3]
    (torch.Size([1797, 8, 8, 1]), ('0', '1', '2'))
    """
    origin, gathered = gather_images(source, labels)
    for split, extra in (("validation", validation), ("test", test)):
        if extra is not None:
            gathered = _with_split(gathered, split, *gather_images(extra))
    classes = classes_of(gathered)
    numbers = {split: class_numbers(part.labels, classes, where=split) for split, part in gathered.parts.items()}
    if not gathered.bad:
        refuse_classes(numbers["train"], classes, where=origin)
    files = {split: len(part) for split, part in gathered.parts.items() if not isinstance(part.pictures, np.ndarray)}
    step = count_steps(progress, sum(files.values()) + files.get("train", 0))
    preparation, sizes = _fit_preparation(gathered.parts["train"], size, origin, step)
    sets, bad, on_disk = _prepare(gathered.parts, numbers, preparation, origin, step)
    bad = [*gathered.bad, *bad]
    if not skip_bad:
        refuse_bad_files(bad, total=sum(map(len, sets.values())) + len(bad), where=origin)
    if bad:
        refuse_classes(_numbers(sets["train"]), classes, where=f"{origin}, {len(bad):,} bad files set aside")
    # A held-out split whose every file is bad is no split.
    sets = {split: images for split, images in sets.items() if len(images)}
    resized = size_finding(sizes, (preparation.height, preparation.width))
    findings = (*gathered.findings, *_reading_findings(bad, on_disk, resized), *_set_findings(sets, classes))
    return ImageSource(
        origin=origin,
        kind=gathered.kind,
        classes=classes,
        train=sets["train"],
        validation=sets.get("validation"),
        test=sets.get("test"),
        preparation=preparation,
        findings=findings,
    )


def load_split(
    source: Any,
    labels: Any = None,
    *,
    classes: Sequence[str],
    preparation: Preparation,
    split: str = "test",
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> tuple[ImageSet, tuple[Finding, ...]]:
    """Read one split for a model that exists: its classes, its preparation. Returns the images and the findings.

    The source's own ``split`` is taken where it has several, else all of it. Raises DataError like `load_images`, and
    for a label the model does not know.

    >>> digits = load_images("digits")
    >>> images, _ = load_split("digits", classes=digits.classes, preparation=digits.preparation)
    >>> torch.equal(images.images, digits.train.images)
    True
    """
    origin, gathered = gather_images(source, labels)
    part = only_images(gathered, split, origin)
    numbers = class_numbers(part.labels, classes, where=origin)
    sets, bad, on_disk = _prepare(
        {split: part}, {split: numbers}, preparation, origin, count_steps(progress, len(part))
    )
    bad = [*gathered.bad, *bad]
    if not skip_bad or len(sets[split]) == 0:
        refuse_bad_files(bad, total=len(sets[split]) + len(bad), where=origin)
    findings = [*gathered.findings, *_reading_findings(bad, on_disk, None)]
    return sets[split], (*findings, *missing_findings(_numbers(sets[split]), classes, split=split))


def image_kind(source: str | os.PathLike[str]) -> str | None:
    """The kind of source a path or a name is (``folder``, ``csv``, …, ``sample``), from names alone, or None.

    A folder of anything is a ``folder``. Raises DataError for a folder that may not be read.

    >>> image_kind("mnist"), image_kind("no such thing")
    ('sample', None)
    """
    if isinstance(source, str) and source in SAMPLES:
        return "sample"
    path = Path(source).expanduser()
    if not os.fspath(source) or not os.path.exists(path):
        return None
    if path.is_dir():
        list_folder(path)
    return next((kind.name for kind in KINDS if kind.recognises(path)), None)


def gather_images(source: Any, labels: Any = None, refuse: Refuse = refuse_at_once) -> tuple[str, Gathered]:
    """Name of the source, and what it holds, not yet decoded; ``refuse`` is told of what a reading can go on after.

    >>> gather_images("digits")[1].kind
    'sample'
    """
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source), _gather_path(source, labels, refuse)
    if isinstance(source, (tuple, list)) and len(source) == 2 and labels is None:
        return "arrays", _gather_pairs(source)
    if labels is None:
        raise DataError(
            "the pictures have no labels",
            where="arrays",
            got=type(source).__name__,
            do="pass images and labels: (x, y), or a path",
        )
    return "arrays", Gathered("arrays", {"train": array_part(source, labels, split="train", where="arrays")})


def _gather_path(source: str | os.PathLike[str], labels: Any, refuse: Refuse) -> Gathered:
    if isinstance(source, str) and source in SAMPLES:
        _refuse_labels(labels, source)
        found = gather_sample(source)
        if os.path.exists(source):
            note = remark(f"{source!r} is the sample set of that name; for the file or folder here write ./{source}.")
            return replace(found, findings=(note, *found.findings))
        return found
    path = Path(source).expanduser()
    _refuse_no_path(path if os.fspath(source) else Path("(an empty name)"))
    if labels is not None and path.suffix.casefold() == ".npy":
        if isinstance(labels, (str, os.PathLike)):
            labels = read_npy(Path(labels))
        return Gathered("npy", {"train": array_part(read_npy(path), labels, split="train", where=str(path))})
    _refuse_labels(labels, source)
    kind = next((kind for kind in KINDS if kind.recognises(path)), None)
    if kind is None:
        if path.suffix.casefold() in SUFFIXES:
            advice = "give the folder that holds the class folders"
            raise DataError("a single picture is nothing to learn from", where=path, do=advice)
        known = ", ".join(f"{kind.name} ({kind.example})" for kind in KINDS)
        raise DataError("this kind of file is not known", where=path, expected=known)
    return gather_folder(path, refuse) if kind.name == "folder" else kind.gather(path)


def _gather_pairs(source: Sequence[Any]) -> Gathered:
    pairs = [
        pair for pair in source if isinstance(pair, (tuple, list)) and len(pair) == 2 and hasattr(pair[0], "shape")
    ]
    if len(pairs) == 2:
        splits = zip(("train", "test"), pairs, strict=True)
        return Gathered(
            "arrays",
            {split: array_part(images, labels, split=split, where="arrays") for split, (images, labels) in splits},
        )
    return Gathered("arrays", {"train": array_part(source[0], source[1], split="train", where="arrays")})


def _refuse_labels(labels: Any, source: object) -> None:
    if labels is not None:
        raise ConfigError("labels go with arrays and .npy files; this source has its own", got=source)


def _refuse_no_path(path: Path) -> None:
    try:
        if path.is_dir():
            list_folder(path)
        if path.exists():
            return
        beside = os.listdir(path.parent) if path.parent.is_dir() else []
    except (OSError, ValueError) as error:
        raise DataError(f"the path cannot be read: {error}", where=path) from error
    guess = nearest(path.name, beside)
    sample = nearest(path.name, SAMPLES)
    do = (
        f"did you mean {path.with_name(guess)}?"
        if guess
        else f"did you mean the sample {sample!r}?"
        if sample
        else None
    )
    raise DataError("no such file or folder", where=path, do=do or "sample sets are " + ", ".join(SAMPLES))


def only_images(gathered: Gathered, split: str, origin: str) -> Part:
    """The part of a source that stands for one split: its own, or, where it has no splits, all of it."""
    if split in gathered.parts:
        return gathered.parts[split]
    if list(gathered.parts) == ["train"]:
        part = gathered.parts["train"]
        return replace(
            part,
            names=[name.replace("train[", f"{split}[") if name.startswith("train[") else name for name in part.names],
        )
    raise DataError(f"the source has several splits, and none is {split}", where=origin, got=", ".join(gathered.parts))


def _with_split(gathered: Gathered, split: str, origin: str, extra: Gathered) -> Gathered:
    part = only_images(extra, split, origin)
    replaced = gathered.parts.get(split)
    notes = (
        [remark(f"The source's own {split} split ({len(replaced):,} pictures) gave way to {origin}.")]
        if replaced
        else []
    )
    return replace(
        gathered.with_part(split, part),
        findings=(*gathered.findings, *extra.findings, *notes),
        bad=(*gathered.bad, *extra.bad),
    )


def _fit_preparation(
    part: Part, size: int | Size | None, origin: str, step: Step | None
) -> tuple[Preparation, list[Size]]:
    """Size, channels and white, from the training pictures; and the sizes these have."""
    white = None
    if isinstance(part.pictures, np.ndarray):
        sizes = [(int(part.pictures.shape[1]), int(part.pictures.shape[2]))]
        channels = 1 if part.pictures.shape[3] == 1 else 3
        white = white_of(part.pictures, name=f"{origin}: train images")
    else:
        found = read_headers(part.pictures, step=step)
        headers = [header for header in found if isinstance(header, Header)]
        if not headers:
            bad = [
                (path, str(e.what)) for path, e in zip(part.pictures, found, strict=True) if isinstance(e, DataError)
            ]
            refuse_bad_files(bad, total=len(found), where=origin)
        sizes = [(header.height, header.width) for header in headers]
        channels = 1 if all(header.grey for header in headers) else 3
    height, width = choose_size(sizes) if size is None else asked_size(size)
    return Preparation(height, width, channels, white), sizes


def _prepare(
    parts: dict[str, Part], numbers: dict[str, Any], preparation: Preparation, origin: str, step: Step | None
) -> tuple[dict[str, ImageSet], list[BadFile], bool]:
    """Every split as tensors, the files that could not be read, and whether the pixels are kept in a temporary file."""
    shape = {"height": preparation.height, "width": preparation.width, "channels": preparation.channels}
    total = sum(map(len, parts.values())) * preparation.height * preparation.width * preparation.channels
    on_disk = not fits_in_memory(total)
    sets, bad = {}, []
    for split, part in parts.items():
        labels = torch.from_numpy(numbers[split])  # (N,)
        if isinstance(part.pictures, np.ndarray):
            white = preparation.white
            images = prepare_arrays(
                part.pictures, **shape, white=white, on_disk=on_disk, name=f"{origin}: {split} images"
            )
            sets[split] = ImageSet(images, labels, tuple(part.names))
            continue
        images, kept, unread = decode_files(part.pictures, **shape, on_disk=on_disk, step=step)
        bad += unread
        sets[split] = ImageSet(images, labels[kept], tuple(part.names[row] for row in kept))
    return sets, bad, on_disk


def _numbers(images: ImageSet) -> Any:
    labels: Tensor = torch.empty(0, dtype=torch.int64) if images.labels is None else images.labels
    return labels.numpy()


def _set_findings(sets: dict[str, ImageSet], classes: Sequence[str]) -> list[Finding]:
    findings = class_findings(_numbers(sets["train"]), classes)
    for split in SPLITS[1:]:
        if split in sets:
            findings += missing_findings(_numbers(sets[split]), classes, split=split)
    return findings + duplicate_findings(sets)


def _reading_findings(bad: Sequence[BadFile], on_disk: bool, sizes: Finding | None) -> list[Finding]:
    findings = []
    if bad:
        verdict = f"{len(bad):,} files could not be read and were set aside: {list_bad_files(bad)}."
        findings.append(Finding("unreadable", verdict))
    if sizes is not None:
        findings.append(sizes)
    if on_disk:
        findings.append(
            remark(
                "The decoded pictures do not fit in memory: they are kept in a temporary file in "
                f"{tempfile.gettempdir()} (TMPDIR chooses another folder), which makes training slower."
            )
        )
    return findings
