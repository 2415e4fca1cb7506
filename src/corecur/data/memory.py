"""Where a large set of pictures is kept: in memory, or in a temporary file mapped into it.

Shapes: N samples.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from corecur.errors import DataError

# Splitting a set and the network's own activations need memory too.
SHARE = 0.4
UNKNOWN = 4 * 2**30
CHUNK_BYTES = 64 * 2**20

# Linux control groups, versions 2 and 1: folder, limit, use, and the share of the use that is only cached files.
CONTROL_GROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_memory() -> int:
    """Bytes that can be filled without swapping: the least of what the system and its control group leave.

    >>> available_memory() > 0
    True
    """
    return max(1, min([_system_memory(), *_control_group_memory()]))


def fits_in_memory(size: int) -> bool:
    """Whether ``size`` bytes of pictures may stay in memory while a network trains on them.

    >>> fits_in_memory(1), fits_in_memory(2**60)
    (True, False)
    """
    return size <= SHARE * available_memory()


def refuse_larger_than_memory(size: int, *, where: object) -> None:
    """Stop before something is read whole that cannot fit; raises DataError.

    >>> refuse_larger_than_memory(1000, where="a.npz")
    """
    room = available_memory()
    if size > 0.8 * room:
        raise DataError(
            "the array is larger than the free memory",
            where=where,
            got=f"{size / 2**30:,.1f} GiB by its header",
            expected=f"at most {0.8 * room / 2**30:,.1f} GiB",
            do="store it as uint8 in an .npy file, which is read piece by piece, or as a folder of pictures",
        )


def allocate(shape: tuple[int, ...], *, on_disk: bool) -> Tensor:
    """An unfilled uint8 tensor of ``shape``, in memory or mapped to a temporary file that vanishes with it.

    Raises DataError where the temporary folder has no room.

    >>> allocate((2, 3), on_disk=True).shape
    torch.Size([2, 3])
    """
    if not on_disk or math.prod(shape) == 0:
        return torch.empty(shape, dtype=torch.uint8)
    with tempfile.TemporaryFile(prefix="corecur-") as file:
        _reserve(file, math.prod(shape))
        return torch.from_numpy(np.memmap(file, dtype=np.uint8, mode="r+", shape=shape))


def gather(images: Tensor, index: Tensor) -> Tensor:
    """``images[index]``, written to a temporary file where the result does not fit in memory.

    >>> gather(torch.tensor([[1], [2], [3]], dtype=torch.uint8), torch.tensor([2, 0])).tolist()
    [[3], [1]]
    """
    row = images[0].numel() if len(images) else 0
    if fits_in_memory(len(index) * row):
        return images[index]
    taken = allocate((len(index), *images.shape[1:]), on_disk=True)
    step = max(1, CHUNK_BYTES // row)
    for start in range(0, len(index), step):
        taken[start : start + step] = images[index[start : start + step]]
    return taken


def _system_memory() -> int:
    counts = Path("/proc/meminfo")
    if counts.exists():
        for line in counts.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    names: dict[str, int] = getattr(os, "sysconf_names", {})
    if "SC_PAGE_SIZE" not in names or "SC_PHYS_PAGES" not in names:
        return UNKNOWN
    # macOS does not say how much is free; half of what is built in is a fair guess.
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _control_group_memory() -> list[int]:
    left = []
    for folder, limit_name, used_name, cached_name in CONTROL_GROUPS:
        limit, used, counts = Path(folder, limit_name), Path(folder, used_name), Path(folder, "memory.stat")
        if all(os.access(file, os.R_OK) for file in (limit, used, counts)):
            bound = limit.read_text(encoding="ascii").strip()
            cached = dict(line.split() for line in counts.read_text(encoding="ascii").splitlines()).get(
                cached_name, "0"
            )
            if bound.isdigit():  # "max" is no limit
                left.append(int(bound) - int(used.read_text(encoding="ascii")) + int(cached))
    return left


def _reserve(file: IO[bytes], size: int) -> None:
    """Claim the disk space now: running out of it later, behind a mapping, kills the process."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DataError(
            "the decoded pictures fit neither in memory nor in the temporary folder",
            where=folder,
            got=f"{size / 2**30:,.1f} GiB of pictures, {free / 2**30:,.1f} GiB free",
            do="ask for smaller pictures with size=…, or set TMPDIR to a folder on a larger disk",
        )
    file.truncate(size)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
