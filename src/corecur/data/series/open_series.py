"""From anything that holds labelled series to prepared ones: recognise the kind, gather, prepare, check.

Shapes: N series, T time, C channels.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corecur.data.check import class_findings, missing_findings, refuse_classes
from corecur.data.gathered import SPLITS, class_numbers
from corecur.data.numpy_files import read_npy
from corecur.data.series.csv_class_folders import gather_csv_classes, is_csv_classes, read_recording
from corecur.data.series.label_first import is_label_first
from corecur.data.series.panels import gather_panel
from corecur.data.series.problem_files import gather_problem_file, gather_problem_folder, is_problem_folder
from corecur.data.series.recordings import (
    BadSeries,
    GatheredSeries,
    SeriesPart,
    list_bad_series,
    refuse_bad_series,
    series_classes,
)
from corecur.data.series.series_arrays import gather_series_npy, gather_series_npz, series_part, with_channels_of
from corecur.data.series.series_check import copy_findings, gap_findings
from corecur.data.series.series_preparation import SeriesPreparation, count, fit_preparation, objection
from corecur.data.series.series_samples import SERIES_SAMPLES
from corecur.data.series.series_set import SeriesSet, SeriesSource
from corecur.data.series.signal_folders import gather_signals, is_signal_folder
from corecur.errors import ConfigError, DataError, nearest
from corecur.finding import Finding, remark


@dataclass(frozen=True)
class SeriesKind:
    """A kind of source on disk: how it is told from the others, what looks through it, and an example."""

    name: str
    recognises: Callable[[Path], bool]
    gather: Callable[[Path], GatheredSeries]
    example: str


def _has_suffix(*suffixes: str) -> Callable[[Path], bool]:
    return lambda path: path.is_file() and path.suffix.casefold() in suffixes


def _is_label_first_file(path: Path) -> bool:
    return path.is_file() and path.suffix.casefold() in (".tsv", ".txt", ".csv") and is_label_first(path)


# The first row that recognises a path reads it.
SERIES_KINDS = (
    SeriesKind("signals", is_signal_folder, gather_signals, "UCI HAR Dataset/"),
    SeriesKind("problem", is_problem_folder, gather_problem_folder, "GunPoint/ with GunPoint_TRAIN.ts"),
    SeriesKind("series-folder", is_csv_classes, gather_csv_classes, "motions/walk/1.csv"),
    SeriesKind("ts", _has_suffix(".ts", ".arff"), gather_problem_file, "GunPoint_TRAIN.ts"),
    SeriesKind("tsv", _is_label_first_file, gather_problem_file, "GunPoint_TRAIN.tsv"),
    SeriesKind("npz", _has_suffix(".npz"), gather_series_npz, "series.npz"),
    SeriesKind("npy", _has_suffix(".npy"), gather_series_npy, "x.npy beside y.npy"),
    SeriesKind("panel", _has_suffix(".csv", ".tsv"), gather_panel, "panel.csv with id, time and label columns"),
)


def load_series(
    source: Any,
    labels: Any = None,
    *,
    skip_bad: bool = False,
    validation: Any = None,
    test: Any = None,
) -> SeriesSource:
    """Read labelled series from a path, a sample name or arrays.

    ``source`` is a ``.ts``, ``.arff`` or UCR ``.tsv`` file, a folder with NAME_TRAIN and NAME_TEST, a folder of class
    folders of CSV files, a folder of signals as UCI's recordings of human activity, an ``.npz`` or ``.npy`` file, a
    panel in one CSV file; the sample ``waves``; an array (N, T) or (N, T, C) or a list of arrays (T, C) with ``labels``
    (N,); a pair (series, labels) or ((train series, train labels), (test series, test labels)). ``validation`` and
    ``test`` are sources of their own. A missing value becomes the line between the real ones around it, at the ends
    the nearest one, and is counted. A split the source does not have stays None.

    Raises DataError for everything that cannot be learned from; bad series (infinite values, nothing but gaps, other
    channels) are named all at once, or, with ``skip_bad``, set aside with a finding.

    >>> source = load_series("waves")
    >>> source.train.values.shape, source.classes
    (torch.Size([300, 128, 1]), ('cylinder', 'bell', 'funnel'))
    """
    origin, gathered = gather_labelled_series(source, labels)
    for split, extra in (("validation", validation), ("test", test)):
        if extra is not None:
            gathered = _with_split(gathered, split, *gather_labelled_series(extra))
    if gathered.parts["train"].labels is None and not gathered.bad:
        raise DataError(
            "the series have no labels: nothing says what they are",
            where=origin,
            expected="a label for each series (in a CSV panel, a column named label)",
        )
    channels = _channels(gathered, origin)
    parts, bad = _usable(gathered, len(channels))
    if not skip_bad or not len(parts["train"]):
        refuse_bad_series(bad, total=sum(map(len, parts.values())) + len(bad), where=origin)
    parts = {split: part for split, part in parts.items() if split == "train" or len(part)}
    gathered = replace(gathered, parts=parts)
    classes = series_classes(gathered)
    preparation = fit_preparation(parts["train"].series, channels)
    sets = {split: _prepared(part, preparation, classes, f"{origin}, {split}") for split, part in parts.items()}
    _refuse_classes(sets, classes, origin)
    return SeriesSource(
        origin=origin,
        kind=gathered.kind,
        classes=classes,
        train=sets["train"],
        validation=sets.get("validation"),
        test=sets.get("test"),
        preparation=preparation,
        findings=(*gathered.findings, *_findings(bad, parts, sets, classes)),
    )


def load_series_split(
    source: Any,
    labels: Any = None,
    *,
    classes: Sequence[str],
    preparation: SeriesPreparation,
    split: str = "test",
    skip_bad: bool = False,
    labelled: bool = True,
) -> tuple[SeriesSet, tuple[Finding, ...]]:
    """Read one split for a model that exists: its classes, its channels. Returns the series and the findings.

    The source's own ``split`` is taken where it has several, else all of it. Series without labels get none, and with
    ``labelled=False`` none do. Raises DataError like `load_series`, and for a label the model does not know.

    >>> known = load_series("waves")
    >>> series, _ = load_series_split("waves", classes=known.classes, preparation=known.preparation)
    >>> torch.equal(series.values, known.train.values)
    True
    """
    origin, gathered = gather_labelled_series(source, labels, preparation)
    part = only_part(gathered, split, origin)
    gathered = replace(gathered, parts={split: part if labelled else replace(part, labels=None)})
    parts, bad = _usable(gathered, len(preparation.channels))
    if not skip_bad or not len(parts[split]):
        refuse_bad_series(bad, total=len(parts[split]) + len(bad), where=origin)
    series = _prepared(parts[split], preparation, classes, origin)
    findings = [*gathered.findings, *_bad_findings(bad), *gap_findings(parts)]
    if series.labels is not None:
        findings += missing_findings(series.labels.numpy(), classes, split=split, noun="sample")
    return series, tuple(findings)


def only_part(gathered: GatheredSeries, split: str, origin: str) -> SeriesPart:
    """The part of a source that stands for one split: its own, or, where it has no splits, all of it.

    >>> part = SeriesPart([], None, [])
    >>> only_part(GatheredSeries("arrays", {"train": part}), "test", "arrays") == part
    True
    """
    if split in gathered.parts:
        return gathered.parts[split]
    if list(gathered.parts) == ["train"]:
        part = gathered.parts["train"]
        return replace(part, names=[name.replace("train[", f"{split}[") for name in part.names])
    raise DataError(f"the source has several splits, and none is {split}", where=origin, got=", ".join(gathered.parts))


def gather_labelled_series(
    source: Any, labels: Any = None, preparation: SeriesPreparation | None = None
) -> tuple[str, GatheredSeries]:
    """Name of the source, and what it holds, gaps and all; raises DataError like `load_series`.

    >>> gather_labelled_series("waves")[1].kind
    'sample'
    """
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source), _gather_path(source, labels, preparation)
    if labels is None and isinstance(source, tuple) and len(source) == 2:
        if all(isinstance(pair, tuple) and len(pair) == 2 for pair in source):
            splits = zip(("train", "test"), source, strict=True)
            parts = {name: series_part(*pair, split=name, where="arrays") for name, pair in splits}
            return "arrays", with_channels_of("arrays", parts)
        source, labels = source
    part = series_part(source, labels, split="train", where="arrays")
    return "arrays", with_channels_of("arrays", {"train": part})


def _gather_path(source: str | os.PathLike[str], labels: Any, preparation: SeriesPreparation | None) -> GatheredSeries:
    if isinstance(source, str) and source in SERIES_SAMPLES:
        sample = SERIES_SAMPLES[source]
        made = sample.make() if sample.task == "classification" else None
        if not isinstance(made, GatheredSeries):
            raise DataError("this sample is one long series, to forecast and not to classify", got=source)
        return made
    path = Path(source).expanduser()
    _refuse_no_path(path)
    if labels is not None and path.suffix.casefold() != ".npy":
        raise ConfigError("labels go with arrays and .npy files; this source has its own", got=source)
    if labels is not None:
        words = read_npy(Path(labels)) if isinstance(labels, (str, os.PathLike)) else labels
        part = series_part(read_npy(path), words, split="train", where=str(path))
        return with_channels_of("npy", {"train": part})
    kind = next((kind for kind in SERIES_KINDS if kind.recognises(path)), None)
    if preparation is not None and (kind is None or kind.name in ("panel", "tsv")):
        recording = _one_recording(path, preparation)
        if recording is not None:
            return recording
    if kind is None:
        known = ", ".join(f"{kind.name} ({kind.example})" for kind in SERIES_KINDS)
        raise DataError("no series were found here", where=path, expected=known)
    return kind.gather(path)


def _one_recording(path: Path, preparation: SeriesPreparation) -> GatheredSeries | None:
    """A CSV file that is one series of a model's channels, or a folder of such files; None where it is neither."""
    files = [path] if path.is_file() else sorted(path.glob("*.csv"))
    found, names = [], []
    for file in files:
        try:
            series, channels, _ = read_recording(file, preparation.channels)
        except DataError:
            return None
        if len(channels) != len(preparation.channels):
            return None
        found.append(series)
        names.append(file.name)
    if not found:
        return None
    return GatheredSeries("recording", {"train": SeriesPart(found, None, names)}, preparation.channels)


