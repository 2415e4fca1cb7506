"""What is wrong or odd about labelled pictures, each looked at once and forgotten.

Shapes: N pictures, P pairs of them, S side of the squares that are compared.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from corecur.data.decoding import Progress, count_steps, each
from corecur.data.gathered import Part
from corecur.data.pictures import SUFFIXES, upright
from corecur.data.quality.near_copies import DOUBTFUL, Neighbours, neighbours
from corecur.data.quality.odd_values import far_out
from corecur.data.quality.picture_marks import ALIGNED, KEPT, LOOK, Marks, marks_of, misfit, square
from corecur.data.quality.repeats import Listed, lines, repeat_findings
from corecur.data.quality.row_file import ChosenRows, RowFile
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
# Roughness of noise is 2, of 8 × 8 pixels of it rarely below this; strokes and leaves stay below.
_ROUGH = 1.5
# A pair that was cut or moved: what stays unexplained, in itself and by the usual distance; pairs looked at at most.
_MISFIT, _MISFIT_SHARE, _MOST_PAIRS, _ALIGNED_FROM = 0.012, 0.05, 2_000, 32
_DISTANCE, _PAIRS = 0.5, 128
# After so many steps most pairs that will not fit are known.
_GLANCE, _HOPE = 5, 0.035


@dataclass
class _Looked:
    """The pictures of all splits that can be read, in one order, their marks, and why others cannot be."""

    parts: Mapping[str, Part]
    looks: RowFile
    marks: NDArray[np.void]  # (N,) of KEPT
    places: NDArray[np.int32]  # (N,) among all pictures, those that cannot be read too
    names: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)

    @property
    def listed(self) -> Listed:
        return Listed(self.names, self.splits, self.labels, "picture")

    def square_of(self, row: int) -> NDArray[np.float32]:
        """A picture once more, its brightness squeezed to (S, S)."""
        place = int(self.places[row])
        for part in self.parts.values():
            if place < len(part):
                break
            place -= len(part)
        if isinstance(part.pictures, np.ndarray):
            return square(_image(part.pictures, place))
        with upright(Path(part.pictures[place]), least=2 * ALIGNED) as (image, _, _):
            return square(image)


def picture_findings(
    parts: Mapping[str, Part], *, root: Path | None = None, progress: Progress | None = None
) -> tuple[list[Finding], int]:
    """Findings on the pictures of the splits, and how many were looked at.

    ``root`` is the folder in which pictures under other names are looked for. What pictures look like is kept in a
    temporary file.

    >>> from corecur.data.open_images import gather_images
    >>> picture_findings(gather_images("digits")[1].parts)
    ([], 1797)
    """
    total = sum(map(len, parts.values()))
    with RowFile(total, LOOK) as looks:
        looked = _look(parts, looks, count_steps(progress, total))
        findings = [*_unreadable(looked), *_misnamed(looked), *([] if root is None else _hidden(root))]
        if len(looked.marks):
            findings += [*_flat(looked), *_strange(looked), *_sizes(looked), *_telling(looked), *_copies(looked)]
    return findings, total


def _look(parts: Mapping[str, Part], looks: RowFile, step: Callable[[int], None] | None) -> _Looked:
    looked = _Looked(parts, looks, np.zeros(looks.count, KEPT), np.zeros(0, np.int32))
    readable, first = np.zeros(looks.count, bool), 0
    spelled: dict[str, str] = {}
    for split, part in parts.items():
        reasons: dict[int, str] = {}

        def look(row: int, part: Part = part, first: int = first, reasons: dict[int, str] = reasons) -> None:
            try:
                marks = _marks_of_row(part, row)
            except DataError as error:
                reasons[row] = error.what
            else:
                looked.marks[first + row] = marks.kept()
                looks.write(first + row, marks.look)
                readable[first + row] = True

        each(len(part), look, step)
        for row in range(len(part)):
            name = str(part.names[row])
            if not readable[first + row]:
                looked.bad.append((name, reasons.get(row, "not read")))
                continue
            label = str(part.labels[row])
            looked.names.append(name)
            looked.splits.append(split)
            looked.labels.append(spelled.setdefault(label, label))
        first += len(part)
    looked.marks, looked.places = looked.marks[readable], np.flatnonzero(readable).astype(np.int32)
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
        f"{name} is {form.decode()}"
        for name, form in zip(looked.names, looked.marks["form"], strict=True)
        if form and Path(name).suffix.casefold() not in _FORMS.get(form.decode(), SUFFIXES)
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
    flat = np.flatnonzero((looked.marks["contrast"] < _FLAT) & ~looked.marks["shows"])
    if not len(flat):
        return []
    verdict = f"{looked.listed.many(len(flat))} {'shows' if len(flat) == 1 else 'show'} nothing: one colour all over."
    evidence = lines(f"{looked.names[row]}: brightness {looked.marks['brightness'][row]:.0f} of 255" for row in flat)
    return [Finding("constant", verdict, evidence, "look at them, and remove them")]


def _strange(looked: _Looked) -> list[Finding]:
    """Noise, negatives and other brightness than all others."""
    shown = np.flatnonzero(looked.marks["contrast"] >= _FLAT)
    marks = looked.marks[shown]
    findings = []

    def tell(kind: str, places: Sequence[int], words: str, measure: Callable[[np.void], str], remedy: str) -> None:
        if places:
            verdict = f"{looked.listed.many(len(places))} {words}"
            evidence = lines(f"{looked.names[shown[place]]}: {measure(marks[place])}" for place in places)
            findings.append(Finding(kind, verdict, evidence, remedy))

    rough = marks["roughness"]
    noisy = far_out(rough, least=0.5, spreads=2.0, above=_ROUGH).tolist()  # leaves and stones may be rough, too
    tell("noise", noisy, "with nothing in common between neighbouring pixels: noise.",
         lambda mark: f"roughness {mark['roughness']:.2f}, noise has 2", "look at them, and remove them")  # fmt: skip
    corners, bright = marks["corners"].copy(), marks["brightness"].copy()
    corners[noisy] = bright[noisy] = np.nan
    turned = far_out(corners, least=120.0, spreads=12.0)
    if np.isfinite(corners).any() and float(np.mean(np.abs(corners - np.nanmedian(corners)) < 40)) > 0.9:
        tell("inverted", [int(k) for k in turned], "with another background than all others: negatives?",
             lambda mark: f"corners {mark['corners']:.0f} of 255", "look at them; invert or remove them")  # fmt: skip
    else:
        turned = turned[:0]
    odd = sorted(set(far_out(bright, least=80.0, spreads=6.0).tolist()) - set(turned.tolist()))
    tell("brightness", odd, "far darker or brighter than all others.",
         lambda mark: f"mean brightness {mark['brightness']:.0f} of 255", "look at them")  # fmt: skip
    return findings


def _sizes(looked: _Looked) -> list[Finding]:
    height, width = (looked.marks[side].astype(np.float64) for side in ("height", "width"))
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
    marks = looked.marks
    forms = {form: form.decode() for form in set(marks["form"].tolist())}
    sizes = {(h, w): f"{h}×{w}" for h, w in set(marks[["height", "width"]].tolist())}
    features: dict[str, list[str]] = {
        "size": [sizes[size] for size in marks[["height", "width"]].tolist()],
        "form of the file": [forms[form] for form in marks["form"].tolist()],
        "lack of colour": ["grey" if grey else "colour" for grey in marks["grey"]],
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
    equal = _equal(looked.marks)
    first = np.ones(len(looked.marks), bool)
    first[[later for _, later in equal]] = False
    own = np.flatnonzero(first)
    found = neighbours(ChosenRows(looked.looks, looked.places[own]), crowded=True)
    near = {(int(own[a]), int(own[b])) for a, b in found.copies()}
    near |= set(_moved(looked, *_doubtful(looked, found, own, near)))
    listed = looked.listed
    return [
        *repeat_findings(listed, equal, near=False, many=_MANY),
        *repeat_findings(listed, sorted(near), near=True, many=_MANY),
    ]


def _equal(marks: NDArray[np.void]) -> list[tuple[int, int]]:
    """Pairs (first, later) of pictures with the same pixels, on which anything can be seen."""
    shown = np.flatnonzero(marks["shows"])
    digests = marks["digest"][shown]
    order = np.argsort(digests, kind="stable")
    begins = np.ones(len(order), bool)
    begins[1:] = digests[order[1:]] != digests[order[:-1]]
    heads = order[np.flatnonzero(begins)[np.cumsum(begins) - 1]] if len(order) else order
    again = np.flatnonzero(~begins)
    pairs = shown[np.stack([heads[again], order[again]], 1)]
    return sorted(map(tuple, pairs.tolist()), key=lambda pair: pair[1])


def _doubtful(
    looked: _Looked, found: Neighbours, own: NDArray[np.int64], near: Container[tuple[int, int]]
) -> tuple[list[tuple[int, int]], list[float]]:
    """Pairs that may be cut or moved copies, the nearest first, with the usual distance; small pictures are left out.

    No more than are looked at, whatever the number of pictures.
    """
    pairs, distances = found.pairs(DOUBTFUL)
    side = np.minimum(looked.marks["height"], looked.marks["width"])[own]
    kept = np.flatnonzero((distances < _DISTANCE) & (side[pairs].min(1) >= _ALIGNED_FROM))
    usual = found.usual[pairs[kept]].min(1)
    order = np.argsort(distances[kept] / usual, kind="stable")
    most = min(_MOST_PAIRS, 100 + len(looked.marks) // 4)
    doubtful: list[tuple[int, int]] = []
    bounds: list[float] = []
    for place in order.tolist():
        a, b = own[pairs[kept[place]]].tolist()
        if len(doubtful) == most:
            break
        if (a, b) not in near:
            doubtful.append((a, b))
            bounds.append(float(usual[place]))
    return doubtful, bounds


def _moved(looked: _Looked, pairs: Sequence[tuple[int, int]], usual: Sequence[float]) -> list[tuple[int, int]]:
    """The pairs of which one is a cut or moved copy of the other."""
    found = []
    for start in range(0, len(pairs), _PAIRS):
        block = pairs[start : start + _PAIRS]
        squares = {row: looked.square_of(row) for row in sorted({row for pair in block for row in pair})}
        left, right = np.stack([squares[a] for a, _ in block]), np.stack([squares[b] for _, b in block])
        hopeful = np.flatnonzero(misfit(left, right, steps=_GLANCE) < _HOPE)
        if not len(hopeful):
            continue
        left, right = left[hopeful], right[hopeful]
        lost = np.minimum(misfit(left, right), misfit(right, left))
        found += [block[k] for k, e in zip(hopeful.tolist(), lost.tolist(), strict=True)
                  if e < min(_MISFIT, _MISFIT_SHARE * usual[start + k])]  # fmt: skip
    return found
