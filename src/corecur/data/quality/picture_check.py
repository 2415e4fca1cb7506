"""What is wrong or odd about labelled pictures, each looked at once and forgotten.

Shapes: N pictures, S side of the squares that are compared.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from corecur.data.decoding import Progress, count_steps, each
from corecur.data.gathered import Part
from corecur.data.pictures import SUFFIXES, upright
from corecur.data.quality.near_copies import DOUBTFUL, neighbours
from corecur.data.quality.odd_values import far_out
from corecur.data.quality.picture_marks import ALIGNED, Marks, marks_of, misfit, square
from corecur.data.quality.repeats import Listed, lines, repeat_findings, same_keys
from corecur.errors import DataError
from corecur.finding import Finding

if TYPE_CHECKING:
    from PIL import Image

_LEAST = 64  # pixels a side that a JPEG file is decoded to at least
_FORMS = {"JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "PNG": (".png",), "BMP": (".bmp",), "GIF": (".gif",),
          "WEBP": (".webp",)}  # fmt: skip
_MAGIC = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"RIFF")
_FLAT = 1.5  # standard deviation of brightness, of 255
_MANY, _TELLS = 0.005, 0.95
# A pair that was cut or moved: what stays unexplained, in itself and by the usual distance; pairs looked at at most.
_MISFIT, _MISFIT_SHARE, _MOST_PAIRS, _ALIGNED_FROM = 0.012, 0.05, 2_000, 32
_DISTANCE = 0.5
# After so many steps most pairs that will not fit are known.
_GLANCE, _HOPE = 5, 0.035


@dataclass
class _Looked:
    """The pictures of all splits in one order, the marks of those that can be read, and why others cannot."""

    names: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    sources: list[Path | tuple[NDArray[np.generic], int]] = field(default_factory=list)
    marks: list[Marks] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)

    @property
    def listed(self) -> Listed:
        return Listed(self.names, self.splits, self.labels, "picture")


def picture_findings(
    parts: Mapping[str, Part], *, root: Path | None = None, progress: Progress | None = None
) -> tuple[list[Finding], int]:
    """Findings on the pictures of the splits, and how many were looked at.

    ``root`` is the folder in which pictures under other names are looked for. Under a kilobyte a picture is kept.

    >>> from corecur.data.open_images import gather_images
    >>> picture_findings(gather_images("digits")[1].parts)
    ([], 1797)
    """
    looked = _look(parts, count_steps(progress, sum(map(len, parts.values()))))
    findings = [*_unreadable(looked), *_misnamed(looked), *([] if root is None else _hidden(root))]
    if looked.marks:
        findings += [*_flat(looked), *_strange(looked), *_sizes(looked), *_telling(looked), *_copies(looked)]
    return findings, len(looked.marks) + len(looked.bad)


def _look(parts: Mapping[str, Part], step: Callable[[int], None] | None) -> _Looked:
    looked = _Looked()
    for split, part in parts.items():
        found: list[Marks | str] = ["not read"] * len(part)

        def look(row: int, part: Part = part, found: list[Marks | str] = found) -> None:
            try:
                found[row] = _marks_of_row(part, row)
            except DataError as error:
                found[row] = error.what

        each(len(part), look, step)
        for row, marks in enumerate(found):
            name = str(part.names[row])
            if isinstance(marks, str):
                looked.bad.append((name, marks))
                continue
            looked.names.append(name)
            looked.splits.append(split)
            looked.labels.append(str(part.labels[row]))
            pictures = part.pictures
            looked.sources.append((pictures, row) if isinstance(pictures, np.ndarray) else Path(pictures[row]))
            looked.marks.append(marks)
    return looked


def _marks_of_row(part: Part, row: int) -> Marks:
    if isinstance(part.pictures, np.ndarray):
        image = _image(part.pictures, row)
        return marks_of(image, form="", size=(image.height, image.width), grey=image.mode == "L")
    with upright(part.pictures[row], least=_LEAST) as (image, header, form):
        return marks_of(image, form=form, size=(header.height, header.width), grey=header.grey)


def _image(pictures: NDArray[np.generic], row: int) -> Image.Image:
    from PIL import Image

    pixels = np.asarray(pictures[row])
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all():
            raise DataError("it holds values that are no numbers")
        pixels = pixels * (255 if float(np.abs(pixels).max(initial=0)) <= 1 else 1)
    pixels = pixels.clip(0, 255).astype(np.uint8)
    pixels = pixels[..., :3] if pixels.shape[-1] in (3, 4) else pixels[..., 0]
    return Image.fromarray(np.ascontiguousarray(pixels))


def _unreadable(looked: _Looked) -> list[Finding]:
    if not looked.bad:
        return []
    count = len(looked.bad)
    verdict = f"{count:,} {'file' if count == 1 else 'files'} cannot be read as pictures."
    evidence = lines(f"{name}: {reason}" for name, reason in looked.bad)
    return [Finding("unreadable", verdict, evidence, "repair or remove them, or train with --skip-bad", "problem")]


def _misnamed(looked: _Looked) -> list[Finding]:
    wrong = [
        f"{name} is {marks.form}"
        for name, marks in zip(looked.names, looked.marks, strict=True)
        if marks.form and Path(name).suffix.casefold() not in _FORMS.get(marks.form, SUFFIXES)
    ]
    verdict = f"{len(wrong):,} files are pictures of another form than their names say; they are read all the same."
    return [Finding("misnamed", verdict, lines(wrong), "rename them", "note")] if wrong else []


def _hidden(root: Path) -> list[Finding]:
    """Pictures whose names do not say so, which a training leaves out."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(folder, name)
            if name.startswith(".") or path.suffix.casefold() in SUFFIXES or not path.is_file():
                continue
            with path.open("rb") as file:
                if file.read(8).startswith(_MAGIC):
                    found.append(path.relative_to(root).as_posix())
    verdict = f"{len(found):,} files are pictures by what is in them, but not by their names: they are left out."
    remedy = "give them the suffix of what they are"
    return [Finding("hidden-pictures", verdict, lines(sorted(found)), remedy)] if found else []