def _refuse_no_path(path: Path) -> None:
    try:
        if path.exists():
            return
        beside = os.listdir(path.parent) if path.parent.is_dir() else []
    except (OSError, ValueError) as error:
        raise DataError(f"the path cannot be read: {error}", where=path) from error
    guess = nearest(path.name, beside)
    advice = f"did you mean {path.with_name(guess)}?" if guess else "sample sets are " + ", ".join(SERIES_SAMPLES)
    raise DataError("no such file or folder", where=path, do=advice)


def _with_split(gathered: GatheredSeries, split: str, origin: str, extra: GatheredSeries) -> GatheredSeries:
    replaced = gathered.parts.get(split)
    notes = (
        [remark(f"The source's own {split} split ({len(replaced):,} series) gave way to {origin}.")] if replaced else []
    )
    return replace(
        gathered.with_part(split, only_part(extra, split, origin)),
        findings=(*gathered.findings, *extra.findings, *notes),
        bad=(*gathered.bad, *extra.bad),
    )


def _channels(gathered: GatheredSeries, origin: str) -> tuple[str, ...]:
    """The names of the channels: as many as most training series have; raises DataError where another split differs."""
    width_of = {
        split: Counter(one.shape[1] for one in part.series).most_common(1)[0][0]
        for split, part in gathered.parts.items()
        if len(part)
    }
    if "train" not in width_of:
        refuse_bad_series(gathered.bad, total=len(gathered.bad), where=origin)
        raise DataError("there are no series to train on", where=origin)
    for split, width in width_of.items():
        if width != width_of["train"]:
            raise DataError(
                f"training and {split} series have different channels",
                where=origin,
                got=f"train {count(width_of['train'], 'channel')}, {split} {count(width, 'channel')}",
                expected="the same channels, in the same order",
            )
    if gathered.channels is not None and len(gathered.channels) == width_of["train"]:
        return gathered.channels
    return tuple(f"channel {number + 1}" for number in range(width_of["train"]))


