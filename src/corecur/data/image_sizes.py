"""One common size for pictures of many sizes.

Shapes: H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from corecur.errors import ConfigError
from corecur.finding import Finding, remark

# A small network on two cores learns from 96 pixels in minutes; detail beyond that costs more than it brings.
LONGEST = 96
KEPT = 128
MULTIPLE = 8

Size = tuple[int, int]


def choose_size(sizes: Sequence[Size]) -> Size:
    """The (height, width) to which pictures of these sizes are brought.

    One size for all, with sides up to 128, is kept. Otherwise: the median height and the median width, shrunk together
    until the longer is 96 at most, each rounded to the nearest multiple of 8 (at least 8).

    >>> choose_size([(100, 100), (100, 100)]), choose_size([(480, 640)]), choose_size([(30, 40), (20, 40)])
    ((100, 100), (72, 96), (24, 40))
    """
    if len(set(sizes)) == 1 and max(sizes[0]) <= KEPT:
        return sizes[0]
    height, width = median(h for h, _ in sizes), median(w for _, w in sizes)
    scale = min(1.0, LONGEST / max(height, width))
    return _rounded(height * scale), _rounded(width * scale)


def size_finding(sizes: Sequence[Size], size: Size) -> Finding | None:
    """What is said of pictures that do not all have the size they are trained at, or None.

    >>> print(size_finding([(30, 40), (300, 400)], (96, 96)))
    The pictures have 2 sizes, from 30×40 to 300×400 (height × width); each is scaled and cut to 96×96.
    """
    different = sorted(set(sizes), key=lambda pair: (pair[0] * pair[1], pair))
    if different == [size]:
        return None
    target = f"{size[0]}×{size[1]}"
    least, most = (f"{h}×{w}" for h, w in (different[0], different[-1]))
    if len(different) == 1:
        return remark(f"The pictures are {least} (height × width); each is scaled and cut to {target}.", kind="sizes")
    return remark(
        f"The pictures have {len(different):,} sizes, from {least} to {most} (height × width); "
        f"each is scaled and cut to {target}.",
        kind="sizes",
    )


def asked_size(size: int | Size) -> Size:
    """``size`` as (height, width); one number stands for a square. Raises ConfigError.

    >>> asked_size(64)
    (64, 64)
    """
    pair = (size, size) if isinstance(size, int) else size
    if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(n, int) and n >= 1 for n in pair):
        raise ConfigError("size is a number of pixels or (height, width)", got=repr(size), expected="64 or (48, 64)")
    return pair


def _rounded(side: float) -> int:
    return max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE)