def _flat(looked: _Looked) -> list[Finding]:
    flat = [row for row, marks in enumerate(looked.marks) if marks.contrast < _FLAT and not marks.look.any()]
    if not flat:
        return []
    verdict = f"{looked.listed.many(len(flat))} {'shows' if len(flat) == 1 else 'show'} nothing: one colour all over."
    evidence = lines(f"{looked.names[row]}: brightness {looked.marks[row].brightness:.0f} of 255" for row in flat)
    return [Finding("constant", verdict, evidence, "look at them, and remove them")]


def _strange(looked: _Looked) -> list[Finding]:
    """Noise, negatives and other brightness than all others."""
    shown = [row for row, marks in enumerate(looked.marks) if marks.contrast >= _FLAT]
    marks = [looked.marks[row] for row in shown]
    findings = []

    def tell(kind: str, places: Sequence[int], words: str, measure: Callable[[Marks], str], remedy: str) -> None:
        if places:
            verdict = f"{looked.listed.many(len(places))} {words}"
            evidence = lines(f"{looked.names[shown[place]]}: {measure(marks[place])}" for place in places)
            findings.append(Finding(kind, verdict, evidence, remedy))

    rough = np.array([mark.roughness for mark in marks])
    noisy = [int(k) for k in far_out(rough, least=0.5) if rough[k] > 1.5]
    tell("noise", noisy, "with nothing in common between neighbouring pixels: noise.",
         lambda mark: f"roughness {mark.roughness:.2f}, noise has 2", "look at them, and remove them")  # fmt: skip
    corners = np.array([np.nan if k in noisy else mark.corners for k, mark in enumerate(marks)])
    turned = far_out(corners, least=120.0, spreads=12.0)
    if np.isfinite(corners).any() and float(np.mean(np.abs(corners - np.nanmedian(corners)) < 40)) > 0.9:
        tell("inverted", [int(k) for k in turned], "with another background than all others: negatives?",
             lambda mark: f"corners {mark.corners:.0f} of 255", "look at them; invert or remove them")  # fmt: skip
    else:
        turned = turned[:0]
    bright = np.array([np.nan if k in noisy else mark.brightness for k, mark in enumerate(marks)])
    odd = sorted(set(far_out(bright, least=80.0, spreads=6.0).tolist()) - set(turned.tolist()))
    tell("brightness", odd, "far darker or brighter than all others.",
         lambda mark: f"mean brightness {mark.brightness:.0f} of 255", "look at them")  # fmt: skip
    return findings


def _sizes(looked: _Looked) -> list[Finding]:
    height = np.array([mark.height for mark in looked.marks], dtype=np.float64)
    width = np.array([mark.width for mark in looked.marks], dtype=np.float64)
    odd = set(far_out(np.log(height * width), least=np.log(6.0)).tolist())
    odd |= set(far_out(np.log(height / width), least=np.log(2.5)).tolist())
    if not odd:
        return []
    usual = f"{np.median(height):.0f}×{np.median(width):.0f}"
    verdict = f"{looked.listed.many(len(odd))} {'has' if len(odd) == 1 else 'have'} a size or shape far from the usual "
    evidence = lines(f"{looked.names[row]}: {height[row]:.0f}×{width[row]:.0f}" for row in sorted(odd))
    remedy = "look at them: thumbnails and strips lose most of what they show when they are scaled"
    return [Finding("odd-size", f"{verdict}{usual} (height × width).", evidence, remedy)]


