"""Many picture files at once: decoded in parallel, once, into one uint8 tensor; bad files are collected.

Shapes: N files, H height, W width, C channels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from corecur.cores import usable_cores
from corecur.data.memory import allocate, gather
from corecur.data.pictures import Header, quiet_pillow, read_header, read_picture
from corecur.errors import DataError

Result = TypeVar("Result")
Progress = Callable[[int, int], None]
BadFile = tuple[Path, str]

CHUNK, AHEAD = 16, 4
SHOWN = 10


def read_headers(paths: Sequence[Path], *, step: Callable[[int], None] | None = None) -> list[Header | DataError]:
    """The header of each file, or the error in its place.

    >>> read_headers([Path("missing.png")])[0].what
    'no such file'
    """
    found: list[Header | DataError] = [DataError("not read")] * len(paths)

    def read(row: int) -> None:
        try:
            found[row] = read_header(paths[row])
        except DataError as error:
            found[row] = error

    each(len(paths), read, step)
    return found


def decode_files(
    paths: Sequence[Path],
    *,
    height: int,
    width: int,
    channels: int,
    on_disk: bool,
    step: Callable[[int], None] | None = None,
) -> tuple[Tensor, list[int], list[BadFile]]:
    """Decode files into one tensor: (pictures (N, H, W, C) uint8, rows of the files read, files that cannot be).

    ``step(n)`` is told of every n files done.

    >>> pictures, kept, bad = decode_files([Path("missing.png")], height=2, width=2, channels=3, on_disk=False)
    >>> pictures.shape, kept, bad
    (torch.Size([0, 2, 2, 3]), [], [(PosixPath('missing.png'), 'no such file')])
    """
    pictures = allocate((len(paths), height, width, channels), on_disk=on_disk)  # (N, H, W, C)
    pixels = pictures.numpy()
    reasons: dict[int, str] = {}

    def decode(row: int) -> None:
        try:
            pixels[row] = read_picture(paths[row], height=height, width=width, channels=channels)
        except DataError as error:
            reasons[row] = error.what

    each(len(paths), decode, step)
    kept = [row for row in range(len(paths)) if row not in reasons]
    if reasons:
        pictures = gather(pictures, torch.tensor(kept, dtype=torch.int64))
    return pictures, kept, [(paths[row], reasons[row]) for row in sorted(reasons)]


def refuse_bad_files(bad: Sequence[BadFile], *, total: int, where: object) -> None:
    """Raise one DataError that names the first ten bad files and counts the rest; nothing where there are none.

    >>> refuse_bad_files([], total=3, where="photos")
    """
    if bad:
        raise DataError(
            f"{len(bad):,} of {total:,} pictures cannot be read",
            where=where,
            got=list_bad_files(bad, separator="\n            "),
            do="repair or remove them, or set them aside with skip_bad=True (--skip-bad)",
        )


def list_bad_files(bad: Sequence[BadFile], *, separator: str = "; ") -> str:
    """The first ten bad files with the reason of each, and the number of the others.

    >>> list_bad_files([(Path("a.png"), "no such file")])
    'a.png: no such file'
    """
    lines = [f"{path}: {reason}" for path, reason in bad[:SHOWN]]
    if len(bad) > SHOWN:
        lines.append(f"… and {len(bad) - SHOWN:,} more")
    return separator.join(lines)


def count_steps(progress: Progress | None, total: int) -> Callable[[int], None] | None:
    """Turn ``progress(done, total)`` into a ``step(n)`` that adds up.

    >>> seen = []
    >>> step = count_steps(lambda done, total: seen.append((done, total)), 5)
    >>> step(2); step(3); seen
    [(2, 5), (5, 5)]
    """
    if progress is None:
        return None
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    return step


def each(count: int, work: Callable[[int], None], step: Callable[[int], None] | None) -> None:
    """Run ``work(row)`` for every row on all cores. Threads suffice: Pillow decodes without the interpreter's lock.

    >>> seen = set()
    >>> each(3, seen.add, None); sorted(seen)
    [0, 1, 2]
    """
    chunks = (range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK))

    def run(rows: range) -> int:
        for row in rows:
            work(row)
        return len(rows)

    cores = usable_cores()
    with quiet_pillow(), ThreadPoolExecutor(cores) as pool:
        # A few wait for each core: all at once, those that wait would take memory for every sample.
        futures = deque(pool.submit(run, rows) for rows in islice(chunks, AHEAD * cores))
        try:
            while futures:
                finished = futures.popleft().result()
                futures.extend(pool.submit(run, rows) for rows in islice(chunks, 1))
                if step is not None:
                    step(finished)
        finally:
            # After an interruption nothing that waits is begun.
            for future in futures:
                future.cancel()
