"""What is odd about labelled series: gaps, lengths, copies; to be told, not refused.

Shapes: N series, T time, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from corecur.data.series.recordings import SeriesPart
from corecur.data.series.series_set import SeriesSet
from corecur.finding import Finding, remark

_MANY = 0.1


def gap_findings(parts: Mapping[str, SeriesPart]) -> list[Finding]:
    """Sentences on missing values and on lengths that differ.

    >>> part = SeriesPart([np.array([[1.0], [np.nan]]), np.array([[1.0]])], None, ["a", "b"])
    >>> gap_findings({"train": part})[0].verdict
    'The series differ in length: 1 to 2 steps; they are padded, and the padding is masked.'
    """
    lengths = {len(one) for part in parts.values() for one in part.series}
    findings = []
    if len(lengths) > 1:
        findings.append(
            remark(
                f"The series differ in length: {min(lengths):,} to {max(lengths):,} steps; they are padded, and the "
                "padding is masked."
            )
        )
    for split, part in parts.items():
        gaps = [(int(np.isnan(one).sum()), name) for one, name in zip(part.series, part.names, strict=True)]
        missing, worst = sum(gap for gap, _ in gaps), max(gaps, default=(0, ""))
        if missing:
            share = missing / sum(one.size for one in part.series)
            verdict = (
                f"{missing:,} values of {sum(gap > 0 for gap, _ in gaps):,} {split} series are missing ({share:.2g} of "
                f"all, most of them in {worst[1]}) and were filled by straight lines between the values around them."
            )
            findings.append(Finding("missing-values", verdict, level="note" if share <= _MANY else "warning"))
            if share > _MANY:
                verdict = f"More than a tenth of the {split} values is made up: results may not hold."
                findings.append(Finding("missing-values", verdict))
    return findings


def copy_findings(sets: Mapping[str, SeriesSet]) -> list[Finding]:
    """Sentences on series that are equal value for value, within a split and across splits.

    >>> import torch
    >>> twice = SeriesSet(torch.zeros(2, 4, 1), None, torch.tensor([0, 1]), ("a", "b"))
    >>> print(*copy_findings({"train": twice}))
    1 train series is an exact copy of another (b of a).
    """
    findings: list[Finding] = []
    seen: dict[bytes, tuple[str, str]] = {}
    for split, series in sets.items():
        copies: dict[str, list[str]] = {}
        for name, digest in zip(series.names, series.contents(), strict=True):
            earlier = seen.setdefault(digest, (split, name))
            if earlier != (split, name):
                copies.setdefault(earlier[0], []).append(f"{name} of {earlier[1]}")
        for other, pairs in copies.items():
            verb = "is an exact copy" if len(pairs) == 1 else "are exact copies"
            of_what = "of another" if other == split else f"of one in the {other} split"
            example = pairs[0] if len(pairs) == 1 else f"the first: {pairs[0]}"
            kind = "copies" if other == split else "leak"
            findings.append(Finding(kind, f"{len(pairs):,} {split} series {verb} {of_what} ({example})."))
    return findings
