"""What is wrong or odd about labelled series: values out of scale, dead and clipped ones, gaps, copies, leaks.

Shapes: N series, T time of one series, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from corecur.data.quality.label_counts import label_count_findings
from corecur.data.quality.near_copies import neighbours
from corecur.data.quality.odd_values import far_out
from corecur.data.quality.picture_check import telling
from corecur.data.quality.repeats import Listed, lines, repeat_findings, same_keys
from corecur.data.series.recordings import GatheredSeries, Recording
from corecur.data.series.series_preparation import objection
from corecur.finding import Finding, Level

_MANY = 0.005
_GAPS = 0.2  # share of a series that may be missing
_POINTS, _MOST_CHANNELS = (24, 64), 8
_STEPS, _SPIKE = 8, 5.0
_CLIPPED = 0.15  # share of the steps at the highest value, or at the lowest
_FULL = 0.02  # squared distance of near copies, point by point


def series_findings(gathered: GatheredSeries) -> tuple[list[Finding], int]:
    """Findings on labelled series as they stand in their source, and how many were looked at.

    >>> from corecur.data.series.open_series import gather_labelled_series
    >>> series_findings(gather_labelled_series("waves")[1])
    ([], 300)
    """
    bad = list(gathered.bad)
    series: list[Recording] = []
    names, splits, labels = [], [], []
    widths = [one.shape[1] for part in gathered.parts.values() for one in part.series]
    width = max(set(widths), key=widths.count) if widths else 0
    for split, part in gathered.parts.items():
        for row, one in enumerate(part.series):
            wrong = f"{one.shape[1]} channels, not {width}" if one.shape[1] != width else objection(one)
            if wrong is not None:
                bad.append((str(part.names[row]), wrong))
                continue
            series.append(one)
            names.append(str(part.names[row]))
            splits.append(split)
            labels.append("" if part.labels is None else str(part.labels[row]))
    findings = []
    if bad:
        verdict = f"{len(bad):,} series cannot be used."
        evidence = lines(f"{place}: {reason}" for place, reason in bad)
        findings.append(Finding("unusable", verdict, evidence, "mend or remove them, or use --skip-bad", "problem"))
    listed = Listed(names, splits, labels if any(labels) else None, "series", "series")
    if series:
        channels = gathered.channels or tuple(f"channel {number + 1}" for number in range(width))
        counters = [place for place in range(width) if _counts(series, place)]
        if counters:
            verdict = f"The channel {channels[counters[0]]!r} only counts the steps."
            findings.append(Finding("counter", verdict, (), "call it time, or leave it out", "note"))
            series = [np.delete(one, counters, axis=1) for one in series]
            channels = tuple(channel for place, channel in enumerate(channels) if place not in counters)
        findings += [*label_count_findings(listed), *_gaps(series, names)]
        findings += [*_measures(series, listed, channels), *_leaks(series, listed, channels), *_copies(series, listed)]
    return findings, len(series) + len(bad)


def _counts(series: Sequence[Recording], place: int) -> bool:
    """Whether a channel, not the only one, is 0, 1, 2, … or the like in nearly all series."""
    if series[0].shape[1] == 1:
        return False
    steps = [np.diff(one[:, place]) for one in series if len(one) > 2]
    return len(steps) > 0 and float(np.mean([len(set(step.tolist())) == 1 and step[0] == 1 for step in steps])) > 0.9


def _gaps(series: Sequence[Recording], names: Sequence[str]) -> list[Finding]:
    missing = [int(np.isnan(one).sum()) for one in series]
    holed = [row for row, count in enumerate(missing) if count]
    if not holed:
        return []
    grave = [row for row in holed if missing[row] > _GAPS * series[row].size]
    verdict = (
        f"{sum(missing):,} values of {len(holed):,} series are missing; they become lines between their neighbours."
    )
    rows = sorted(holed, key=lambda row: -missing[row] / series[row].size)
    evidence = lines(f"{names[row]}: {missing[row]:,} of {series[row].size:,}" for row in rows)
    level: Level = "warning" if grave or len(holed) < 0.5 * len(series) else "note"
    return [Finding("missing-values", verdict, evidence, "fill them from the source, or remove such series", level)]


def _measures(series: Sequence[Recording], listed: Listed, channels: Sequence[str]) -> list[Finding]:
    """Lengths, and by channel scale, dead series, clipping and spikes, each where it is far from that of the others."""
    findings, names = [], listed.names

    def tell(kind: str, found: Sequence[tuple[int, str]], words: str, remedy: str) -> None:
        if found:
            verdict = f"{len({row for row, _ in found}):,} series {words}"
            findings.append(Finding(kind, verdict, lines(f"{names[row]}: {what}" for row, what in found), remedy))

    lengths = np.array([len(one) for one in series], dtype=np.float64)
    odd = far_out(_in_class(np.log(lengths), listed), least=np.log(3.0))
    tell("odd-length", [(int(row), f"{lengths[row]:,.0f} steps") for row in odd],
         f"far longer or shorter than others of the kind (usual: {np.median(lengths):,.0f} steps).",
         "look at them")  # fmt: skip
    dead, scaled, clipped, spiky, constant = [], [], [], [], []
    for place, channel in enumerate(channels):
        of = f"{channel}, " if len(channels) > 1 else ""
        columns = [one[np.isfinite(one[:, place]), place] for one in series]
        flat = [row for row, values in enumerate(columns) if len(values) > 1 and np.ptp(values) == 0]
        if len(flat) == len(series):
            if len({float(columns[row][0]) for row in flat}) == 1:
                constant.append(f"{channel} is {columns[0][0]:g} everywhere")
            continue
        if len(flat) <= max(2, 0.1 * len(series)):
            dead += [(row, f"{of}{columns[row][0]:g} at every step") for row in flat]
        sizes = np.array([np.abs(values).max() if len(values) >= _STEPS and row not in flat else np.nan
                          for row, values in enumerate(columns)])  # fmt: skip
        with np.errstate(divide="ignore"):
            far = far_out(_in_class(np.log(np.where(sizes > 0, sizes, np.nan)), listed), least=np.log(8.0))
        low, high = np.nanquantile(sizes, [0.1, 0.9]) if np.isfinite(sizes).any() else (0.0, 0.0)
        far = far[(sizes[far] > 1.5 * high) | (sizes[far] * 1.5 < low)]  # not only unlike its class
        scaled += [(int(row), f"{of}up to {sizes[row]:.4g}, usual {np.nanmedian(sizes):.4g}") for row in far]
        clipped += [(row, f"{of}{said}") for row, said in _clipped(columns, listed) if row not in flat]
        alone = [_spike(values) for values in columns]
        lonely = [row for row, one in enumerate(alone) if one is not None and row not in far]
        if len(lonely) <= max(2, 0.1 * len(series)):
            spiky += [(row, f"{of}step {alone[row]}") for row in lonely]
    if constant:
        verdict = f"{len(constant):,} of {len(channels):,} channels never change: they say nothing."
        findings.append(Finding("constant-column", verdict, lines(constant), "leave them out"))
    tell("constant", dead, "never change: dead sensors?", "look at them, and remove them")
    tell("scale", scaled, "of quite another scale than the others.", "are they in other units? bring them to one scale")
    tell("clipped", clipped, "stay at their highest or lowest value: clipped, or a sensor that was stuck.",
         "look at them, and remove them")  # fmt: skip
    tell("spike", spiky, "with a single step far off all others.", "look at these steps; leave the cell empty if wrong")
    return findings


def _clipped(columns: Sequence[NDArray[np.float64]], listed: Listed) -> list[tuple[int, str]]:
    """Series that are far more often than others at one end of their range; many are at rest at one, not at both.

    And longer than usual: coarse sensors, and slow ones, stay at any value for some steps, of which a short series
    has few.
    """
    found: dict[int, str] = {}
    usual = float(np.median([_stay(values) for values in columns]))
    for end, word in ((np.max, "highest"), (np.min, "lowest")):
        at = np.array([np.mean(values == end(values)) - 1 / len(values) if len(values) >= _STEPS and np.ptp(values)
                       else 0.0 for values in columns])  # fmt: skip
        odd = far_out(_in_class(at, listed), least=_CLIPPED, spreads=6.0)
        for row in odd[at[odd] > np.median(at)].tolist() if len(odd) <= max(5, 0.05 * len(columns)) else []:
            if round(at[row] * len(columns[row])) + 1 <= usual:
                continue
            found[row] = f"{at[row]:.0%} of the steps at its {word} value".replace("%", " %")
    return sorted(found.items())


def _stay(values: NDArray[np.float64]) -> int:
    """The most steps in a row with one value."""
    ends = np.flatnonzero(np.diff(values)) + 1
    return int(np.diff([0, *ends, len(values)]).max(initial=0))


def _in_class(measures: NDArray[np.float64], listed: Listed) -> NDArray[np.float64]:
    """Measures (N,) less the median of their class, where it has enough series to have one."""
    if listed.labels is None:
        return measures
    words, found = np.array(listed.labels), measures.copy()
    for label in set(listed.labels):
        own = words == label
        if np.isfinite(measures[own]).sum() >= _STEPS:
            found[own] -= np.nanmedian(measures[own])
        else:
            found[own] -= np.nanmedian(measures) if np.isfinite(measures).any() else 0.0
    return found


def _spike(values: NDArray[np.float64]) -> int | None:
    """The number of a single step far from the median, with all others near it; else None."""
    if len(values) < _STEPS:
        return None
    off = np.abs(values - np.median(values))
    second, first = np.partition(off, -2)[-2:]
    usual = max(float(np.quantile(off, 0.75)), 1e-12)
    return int(off.argmax()) + 1 if first > _SPIKE * second and first > 5 * usual and second > 0 else None


def _leaks(series: Sequence[Recording], listed: Listed, channels: Sequence[str]) -> list[Finding]:
    """Lengths, and channels that hardly change within a series, that give the class away."""
    if listed.labels is None:
        return []
    findings = []
    told = telling([str(len(one)) for one in series], listed.labels)
    if told is not None:
        verdict = f"The length of a series gives its class away in {told:.0%} of the cases.".replace("%", " %")
        findings.append(Finding("leak-feature", verdict, (), "cut all series to one length"))
    for place, channel in enumerate(channels):
        columns = [one[np.isfinite(one[:, place]), place] for one in series]
        means = np.array([column.mean() if len(column) else np.nan for column in columns])
        within = np.array([column.std() if len(column) else np.nan for column in columns])
        spread = float(np.nanstd(means)) if np.isfinite(means).any() else 0.0
        if not spread or not np.mean(within < 0.05 * spread) >= 0.95:
            continue
        right = _by_one_number(means, listed.labels)
        if right >= 0.98:
            verdict = f"The channel {channel!r} gives the class away: it hardly changes within a series, and its mean "
            verdict += f"alone tells the class in {right:.0%} of the cases.".replace("%", " %")
            findings.append(Finding("leak-column", verdict, (f"column {channel!r}",), "leave it out"))
    return findings


def _by_one_number(means: NDArray[np.float64], labels: Sequence[str]) -> float:
    """How often the class with the nearest mean is right."""
    classes = sorted(set(labels))
    if len(classes) < 2:
        return 0.0
    words = np.array(labels)
    centres = np.array([np.nanmedian(means[words == name]) for name in classes])
    nearest = np.abs(means[:, None] - centres).argmin(1)
    return float(np.mean(np.array(classes)[nearest] == words))


def _copies(series: Sequence[Recording], listed: Listed) -> list[Finding]:
    flat = [not np.ptp(_filled(one), axis=0).any() for one in series]
    keys = [None if empty else (one.shape, one.tobytes()) for empty, one in zip(flat, series, strict=True)]
    equal = same_keys(keys)
    again = {later for _, later in equal}
    first = [row for row in range(len(series)) if row not in again]
    usual = int(np.median([len(one) for one in series]))
    points = max(min(usual // 4, _POINTS[1]), min(usual, _POINTS[0]))  # few means are alike by chance
    looks = np.stack([_described(series[row], points) for row in first])
    looks[[np.isnan(series[row]).mean() > _GAPS for row in first]] = 0  # lines through gaps are like other lines
    found = neighbours(looks)
    near = [
        (first[a], first[b]) for a, b in found.copies() if _full_distance(series[first[a]], series[first[b]]) < _FULL
    ]
    return [
        *repeat_findings(listed, equal, near=False, many=_MANY),
        *repeat_findings(listed, near, near=True, many=_MANY),
    ]


def _described(one: Recording, points: int) -> NDArray[np.float32]:
    """Means of so many parts of the first channels, without their own means, of norm 1; zeros where nothing changes.

    Means, not samples: noise laid over a copy is averaged out, what tells series apart is mostly not.
    """
    sums = np.concatenate(
        [np.zeros((1, min(one.shape[1], _MOST_CHANNELS))), np.cumsum(_filled(one)[:, :_MOST_CHANNELS], 0)]
    )
    at = np.linspace(0, len(one), points + 1)
    look = np.diff(np.stack([np.interp(at, np.arange(len(one) + 1), column) for column in sums.T]), axis=1)
    look = look - look.mean(1, keepdims=True)
    norm = float(np.linalg.norm(look))
    shown: NDArray[np.float32] = (look / norm if norm > 1e-12 else look * 0).ravel().astype(np.float32)
    return shown


def _filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    filled = values.copy()
    for column in filled.T:
        there = np.isfinite(column)
        column[~there] = np.interp(np.flatnonzero(~there), np.flatnonzero(there), column[there]) if there.any() else 0.0
    return filled


def _full_distance(a: Recording, b: Recording) -> float:
    """One minus the correlation, step by step; of two lengths the shorter is moved or stretched."""
    a, b = sorted((_filled(a), _filled(b)), key=len)
    at = np.linspace(0, len(a) - 1, len(b))
    stretched = np.stack([np.interp(at, np.arange(len(a)), column) for column in a.T], 1)
    ways = [(stretched, b), (a, b[: len(a)]), (a, b[len(b) - len(a) :])]
    return min(map(_distance, *zip(*(ways if len(a) > 0.8 * len(b) else ways[:1]), strict=True)))


def _distance(a: Recording, b: Recording) -> float:
    a, b = a - a.mean(0), b - b.mean(0)
    return float(1 - (a * b).sum() / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))