def _usable(gathered: GatheredSeries, width: int) -> tuple[dict[str, SeriesPart], list[BadSeries]]:
    """Every split without the series that cannot be used, and these."""
    bad, parts = list(gathered.bad), {}
    for split, part in gathered.parts.items():
        kept = []
        for row, one in enumerate(part.series):
            wrong = f"{count(one.shape[1], 'channel')}, not {width}" if one.shape[1] != width else objection(one)
            if wrong is None:
                kept.append(row)
            else:
                bad.append((part.names[row], wrong))
        labels = None if part.labels is None else part.labels[kept]
        parts[split] = SeriesPart([part.series[row] for row in kept], labels, [part.names[row] for row in kept])
    return parts, bad


def _prepared(part: SeriesPart, preparation: SeriesPreparation, classes: Sequence[str], where: str) -> SeriesSet:
    values, mask = preparation.padded(part.series)
    numbers = None if part.labels is None else torch.from_numpy(class_numbers(part.labels, classes, where=where))
    return SeriesSet(values, mask, numbers, tuple(part.names))


def _refuse_classes(sets: dict[str, SeriesSet], classes: Sequence[str], origin: str) -> None:
    """Two classes at least; where a test split must be taken from the training data, two series of each."""
    numbers = _numbers(sets["train"])
    if "test" not in sets or len(np.unique(numbers)) < 2:
        present = np.unique(numbers)
        refuse_classes(np.searchsorted(present, numbers), [classes[k] for k in present], where=origin, noun="sample")


def _numbers(series: SeriesSet) -> Any:
    return np.zeros(0, dtype=np.int64) if series.labels is None else series.labels.numpy()


def _bad_findings(bad: Sequence[BadSeries]) -> list[Finding]:
    if not bad:
        return []
    verdict = f"{len(bad):,} series could not be used and were set aside: {list_bad_series(bad)}."
    return [Finding("unusable", verdict)]


def _findings(
    bad: Sequence[BadSeries], parts: dict[str, SeriesPart], sets: dict[str, SeriesSet], classes: Sequence[str]
) -> list[Finding]:
    findings = [*_bad_findings(bad), *gap_findings(parts)]
    for split in SPLITS:
        if split in sets:
            numbers = _numbers(sets[split])
            findings += missing_findings(numbers, classes, split=split, noun="sample")
            if split == "train":
                findings += class_findings(numbers, classes, noun="sample")
    return findings + copy_findings(sets)
