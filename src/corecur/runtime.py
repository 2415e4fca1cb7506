"""Where and how numbers are computed: device, threads, precision, seed, determinism."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import random
import secrets
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from corecur.errors import ConfigError
from corecur.names import Table

#: What ``use_determinism`` promises, in words for people.
CLAIM = (
    "deterministic: on the same class of machine, with the same versions, number of threads and batch size, "
    "the same command gives the same bytes"
)

PRECISIONS = Table("precision", {"auto": None, "float32": torch.float32, "bfloat16": torch.bfloat16})


def find_device(name: str | torch.device = "auto") -> torch.device:
    """The device to use: ``auto`` takes CUDA, then Apple's MPS, then the CPU.

    >>> find_device("cpu")
    device(type='cpu')
    """
    if isinstance(name, torch.device):
        return name
    if name != "auto":
        try:
            device = torch.device(name)
        except RuntimeError as error:
            raise ConfigError(f"unknown device {name!r}", expected="auto, cpu, cuda, cuda:0, mps, …") from error
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ConfigError(
                "this torch has no CUDA device", got=name, do="use --device cpu, or install a CUDA build of torch"
            )
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware (AMX tiles, CUDA capability 8)."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    has_tiles = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return device.type == "cpu" and has_tiles is not None and bool(has_tiles())


def find_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of the large products. ``auto`` is bfloat16 where the hardware multiplies it, else float32.

    >>> find_precision("float32", torch.device("cpu"))
    torch.float32
    """
    asked = PRECISIONS[name]
    if asked is not None:
        return asked
    return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32


@contextlib.contextmanager
def precision(dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """Compute the large products inside the block in ``dtype`` (weights stay float32)."""
    if dtype == torch.float32:
        yield
    else:
        with torch.autocast(device.type, dtype=dtype):
            yield


def check_seed(seed: int) -> None:
    """Refuse, with a ConfigError, a seed that is no whole number from 0 to 2^63 - 1.

    >>> check_seed(7)
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ConfigError("a seed is a whole number", got=seed, expected="0 to 2^63 - 1")


def any_seed() -> int:
    """A seed that nobody chose, short enough to be typed again.

    >>> 0 <= any_seed() < 2**31
    True
    """
    return secrets.randbelow(2**31)


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def use_determinism() -> None:
    """Ask torch for deterministic algorithms only; ``CLAIM`` says what that gives."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def is_deterministic() -> bool:
    """Whether torch was asked for deterministic algorithms only.

    >>> is_deterministic()
    False
    """
    return torch.are_deterministic_algorithms_enabled()


# One thread is taken only where it is clearly faster, so that the choice is the same on every quiet machine.
_CLEARLY_FASTER = 1.5


def choose_threads(work: Callable[[], object]) -> int:
    """Set and return the number of threads: all, or one where ``work`` runs much faster on one.

    That happens where other programs keep the cores busy: threads that share out a small piece of work then wait for
    each other far longer than the work takes.

    >>> before = torch.get_num_threads()
    >>> choose_threads(lambda: None) == before
    True
    """
    threads = torch.get_num_threads()
    if threads == 1:
        return 1
    torch.set_num_threads(1)
    alone = least_seconds(work)
    torch.set_num_threads(threads)
    began = time.perf_counter()
    work()
    # The first call also makes the threads: only if it is slow is a second look worth its time.
    if time.perf_counter() - began > alone * _CLEARLY_FASTER:
        began = time.perf_counter()
        work()
        if time.perf_counter() - began > alone * _CLEARLY_FASTER:
            torch.set_num_threads(1)
            return 1
    return threads


def least_seconds(work: Callable[[], object], repeats: int = 2) -> float:
    """The shortest time ``work`` takes after a first call that warms up.

    >>> least_seconds(lambda: None) < 1
    True
    """
    work()
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return max(best, 1e-4)


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc keep large freed buffers, which the next batch asks for again; elsewhere do nothing.

    Otherwise they go back to the system, which hands them out again page by page; ``python -m bench fit`` shows what
    that costs a small CNN.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
    libc.mallopt(trim_threshold, 2**31 - 1)
    libc.mallopt(mmap_threshold, 2**30)


def describe() -> dict[str, str]:
    """What a report says about the machine and the versions.

    >>> sorted(describe())[:3]
    ['corecur', 'cpu', 'numpy']
    """
    from corecur.version import __version__

    return {
        "corecur": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
    }
