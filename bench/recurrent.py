"""``recurrent``: each recurrent cell beside torch's, Keras' and a loop by hand: time and memory of a step.

The baseline that native kernels are measured against; it has no target. 40 steps of 64 features, 128 units, batch 64,
outputs at every step; masked rows have 10 to 40 real steps, and few rows 100 steps. Before the clock runs, outputs at
all real steps and, in training, the norms of the gradients of all kernels must agree to 1e-4. The share of the peak
counts the products that real steps need, so that work on padding lowers it. Recurrent dropout is off in the proof,
where contenders would draw other patterns, and on in the times.

Ratios are to the first contender: ``torch.nn``'s layer; packed, where rows are padded; a loop by hand, where torch has
no such layer. Contenders of one library share a process over all cases, one case after the other.
"""

from __future__ import annotations

import dataclasses

from bench.contender import Case, Contender
from bench.keras_cells import ENGINES, engines
from bench.sequences import Job, flops

#: What a table calls the job, the job in training, its contenders beside this package, and whether Keras has it.
JOBS: tuple[tuple[str, Job, tuple[str, ...], bool], ...] = (
    ("SimpleRNN 128", Job("simple_rnn"), ("nn",), True),
    ("LSTM 128 × 2", Job("lstm", 2), ("nn",), True),
    ("GRU 128 × 2", Job("gru", 2), ("nn",), True),
    ("LSTM 128 × 2, padded right", Job("lstm", 2, "right"), ("packed", "over padding"), True),
    ("LSTM 128 × 2, padded left", Job("lstm", 2, "left"), ("packed",), False),
    ("GRU 128 × 2, padded right", Job("gru", 2, "right"), ("packed", "over padding"), True),
    ("GRU 128 × 2, padded left", Job("gru", 2, "left"), ("packed",), False),
    ("LSTM 128, both ways", Job("lstm", both_ways=True), ("nn",), True),
    ("LSTM 128, both ways, padded right", Job("lstm", 1, "right", both_ways=True), ("packed",), False),
    ("LSTM 128, both ways, few rows: 1", Job("lstm", both_ways=True, batch=1, steps=100), ("nn",), True),
    ("GRU 128, both ways, few rows: 8", Job("gru", both_ways=True, batch=8, steps=100), ("nn",), True),
    ("LSTM 128 × 2, few rows: 1", Job("lstm", 2, batch=1, steps=100), ("nn",), True),
    ("GRU 128, reset_after=False", Job("classic_gru"), ("by hand",), True),
    ("LSTM 128, layer_norm", Job("layer_norm_lstm"), ("by hand",), False),
    ("LSTM 128, peephole", Job("peephole_lstm"), ("by hand",), False),
    ("LSTM 128, projection=64", Job("projected_lstm"), ("nn",), False),
    ("LSTM 128, recurrent_dropout=0.25", Job("lstm", recurrent_dropout=0.25), ("by hand",), True),
)
PEERS = {
    "nn": ("torch.nn", "bench.torch_cells:TorchLayers"),
    "packed": ("torch.nn, packed", "bench.torch_cells:Packed"),
    "over padding": ("torch.nn over the padding", "bench.torch_cells:TorchLayers"),
    "by hand": ("torch, loop by hand", "bench.torch_cells:HandLoop"),
}
OURS = "corecur"


def cases() -> list[Case]:
    """Every job in training, then forward alone where dropout does not make that another job's."""
    installed, _ = engines()
    return [
        case(title, dataclasses.replace(job, training=training), peers, installed if in_keras else [])
        for training in (True, False)
        for title, job, peers, in_keras in JOBS
        if training or not job.recurrent_dropout
    ]


def case(title: str, job: Job, peers: tuple[str, ...], keras: list[str]) -> Case:
    """One job with its contenders."""
    settings = {"job": job}
    first, *others = (Contender(name, maker, settings, process=name) for name, maker in (PEERS[peer] for peer in peers))
    return Case(
        f"{title} {'training' if job.training else 'inference'}",
        f"{'training step' if job.training else 'inference'}, {title}",
        "step",
        (
            first,
            Contender(OURS, "bench.torch_cells:Ours", settings, process=OURS),
            *others,
            *(
                Contender(
                    f"Keras on {engine}",
                    f"bench.keras_cells:{ENGINES[engine]}",
                    settings,
                    {"KERAS_BACKEND": engine},
                    process=f"Keras on {engine}",
                )
                for engine in keras
            ),
        ),
        judged=OURS,
        target=None,
        flops=flops(job),
    )
