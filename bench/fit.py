"""``fit``: ``Model.fit`` beside a training loop written by hand, on a small CNN for 28×28 pictures (``small_cnn``).

Both start from the same weights and go through the same samples; before the clock runs, their losses are compared over
three epochs in one order. A timed block is one epoch in a new random order, with its mean loss. The loop by hand is the
best we know: ``channels_last``, data in memory as tensors, fused Adam, no copy between convolutions and dense layers.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.contender import Case, Contender
from bench.small_cnn import FLOPS

BATCH_SIZES = (32, 256)


def cases(peers: Sequence[Contender] = ()) -> list[Case]:
    """One case for each batch size; peers join with their own settings and this batch size."""
    return [
        Case(
            f"fit-{size}",
            f"training step, CNN 28×28×1, batch {size}",
            "step",
            (
                Contender("loop by hand", "bench.loops:HandLoop", {"batch_size": size}),
                Contender(
                    "loop by hand, memory kept", "bench.loops:HandLoop", {"batch_size": size, "keep_memory": True}
                ),
                Contender("Model.fit", "bench.loops:Fit", {"batch_size": size}),
                *(
                    Contender(p.name, p.maker, {**p.settings, "batch_size": size}, p.environment, p.tolerance)
                    for p in peers
                ),
            ),
            judged="Model.fit",
            target=1.05,
            flops=FLOPS * size,
        )
        for size in BATCH_SIZES
    ]