def _telling(looked: _Looked) -> list[Finding]:
    """Sizes or forms of files that give the class away."""
    features: dict[str, list[str]] = {
        "size": [f"{mark.height}×{mark.width}" for mark in looked.marks],
        "form of the file": [mark.form for mark in looked.marks],
        "lack of colour": ["grey" if mark.grey else "colour" for mark in looked.marks],
    }
    findings = []
    for feature, values in features.items():
        told = telling(values, looked.labels)
        if told is not None:
            verdict = f"The {feature} of a picture gives its class away in {told:.0%} of the cases: a network may "
            verdict += "learn that instead of what is shown."
            common = {label: Counter(v for v, w in zip(values, looked.labels, strict=True) if w == label).most_common(1)
                      for label in dict.fromkeys(looked.labels)}  # fmt: skip
            evidence = lines(f"{label}: {found[0][0]} ({found[0][1]:,})" for label, found in common.items())
            findings.append(Finding("leak-feature", verdict.replace("%", " %"), evidence,
                                    "save all pictures in one way"))  # fmt: skip
    return findings


def telling(values: Sequence[str], labels: Sequence[str]) -> float | None:
    """How often a value and a class come together, where the one gives the other away; else None.

    >>> telling(["a"] * 20 + ["b"] * 20, ["x"] * 20 + ["y"] * 20), telling(["a", "b"] * 20, ["x"] * 20 + ["y"] * 20)
    (1.0, None)
    """
    classes, kinds = Counter(labels), Counter(values)
    if len(classes) < 2 or len(kinds) < 2 or min(classes.values()) < 5 or len(kinds) > len(values) / 10:
        return None
    pairs = Counter(zip(values, labels, strict=True))
    together = max(min(count / kinds[value], count / classes[label]) for (value, label), count in pairs.items())
    return together if together >= _TELLS else None


def _copies(looked: _Looked) -> list[Finding]:
    flat = [not mark.look.any() for mark in looked.marks]
    keys = [None if empty else mark.digest for empty, mark in zip(flat, looked.marks, strict=True)]
    equal = same_keys(keys)
    again = {later for _, later in equal}
    first = [row for row in range(len(looked.marks)) if row not in again]
    found = neighbours(np.stack([looked.marks[row].look for row in first]).astype(np.float32), crowded=True)
    near = {(first[a], first[b]) for a, b in found.copies()}
    doubtful = [(first[a], first[b], float(min(found.usual[a], found.usual[b])))
                for a, b, d in found.pairs(DOUBTFUL) if d < _DISTANCE]  # fmt: skip
    apart = {(first[a], first[b]): d for a, b, d in found.pairs(DOUBTFUL)}
    doubtful.sort(key=lambda pair: apart[pair[:2]] / pair[2])
    near |= set(_moved(looked, [pair for pair in doubtful if pair[:2] not in near]))
    listed = looked.listed
    return [
        *repeat_findings(listed, equal, near=False, many=_MANY),
        *repeat_findings(listed, sorted(near), near=True, many=_MANY),
    ]


def _moved(looked: _Looked, pairs: Sequence[tuple[int, int, float]]) -> list[tuple[int, int]]:
    """The pairs of which one is a cut or moved copy of the other; small pictures are not looked at so."""
    large = [pair for pair in pairs
             if all(min(looked.marks[k].height, looked.marks[k].width) >= _ALIGNED_FROM for k in pair[:2])]  # fmt: skip
    found, most = [], min(_MOST_PAIRS, 100 + len(looked.marks) // 4)
    for start in range(0, min(len(large), most), 256):
        block = large[start : min(start + 256, most)]
        rows = sorted({row for a, b, _ in block for row in (a, b)})
        squares = dict(zip(rows, (_square_of(looked.sources[row]) for row in rows), strict=True))
        left, right = np.stack([squares[a] for a, _, _ in block]), np.stack([squares[b] for _, b, _ in block])
        hopeful = np.flatnonzero(misfit(left, right, steps=_GLANCE) < _HOPE)
        if not len(hopeful):
            continue
        left, right = left[hopeful], right[hopeful]
        lost = np.minimum(misfit(left, right), misfit(right, left))
        found += [(a, b) for (a, b, usual), e in zip((block[k] for k in hopeful), lost.tolist(), strict=True)
                  if e < min(_MISFIT, _MISFIT_SHARE * usual)]  # fmt: skip
    return found


def _square_of(source: Path | tuple[NDArray[np.generic], int]) -> NDArray[np.float32]:
    if isinstance(source, tuple):
        return square(_image(*source))
    with upright(source, least=2 * ALIGNED) as (image, _, _):
        return square(image)
