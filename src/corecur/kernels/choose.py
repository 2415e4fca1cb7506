"""Which kernel runs a recurrence or a convolution, and why: one pure function over one table for each.

A kernel is a row of ``KERNELS`` (recurrences) or ``CONVOLUTIONS``. The first row that does not refuse is taken; the
last one refuses nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from corecur.errors import ConfigError, unknown_name
from corecur.kernels.cell import Result, Work
from corecur.kernels.convolution_kernels import CONVOLUTIONS, ConvolutionRequest
from corecur.kernels.fused import OPERATIONS, follows_autocast, lstm_follows, run_fused
from corecur.kernels.library import info, native, processor, threads
from corecur.kernels.native import KINDS, run_native, run_native_together
from corecur.kernels.native_rows import KINDS as ROW_KINDS
from corecur.kernels.native_rows import run_rows
from corecur.kernels.native_step import STAGES, run_steps, run_steps_together
from corecur.kernels.pieces import run_in_pieces
from corecur.kernels.time_loop import run_compiled, run_plain
from corecur.names import Table

#: The kind and the activation of what the package does not know.
OWN = "own"


@dataclass(frozen=True)
class Request:
    """What the choice of a kernel depends on. ``kind`` and the activations are names, or ``"own"`` for a user's own."""

    kind: str
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    recurrent_dropout: bool = False
    zoneout: bool = False
    device: str = "cpu"
    dtype: str = "float32"
    #: Whether ``torch.autocast`` is on.
    autocast: bool = False
    #: Whether a transform of ``torch.func`` (grad, vmap, jvp) is at work.
    transformed: bool = False
    #: Whether it is about one row, or one step of a few rows, of which no gradient is wanted.
    single: bool = False
    units: int = 0
    #: How many rows of the same length a training step is about; 0 for anything else.
    trained_rows: int = 0


#: On Intel's processors, where units shared by our own threads (``members`` in recurrence_ops.py) were not measured,
#: torch's LSTM is taken with few rows for each thread and recurrent weights that the caches of both cores hold together
#: but not each of them alone (two cores of 2 MB each, 64 steps, how many times as fast as ours with the rows shared:
#: 288 units and 8 rows 1.16, 448 and 1 row 1.8, 512 and 8 1.5, 16 1.1, 24 0.95, 768 and 1 1.1; 256 units and 8 rows
#: 1.0; 1024 and 1 to 4 rows 0.9).
SPREAD_UNITS, SPREAD_ROWS = range(257, 1024), 8


@dataclass(frozen=True)
class Choice:
    """A kernel's name and the reason it was taken."""

    kernel: str
    reason: str


@dataclass(frozen=True)
class Kernel:
    """One way to run a recurrence: what it is, why it cannot do a request (None if it can), and how it runs."""

    what: str
    refuses: Callable[[Request], str | None]
    run: Callable[[Work], Result]
    #: Whether it runs in the precision of ``torch.autocast``; in float32 otherwise.
    follows_autocast: Callable[[Work], bool] = lambda work: False
    #: Several works of one kind at the same time, none of which needs what another gives; None: one after the other.
    run_together: Callable[[Sequence[Work]], list[Result]] | None = None


_NOT_SINGLE = "the native step is for one row, or one step of a few, without gradients"


def _step_refuses(request: Request) -> str | None:
    if not request.single:
        return _NOT_SINGLE
    if (request.kind, request.activation) not in STAGES:
        return f"there is no native step for {request.kind} with the activation {request.activation}"
    if request.recurrent_dropout or request.zoneout:
        return f"the native step has no {'recurrent dropout' if request.recurrent_dropout else 'zoneout'}"
    if request.autocast:
        return "the native step computes in float32, not as autocast asks"
    return _native_refuses(request)


def _native_refuses(request: Request) -> str | None:
    known = [activation for kind, activation in KINDS if kind == request.kind]
    if request.kind in ROW_KINDS:
        known = ["tanh"]
    if request.activation not in known:
        if not known:
            return f"there is no native kernel for the kind {request.kind}"
        return f"the native kernel for {request.kind} takes the activation {' or '.join(known)}"
    if request.recurrent_activation != "sigmoid" and request.kind != "simple_rnn":
        return f"the gates of the native kernel are sigmoid, not {request.recurrent_activation}"
    if request.device != "cpu" or request.dtype != "float32":
        return f"the native kernels compute in float32 on a CPU, not in {request.dtype} on {request.device}"
    if request.transformed:
        return "the native kernels know no transforms of torch.func"
    if request.autocast and request.kind == "lstm" and lstm_follows(torch.get_autocast_dtype("cpu")):
        return "torch's operation for lstm is faster under autocast"
    if _torch_spreads(request):
        return f"torch's operation for lstm is faster with {request.units} units and {request.trained_rows} rows"
    if native() is None:
        return f"the native kernels are missing: {info().why}"
    return None


