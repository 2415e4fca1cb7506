"""The kernels for a convolution over images and what follows it, and which of them refuses what: a table.

The limits below are measured: ``python -m bench.convolutions`` times every way on a grid of sizes and prints where
torch's own convolution (oneDNN) is the faster one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from corecur.kernels.convolution import ACTIVATIONS, Block, run_native, run_stock
from corecur.kernels.library import info, native
from corecur.kernels.tap_convolution import met, run_taps
from corecur.names import Table

#: With fewer channels or filters a window's products are too small for Winograd's way (how many times as fast as torch,
#: without and with gradients: 4 channels 1.14 and 1.01, 8 channels 1.5 and 1.35).
WINOGRAD_CHANNELS, WINOGRAD_FILTERS = 8, 8
#: Channels × filters up to which it pays: 16 floats for each must be made in every step, which takes the more windows
#: the more there are (256 × 512, 32 windows: 2.5; 512 × 512, 16 windows without padding's waste: 0.85, 64: 1.2; 256 ×
#: 256, 512 windows: 1.5, on an AMD processor 0.9).
WINOGRAD_WEIGHTS, WINOGRAD_WEIGHTS_FEW, WINOGRAD_WINDOWS_FEW = 512 * 512, 128 * 256, 64
#: Windows of a batch with which transforming the kernels pays (16 of them: 1.2; 4: 0.8).
WINOGRAD_WINDOWS = 16
#: The direct way is for few channels and small kernels at stride 1 (1 to 3 channels: 1.4 to 2.4; 6: 0.7; stride 2:
#: 0.8).
DIRECT_CHANNELS, DIRECT_KERNEL = 3, 5
#: Place by place pays where much of what the kernel sees is padding and each product is large (256 × 256 over 2 × 2
#: positions, batch 4, 32 and 128: 1.5, 2.9 and 3.6, Winograd's way 1.3, 2.6 and 3.0; 5 × 5 over 4 × 4: 1.5 to 1.9; 128
#: × 128 over 2 × 2, batch 32: 1.3, Winograd's way 1.7; batch 1: 0.5).
TAPS_MET, TAPS_WEIGHTS, TAPS_BATCH = 0.6, 256 * 256, 4


@dataclass(frozen=True)
class ConvolutionRequest:
    """What the choice of a kernel for x (B, H, W, C) and F filters depends on, all shapes and flags, no values."""

    block: Block
    batch: int
    height: int
    width: int
    channels: int
    filters: int
    groups: int = 1
    #: Whether gradients will be asked for, and whether of the input too.
    training: bool = False
    to_input: bool = False
    device: str = "cpu"
    dtype: str = "float32"
    autocast: bool = False
    #: What looks over torch's shoulder (a compiler, a function transform) and cannot see into native code.
    traced: str | None = None

    def __hash__(self) -> int:
        return self._hash

    @functools.cached_property
    def _hash(self) -> int:
        """Computed once, as one request is looked up at every step of a training."""
        return hash((self.block, self.batch, self.height, self.width, self.channels, self.filters, self.training))


@dataclass(frozen=True)
class ConvolutionKernel:
    """One way to run a convolution: what it is, why it refuses a request (None if it does not), and how it runs."""

    what: str
    refuses: Callable[[ConvolutionRequest], str | None]
    run: Callable[[Tensor, Tensor, Tensor | None, Block], Tensor]


def _own_refuses(request: ConvolutionRequest) -> str | None:
    """What only torch's convolution takes."""
    if request.device != "cpu" or request.dtype != "float32":
        return f"corecur's own ways compute in float32 on a CPU, not in {request.dtype} on {request.device}"
    if request.autocast:
        return "under autocast torch's convolution multiplies in the lower precision"
    if request.traced is not None:
        return f"{request.traced} needs torch's own operations"
    if request.groups != 1:
        return "corecur's own ways have no groups"
    if 0 in (request.batch, request.channels, *request.block.sizes(request.height, request.width)):
        return "there is nothing to compute"
    return None


def _native_refuses(request: ConvolutionRequest) -> str | None:
    """What no native kernel takes."""
    refusal = _own_refuses(request)
    if refusal is not None:
        return refusal
    block = request.block
    if block.activation not in ACTIVATIONS:
        return f"the native kernels take the activation {', '.join(ACTIVATIONS)}, not {block.activation}"
    if block.pool == "average" and block.activation == "tanh":
        return "averages of tanh need what stood before the pooling"
    if native() is None:
        return f"the native kernels are missing: {info().why}"
    return None


def _winograd_refuses(request: ConvolutionRequest) -> str | None:
    refusal = _native_refuses(request)
    if refusal is not None:
        return refusal
    block = request.block
    if not block.has_windows:
        return "Winograd's way is for 3 × 3 kernels with strides and dilation 1"
    if _taps_refuses(request) is None:
        return "where most of what the kernel sees is padding, place by place is faster"
    if request.channels < WINOGRAD_CHANNELS or request.filters < WINOGRAD_FILTERS:
        return f"{request.channels} channels and {request.filters} filters are too few for Winograd's way"
    rows, columns = block.sizes(request.height, request.width)[:2]
    windows = request.batch * -(-rows // 2) * -(-columns // 2)
    if request.channels * request.filters > WINOGRAD_WEIGHTS or (
        request.channels * request.filters > WINOGRAD_WEIGHTS_FEW and windows < WINOGRAD_WINDOWS_FEW
    ):
        return f"{request.channels} × {request.filters} kernels are too many for Winograd's way over {windows} windows"
    if windows < WINOGRAD_WINDOWS:
        return f"{windows} windows of 2 × 2 outputs are too few for Winograd's way"
    return None


def _taps_refuses(request: ConvolutionRequest) -> str | None:
    refusal = _own_refuses(request)
    if refusal is not None:
        return refusal
    if request.batch < TAPS_BATCH or request.channels * request.filters < TAPS_WEIGHTS:
        return "its products are too small to be made place by place"
    share = met(request.block, request.height, request.width)
    if share > TAPS_MET:
        return f"{1 - share:.0%} of what the kernel sees is padding, too little to leave it out"
    return None


def _direct_refuses(request: ConvolutionRequest) -> str | None:
    refusal = _native_refuses(request)
    if refusal is not None:
        return refusal
    if request.channels > DIRECT_CHANNELS:
        return f"with more than {DIRECT_CHANNELS} channels torch's convolution is faster"
    if request.block.strides != (1, 1):
        return "with strides torch's convolution is faster"
    if max(request.block.kernel) > DIRECT_KERNEL:
        return f"with a kernel beyond {DIRECT_KERNEL} × {DIRECT_KERNEL} torch's convolution is faster"
    return None


def _torch_refuses(request: ConvolutionRequest) -> None:
    return None


def _run_winograd(x: Tensor, weight: Tensor, bias: Tensor | None, block: Block) -> Tensor:
    return run_native(x, weight, bias, block, winograd=True)


def _run_direct(x: Tensor, weight: Tensor, bias: Tensor | None, block: Block) -> Tensor:
    return run_native(x, weight, bias, block, winograd=False)


CONVOLUTIONS: Table[ConvolutionKernel] = Table(
    "kernel",
    {
        "winograd": ConvolutionKernel("corecur's own, 16 products for 4 outputs", _winograd_refuses, _run_winograd),
        "direct": ConvolutionKernel("corecur's own, by the definition", _direct_refuses, _run_direct),
        "taps": ConvolutionKernel("a product for each place of the kernel, none with padding", _taps_refuses, run_taps),
        "torch": ConvolutionKernel("torch's operations one by one", _torch_refuses, run_stock),
    },
)
