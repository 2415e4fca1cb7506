"""Every way to run a convolution with relu and pooling over a grid of sizes: what the limits in ``kernels`` stand on.

``python -m bench.convolutions`` prints, for each size, how many times as fast as torch's own (the better of its two
layouts) each native way is, forward alone and with gradients, and what is chosen. Times are of the calling thread, so
that other work on the machine disturbs little; run it with OMP_NUM_THREADS=1.

B batch, S × S positions, C channels, F filters, k × k kernel.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from corecur import runtime
from corecur.kernels.choose import choose
from corecur.kernels.convolution import Block, run_native, run_stock
from corecur.kernels.convolution_kernels import ConvolutionRequest
from corecur.kernels.tap_convolution import run_taps

# B, S, C, F, k, stride, padding, pool
SIZES: tuple[tuple[int, int, int, int, int, int, int, str], ...] = (
    (32, 28, 1, 32, 3, 1, 0, "max"),
    (32, 32, 3, 32, 3, 1, 1, ""),
    (32, 32, 3, 32, 5, 1, 2, "max"),
    (32, 64, 3, 32, 7, 2, 3, ""),
    (32, 32, 3, 16, 3, 2, 1, ""),
    (32, 14, 6, 16, 5, 1, 0, "max"),
    (32, 16, 32, 32, 5, 1, 2, "max"),
    (32, 16, 4, 8, 3, 1, 1, ""),
    (32, 16, 8, 8, 3, 1, 1, ""),
    (32, 16, 8, 16, 3, 1, 1, "max"),
    (32, 16, 16, 16, 3, 1, 1, ""),
    (32, 13, 32, 64, 3, 1, 0, "max"),
    (32, 32, 32, 32, 3, 1, 1, "max"),
    (32, 16, 64, 64, 3, 1, 1, "max"),
    (32, 16, 64, 128, 3, 1, 1, ""),
    (32, 8, 128, 128, 3, 1, 1, "max"),
    (32, 8, 128, 256, 3, 1, 1, ""),
    (32, 8, 256, 256, 3, 1, 1, "max"),
    (32, 4, 256, 512, 3, 1, 1, ""),
    (32, 4, 512, 512, 3, 1, 1, "max"),
    (32, 4, 256, 256, 5, 1, 2, ""),
    (32, 2, 64, 64, 3, 1, 1, ""),
    (32, 2, 128, 128, 3, 1, 1, ""),
    (32, 2, 256, 512, 3, 1, 1, "max"),
    (4, 2, 256, 256, 3, 1, 1, ""),
    (1, 2, 256, 256, 3, 1, 1, ""),
    (32, 1, 256, 256, 3, 1, 1, ""),
    (1, 28, 1, 32, 3, 1, 0, "max"),
    (1, 13, 32, 64, 3, 1, 0, "max"),
    (1, 16, 64, 64, 3, 1, 1, "max"),
    (1, 8, 64, 64, 3, 1, 1, ""),
    (1, 8, 128, 128, 3, 1, 1, "max"),
    (1, 4, 64, 64, 3, 1, 1, ""),
)
SECONDS = 0.5


def medians(ways: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Seconds of this thread that each way takes, in turn, after one call to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for name, way in ways.items():
            start = time.thread_time()
            way()
            taken[name].append(time.thread_time() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def ratios(size: tuple[int, int, int, int, int, int, int, str], *, training: bool) -> dict[str, float]:
    """How many times as fast as torch each native way is."""
    batch, side, channels, filters, kernel, stride, padding, pool = size
    block = Block((kernel, kernel), (stride, stride), (padding,) * 4, activation="relu", pool=pool)
    to_input = training and channels > 3
    x = torch.randn(batch, side, side, channels)
    weight = torch.randn(filters, channels, kernel, kernel) / (channels * kernel * kernel) ** 0.5
    bias = torch.randn(filters).requires_grad_(training)
    last = weight.contiguous(memory_format=torch.channels_last).requires_grad_(training)
    first = weight.requires_grad_(training)
    plain = x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1).requires_grad_(to_input)  # NCHW in memory
    x.requires_grad_(to_input)
    calls: dict[str, tuple[Any, Callable[[], Any]]] = {
        "channels last": ((x, last, bias), lambda: run_stock(x, last, bias, block)),
        "channels first": ((plain, first, bias), lambda: run_stock(plain, first, bias, block)),
        "direct": ((x, last, bias), lambda: run_native(x, last, bias, block, winograd=False)),
        "taps": ((x, last, bias), lambda: run_taps(x, last, bias, block)),
    }
    if block.has_windows:
        calls["winograd"] = ((x, last, bias), lambda: run_native(x, last, bias, block, winograd=True))
    d_y = torch.randn_like(calls["direct"][1]().detach())

    def with_gradients(given: Any, call: Callable[[], Any]) -> Callable[[], Any]:
        wanted = [tensor for tensor in given if tensor.requires_grad]
        return lambda: torch.autograd.grad(call(), wanted, d_y)

    ways = {name: with_gradients(*way) if training else way[1] for name, way in calls.items()}
    found = medians(ways)
    best = min(found.pop("channels last"), found.pop("channels first"))
    return {name: best / seconds for name, seconds in found.items()}


def main() -> None:
    """Print the table."""
    torch.manual_seed(0)
    runtime.keep_freed_memory()
    ways = "direct winograd taps"
    print(f"   B   S    C    F k s p pool |     forward: {ways} |      + gradients: {ways} | chosen")
    for size in SIZES:
        cells = []
        chosen = []
        for training in (False, True):
            with torch.set_grad_enabled(training):
                found = ratios(size, training=training)
            cells.append(f"{found['direct']:7.2f} {found.get('winograd', float('nan')):8.2f} {found['taps']:4.2f}")
            batch, side, channels, filters, kernel, stride, padding, pool = size
            block = Block((kernel, kernel), (stride, stride), (padding,) * 4, activation="relu", pool=pool)
            request = ConvolutionRequest(
                block, batch, side, side, channels, filters, training=training, to_input=training and channels > 3
            )
            chosen.append(choose(request).kernel)
        batch, side, channels, filters, *rest, pool = size
        print(
            f"{batch:4d} {side:3d} {channels:4d} {filters:4d} {' '.join(map(str, rest))} {pool or '-':4s}"
            f" |             {cells[0]} |              {cells[1]} | {', '.join(chosen)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