def _torch_spreads(request: Request) -> bool:
    """Whether torch has an operation for the request that shares units where there are too few rows to share."""
    cores, rows = threads(), request.trained_rows
    if processor() != "intel" or request.kind != "lstm" or cores == 1 or _fused_refuses(request) is not None:
        return False
    return 0 < rows <= SPREAD_ROWS * cores and request.units in SPREAD_UNITS


def _run_native(work: Work) -> Result:
    return run_rows(work) if work.kind in ROW_KINDS else run_native(work)


def _run_native_together(works: Sequence[Work]) -> list[Result]:
    return [run_rows(work) for work in works] if works[0].kind in ROW_KINDS else run_native_together(works)


def _fused_refuses(request: Request) -> str | None:
    if (request.kind, request.activation) not in OPERATIONS:
        known = [activation for kind, activation in OPERATIONS if kind == request.kind]
        if not known:
            return f"torch has no fused operation for the kind {request.kind}"
        return f"torch's operation for {request.kind} takes the activation {' or '.join(known)}"
    if request.recurrent_activation != "sigmoid" and request.kind != "simple_rnn":
        return f"the gates of torch's operation are sigmoid, not {request.recurrent_activation}"
    if request.recurrent_dropout or request.zoneout:
        return f"torch's operation has no {'recurrent dropout' if request.recurrent_dropout else 'zoneout'}"
    return None


def _compiled_refuses(request: Request) -> str | None:
    if request.kind == OWN:
        return "a cell of one's own is Python code"
    if OWN in (request.activation, request.recurrent_activation):
        return "an activation function of one's own is Python code"
    return None


def _plain_refuses(request: Request) -> None:
    return None


KERNELS: Table[Kernel] = Table(
    "kernel",
    {
        "native step": Kernel(
            "corecur's own kernel step by step, its weights kept packed",
            _step_refuses,
            run_steps,
            run_together=run_steps_together,
        ),
        "native": Kernel(
            "corecur's own kernel over the whole sequence",
            _native_refuses,
            _run_native,
            run_together=_run_native_together,
        ),
        "fused": Kernel("one torch operation over the whole sequence", _fused_refuses, run_fused, follows_autocast),
        "scripted loop": Kernel("a loop over time compiled by TorchScript", _compiled_refuses, run_compiled),
        "python loop": Kernel("a loop over time in Python", _plain_refuses, run_plain),
    },
)


def _kernels_for(request: Request | ConvolutionRequest) -> Table[Any]:
    return KERNELS if isinstance(request, Request) else CONVOLUTIONS


def choose(request: Request | ConvolutionRequest, *, asked: str | None = None) -> Choice:
    """The first kernel that can do the request, or the one asked for; ConfigError where that one cannot.

    >>> choose(Request("lstm", dtype="float64")).kernel
    'fused'
    >>> print(choose(Request("gru", activation="relu")).reason.replace("; ", "\\n"))
    the native kernel for gru takes the activation tanh
    torch's operation for gru takes the activation tanh
    """
    kernels = _kernels_for(request)
    if asked is not None:
        refusal = kernels[asked].refuses(request)
        if refusal is not None:
            raise ConfigError(f"the kernel {asked!r} cannot run this layer: {refusal}", got=request)
        return Choice(asked, "it was asked for")
    refusals: list[str] = []
    for name, kernel in kernels.items():
        refusal = kernel.refuses(request)
        if refusal is None:
            return Choice(name, "; ".join(dict.fromkeys(refusals)) or kernel.what)
        if refusal != _NOT_SINGLE:  # of another kind of call: no reason why this one takes what it takes
            refusals.append(refusal)
    raise ConfigError("no kernel can run this layer", got=request)  # the last row refuses nothing


def explain(request: Request | ConvolutionRequest) -> str:
    """Every kernel, and why it is taken, not needed or not able.

    >>> print(explain(Request("classic_gru", dtype="float64")))
    native step: no, the native step is for one row, or one step of a few, without gradients
    native: no, the native kernels compute in float32 on a CPU, not in float64 on cpu
    fused: no, torch has no fused operation for the kind classic_gru
    scripted loop: taken, a loop over time compiled by TorchScript
    python loop: not needed
    """
    taken = choose(request).kernel
    lines = []
    for name, kernel in _kernels_for(request).items():
        refusal = kernel.refuses(request)
        verdict = f"taken, {kernel.what}" if name == taken else f"no, {refusal}" if refusal else "not needed"
        lines.append(f"{name}: {verdict}")
    return "\n".join(lines)


