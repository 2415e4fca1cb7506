"""How much memory one step takes at its peak: by how much the process grows.

torch's allocator on a CPU counts nothing, so the system is asked: what malloc keeps is given back, the peak is reset,
the step runs, and the peak is compared with what was there before. That counts outputs, what is kept for the way back,
gradients and everything in between; not weights, data, or buffers a library keeps between steps and cannot forget.
"""

from __future__ import annotations

import ctypes
import statistics
from collections.abc import Callable
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def peak_megabytes(
    step: Callable[[], object], *, times: int = 3, forget: Callable[[], object] = lambda: None
) -> float | None:
    """The median growth in MiB over some steps; None where the system cannot tell (it takes Linux with glibc).

    ``forget`` gives back what is kept between steps, so that it counts.
    """
    libc = ctypes.CDLL(None)
    if not (_RESET.exists() and hasattr(libc, "malloc_trim")):
        return None
    return statistics.median(_growth(step, forget, libc) for _ in range(times))


def _growth(step: Callable[[], object], forget: Callable[[], object], libc: ctypes.CDLL) -> float:
    forget()
    libc.malloc_trim(0)
    _RESET.write_text(_RESET_PEAK, "ascii")
    before = _kibibytes("VmRSS")
    step()
    return (_kibibytes("VmHWM") - before) / 1024


def _kibibytes(name: str) -> int:
    line = next(line for line in _STATUS.read_text("ascii").splitlines() if line.startswith(name + ":"))
    return int(line.split()[1])
