"""``python -m bench.check_speed [PICTURES] [SIDE]``: pictures a second of a check, and its memory as sets grow.

Each size is measured in a process of its own: a folder of noisy PNG pictures in ten classes, checked once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

_CODE = """
import resource, sys, time
from corecur.learners.data_check import check
check(sys.argv[2])  # what the first check loads is no part of it
before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
found = check(sys.argv[1])
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(found.samples, time.perf_counter() - began, (after - before) / 1024, len(found.findings))
"""


def draw(root: Path, count: int, side: int) -> Path:
    """A folder of ``count`` pictures in ten classes."""
    from PIL import Image

    random = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    for number in range(count):
        a, b, c, d = random.uniform(1, 9, 4)
        pixels = np.stack([np.sin(a * x + b * y + k) + np.cos(c * x * y * 4 + d * k) for k in range(3)], -1) * 60 + 128
        noisy = (pixels + random.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8)
        folder = root / str(number % 10)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy).save(folder / f"{number:06}.png")
    return root


def main(count: int = 20_000, side: int = 32) -> None:
    """Measure a quarter, a half and all of ``count`` pictures."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; PNG pictures of {side}×{side}")
    with tempfile.TemporaryDirectory() as room:
        small = draw(Path(room, "small"), 200, side)
        for part in (4, 2, 1):
            folder = draw(Path(room, str(part)), count // part, side)
            words = [sys.executable, "-c", _CODE, str(folder), str(small)]
            said = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
            samples, seconds, memory = int(said[0]), float(said[1]), float(said[2])
            rate = f"{samples / seconds:,.0f} pictures a second"
            print(f"{samples:>8,} pictures: {seconds:6.1f} s, {rate}, {memory:,.0f} MB more at the peak, "
                  f"{said[3]} findings")  # fmt: skip


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