class _Paths(threading.local):
    asked: str | None = None
    last: Choice | None = None


_paths = _Paths()


def last_path() -> Choice | None:
    """The kernel that ran last in this thread, and the reason; None before the first."""
    return _paths.last


def decide(request: Request | ConvolutionRequest) -> Choice:
    """The kernel that runs now: the one chosen, or the one ``asking_for`` asks for; ``last_path`` tells of it."""
    if isinstance(request, Request):
        asked = _paths.asked if _paths.asked in KERNELS else None
        if asked is not None and request.trained_rows:
            request = dataclasses.replace(request, trained_rows=0)  # asked for, the slower kernel runs all the same
        # What torch follows under autocast depends on its dtype, which no request names.
        _paths.last = choose(request, asked=asked) if request.autocast else _choose_again(request, asked, threads())
    else:
        _paths.last = _choose_again(request, _paths.asked if _paths.asked in CONVOLUTIONS else None, 0)
    return _paths.last


def asked_for() -> str | None:
    """The kernel that ``asking_for`` asks for in this thread; None where the choice is free."""
    return _paths.asked


@functools.lru_cache(maxsize=1024)
def _choose_again(request: Request | ConvolutionRequest, asked: str | None, threads: int) -> Choice:
    """The same choice again and again: a small layer is done in the time that the reasons take."""
    return choose(request, asked=asked)


@contextlib.contextmanager
def asking_for(kernel: str) -> Iterator[None]:
    """Inside the block every recurrence (or convolution) of this thread runs by this kernel, or raises ConfigError.

    >>> with asking_for("python loop"):
    ...     pass
    """
    if kernel not in KERNELS and kernel not in CONVOLUTIONS:
        raise unknown_name("kernel", kernel, [*KERNELS, *CONVOLUTIONS])
    before, _paths.asked = _paths.asked, kernel
    try:
        yield
    finally:
        _paths.asked = before


def run(request: Request, work: Work) -> Result:
    """Run the work by the kernel chosen for the request: outputs (B, T, P) and the last state."""
    return _run_by(KERNELS[decide(request).kernel], [work])[0]


def run_together(asked: Sequence[tuple[Request, Work]]) -> list[Result]:
    """The same for several works, none of which needs what another gives: at once where their kernel can do that."""
    requests, works = zip(*asked, strict=True)
    if len(works) > 1 and requests[0].trained_rows == 1:  # each row has a thread: torch gains nothing by sharing units
        requests = tuple(dataclasses.replace(request, trained_rows=0) for request in requests)
    kernels = [KERNELS[decide(request).kernel] for request in requests]
    alike = len({(kernel.what, work.kind) for kernel, work in zip(kernels, works, strict=True)}) == 1
    if alike and not any(work.recompute for work in works):
        return _run_by(kernels[0], works)
    return [_run_by(kernel, [work])[0] for kernel, work in zip(kernels, works, strict=True)]


def run_stacked(asked: Sequence[tuple[Request, Work]]) -> list[Result] | None:
    """The works of one row where each reads the outputs of the one before it, ``x`` being the first one's, at the same
    time; None where no kernel does that."""
    if any(decide(request).kernel != "native step" for request, _ in asked):
        return None
    return run_steps_together([work for _, work in asked], stacked=True)


def _run_by(kernel: Kernel, works: Sequence[Work]) -> list[Result]:
    """Works by this kernel, in float32 unless it follows autocast."""
    first, device = works[0], works[0].x.device.type
    leaves = torch.is_autocast_enabled(device) and not kernel.follows_autocast(first)
    with torch.autocast(device, enabled=False) if leaves else contextlib.nullcontext():
        if len(works) > 1 and kernel.run_together is not None:
            return kernel.run_together(works)
        return [run_in_pieces(kernel.run, work) if work.recompute else kernel.run(work) for work in works]


def run_cell(request: Request, work: Work) -> list[Tensor]:
    """Run the work of a cell, one step: by the native step where that can do it, else by the Python loop.

    ``last_path`` does not tell of cells, which other layers call in their loops; ``explain(cell.request(single=True))``
    says what such a step takes.
    """
    native_step = _paths.asked in (None, "native step") and _step_refuses(request) is None
    return KERNELS["native step" if native_step else "python loop"].run(work)[1]
