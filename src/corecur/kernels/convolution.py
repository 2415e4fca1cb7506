"""The native convolution block as torch operations, and its gradients: convolution, bias, activation, 2 × 2 pooling.

B batch, H × W positions, C channels, F filters, k × k kernel, P × Q positions left after pooling.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from corecur.errors import ShapeError
from corecur.kernels.library import Struct, table, threads
from corecur.kernels.operation import operation
from corecur.kernels.room import room_of

#: Pooling and activation -> their numbers in csrc/window.hpp.
POOLS = {"": 0, "max": 1, "average": 2}
ACTIVATIONS = {"linear": 0, "relu": 1, "tanh": 2}


@dataclass(frozen=True)
class Block:
    """A convolution and what follows it: ``padding`` is top, bottom, left, right; ``pool`` is "", "max" or "average".

    >>> Block((3, 3), padding=(1, 1, 1, 1), pool="max").sizes(28, 28)
    (28, 28, 14, 14)
    """

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    activation: str = "linear"
    pool: str = ""

    def sizes(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Rows and columns of the convolution's output, and of the block's."""
        found = []
        for axis, size in enumerate((height, width)):
            whole = (
                size + sum(self.padding[2 * axis : 2 * axis + 2]) - (self.kernel[axis] - 1) * self.dilation[axis] - 1
            )
            found.append(whole // self.strides[axis] + 1 if whole >= 0 else 0)
        pooled = [size // 2 for size in found] if self.pool else found
        return (found[0], found[1], pooled[0], pooled[1])

    @property
    def has_windows(self) -> bool:
        """Whether it can be computed by windows of 2 × 2 outputs (Winograd's way)."""
        return self.kernel == (3, 3) and self.strides == self.dilation == (1, 1)


class Job(Struct):
    """``CorecurConvolution`` of csrc/convolution.hpp."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("winograd", "pool", "activation", "training")),
        *(
            (name, ctypes.c_int64)
            for name in (
                "batch", "height", "width", "channels", "filters", "kernel_height", "kernel_width", "stride_height",
                "stride_width", "dilation_height", "dilation_width", "top", "left", "out_height", "out_width",
                "pooled_height", "pooled_width",
            )
        ),
        *(
            (name, ctypes.c_void_p)
            for name in ("x", "weight", "bias", "y", "chosen", "room", "d_y", "d_x", "d_weight", "d_bias")
        ),
    ]  # fmt: skip


def _at(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


@functools.lru_cache(maxsize=1024)
def prepared(
    shape: torch.Size, filters: int, block: Block, winograd: bool, training: bool, back: bool, shares: int
) -> tuple[Job, int, tuple[int, ...]]:
    """A job without its memory, how many floats of room it needs, and the shape of its output."""
    batch, height, width, channels = shape
    sizes = block.sizes(height, width)
    top, _, left, _ = block.padding
    job = Job(
        winograd, POOLS[block.pool], ACTIVATIONS[block.activation], training, batch, height, width, channels,
        filters, *block.kernel, *block.strides, *block.dilation, top, left, *sizes,
    )  # fmt: skip
    return job, table().convolution_room(ctypes.byref(job), shares, back), (batch, *sizes[2:], filters)


#: Multiply-adds below which another thread costs more than it takes over.
_WORTH_A_THREAD = 2**20


@functools.lru_cache(maxsize=1024)
def shares_of(shape: torch.Size, filters: int, block: Block, most: int) -> int:
    """How many threads a job is worth, given as many as torch has."""
    rows, columns = block.sizes(shape[1], shape[2])[:2]
    work = shape[0] * rows * columns * shape[3] * filters * block.kernel[0] * block.kernel[1]
    return max(1, min(most, work // _WORTH_A_THREAD))


def chooses(block: Block) -> bool:
    """Whether the way back needs to know what pooling chose."""
    return block.pool == "max" or (block.pool == "average" and block.activation == "relu")


def _forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, block: Block, winograd: bool, training: bool
) -> tuple[Tensor, Tensor]:
    """The output (B, P, Q, F) and what pooling chose, for weight (F, k, k, C) and everything contiguous."""
    choosing, shares = training and chooses(block), shares_of(x.shape, weight.shape[0], block, threads())
    known, floats, shape = prepared(x.shape, weight.shape[0], block, winograd, choosing, False, shares)
    y, chosen = x.new_empty(shape), x.new_empty(shape if choosing else (0,), dtype=torch.uint8)
    job, room = Job.from_buffer_copy(known), room_of(floats)
    job.x, job.weight, job.bias, job.y, job.chosen = _at(x), _at(weight), _at(bias), _at(y), _at(chosen)
    job.room = room.data_ptr()
    table().convolution_forward(ctypes.byref(job), shares)
    return y, chosen


@functools.lru_cache(maxsize=256)
def _block(kernel: Any, strides: Any, padding: Any, dilation: Any, activation: str, pool: str) -> Block:
    return Block(kernel, strides, padding, dilation, activation, pool)


def _run_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kernel: list[int],
    strides: list[int],
    padding: list[int],
    dilation: list[int],
    activation: str,
    pool: str,
    winograd: bool,
    training: bool,
) -> tuple[Tensor, Tensor]:
    block = _block(tuple(kernel), tuple(strides), tuple(padding), tuple(dilation), activation, pool)
    return _forward(x, weight, bias, block, winograd, training)


def _run_backward(
    d_y: Tensor,
    x: Tensor,
    weight: Tensor,
    y: Tensor,
    chosen: Tensor,
    kernel: list[int],
    strides: list[int],
    padding: list[int],
    dilation: list[int],
    activation: str,
    pool: str,
    winograd: bool,
    d_x: bool,
    d_weight: bool,
    d_bias: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, weight (F, k, k, C) and bias; empty where not asked for."""
    block = _block(tuple(kernel), tuple(strides), tuple(padding), tuple(dilation), activation, pool)
    shares = shares_of(x.shape, weight.shape[0], block, threads())
    known, floats, _ = prepared(x.shape, weight.shape[0], block, winograd, True, True, shares)
    job, room = Job.from_buffer_copy(known), room_of(floats)
    into = _gradients(x, weight, d_x, d_weight, d_bias)
    job.x, job.weight, job.y, job.chosen, job.d_y = _at(x), _at(weight), _at(y), _at(chosen), _at(d_y)
    job.d_x, job.d_weight, job.d_bias = (t.data_ptr() if t.numel() else None for t in into)
    job.room = room.data_ptr()
    table().convolution_backward(ctypes.byref(job), shares)
    return into


def _gradients(x: Tensor, weight: Tensor, d_x: bool, d_weight: bool, d_bias: bool) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.empty_like(x) if d_x else x.new_empty(0),
        torch.empty_like(weight) if d_weight else x.new_empty(0),
        x.new_empty(weight.shape[0] if d_bias else 0),
    )


def _forward_shapes(x: Tensor, weight: Tensor, bias: Tensor | None, *given: Any) -> tuple[Tensor, Tensor]:
    block = _block(*map(tuple, given[:4]), *given[4:6])
    shape = (x.shape[0], *block.sizes(x.shape[1], x.shape[2])[2:], weight.shape[0])
    chosen = shape if given[7] and chooses(block) else (0,)
    return x.new_empty(shape), x.new_empty(chosen, dtype=torch.uint8)


def _backward_shapes(d_y: Tensor, x: Tensor, weight: Tensor, y: Tensor, chosen: Tensor, *given: Any) -> Any:
    return _gradients(x, weight, *given[7:])


_GEOMETRY = "int[] kernel, int[] strides, int[] padding, int[] dilation, str activation, str pool, bool winograd"
_convolution = operation(
    f"convolution(Tensor x, Tensor weight, Tensor? bias, {_GEOMETRY}, bool training) -> (Tensor, Tensor)",
    _run_forward,
    _forward_shapes,
)
_convolution_backward = operation(
    f"convolution_backward(Tensor d_y, Tensor x, Tensor weight, Tensor y, Tensor chosen, {_GEOMETRY}, bool d_x,"
    " bool d_weight, bool d_bias) -> (Tensor, Tensor, Tensor)",
    _run_backward,
    _backward_shapes,
)


class _Convolution(torch.autograd.Function):
    """The block of x (B, H, W, C), weight (F, C, k, k) and bias."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, block: Block, winograd: bool, training: bool
    ) -> Tensor:
        x, turned = x.contiguous(), weight.permute(0, 2, 3, 1).contiguous()  # the latter (F, k, k, C): a view as a rule
        given = (block.kernel, block.strides, block.padding, block.dilation, block.activation, block.pool, winograd)
        y: Tensor
        y, chosen = _convolution(x, turned, None if bias is None else bias.contiguous(), *given, training)
        if training:
            ctx.save_for_backward(x, weight, bias, turned, y, chosen)
            ctx.block, ctx.given = block, given
        return y

    @staticmethod
    def backward(ctx: Any, d_y: Tensor) -> Any:
        x, weight, bias, turned, y, chosen = ctx.saved_tensors
        needs = ctx.needs_input_grad
        if torch.is_grad_enabled():  # gradients of gradients are asked for: torch's operations have them
            return (*stock_gradients(x, weight, bias, d_y, ctx.block, needs[:3]), None, None, None)
        d_x, d_w, d_b = _convolution_backward(
            d_y.contiguous(), x, turned, y, chosen, *ctx.given, needs[0], needs[1], bias is not None and needs[2]
        )
        return (
            d_x if needs[0] else None, d_w.permute(0, 3, 1, 2) if needs[1] else None, d_b if needs[2] else None,
            None, None, None,
        )  # fmt: skip


def stock_gradients(
    x: Tensor, weight: Tensor, bias: Tensor | None, d_y: Tensor, block: Block, needs: tuple[bool, ...]
) -> list[Tensor | None]:
    """The gradients by torch's own operations, which can be differentiated again."""
    given = [x, weight, bias]
    wanted = [tensor for tensor, needed in zip(given, needs, strict=True) if tensor is not None and needed]
    found = iter(torch.autograd.grad(run_stock(x, weight, bias, block), wanted, d_y, create_graph=True))
    return [next(found) if tensor is not None and needed else None for tensor, needed in zip(given, needs, strict=True)]


def run_native(x: Tensor, weight: Tensor, bias: Tensor | None, block: Block, *, winograd: bool) -> Tensor:
    """The block as one native call in each direction: x (B, H, W, C), weight (F, C, k, k) -> (B, P, Q, F)."""
    if winograd and not block.has_windows:
        raise ShapeError("Winograd's way is for 3 × 3 kernels with strides and dilation 1", got=block)
    needed = x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    training = needed and torch.is_grad_enabled()  # asked here: inside the function it is always off
    if not training:  # straight to the kernel: torch's ways around it take as long as a small convolution
        return _forward(
            x.detach().contiguous(), weight.detach().permute(0, 2, 3, 1).contiguous(),
            None if bias is None else bias.detach().contiguous(), block, winograd, False,
        )[0]  # fmt: skip
    y: Tensor = _Convolution.apply(x, weight, bias, block, winograd, training)  # type: ignore[no-untyped-call]
    return y


def run_stock(x: Tensor, weight: Tensor, bias: Tensor | None, block: Block) -> Tensor:
    """The same by torch's operations, one after the other.

    >>> run_stock(torch.ones(1, 4, 4, 1), torch.ones(1, 1, 3, 3), None, Block((3, 3), pool="max")).item()
    9.0
    """
    top, bottom, left, right = block.padding
    z = x.permute(0, 3, 1, 2)  # (B, H, W, C) -> (B, C, H, W)
    padding = (top, left)
    if top != bottom or left != right:
        z, padding = F.pad(z, (left, right, top, bottom)), (0, 0)
    z = F.conv2d(z, weight, bias, block.strides, padding, block.dilation)
    return activate_and_pool(z, block).permute(0, 2, 3, 1)  # -> (B, P, Q, F)


def activate_and_pool(z: Tensor, block: Block) -> Tensor:
    """What follows the convolution of a block: z (B, F, H, W) -> (B, F, P, Q).

    >>> activate_and_pool(torch.tensor([[[[-1.0, 0.0], [2.0, 3.0]]]]), Block((3, 3), activation="relu", pool="average"))
    tensor([[[[1.2500]]]])
    """
    if block.activation != "linear":
        z = torch.relu(z) if block.activation == "relu" else torch.tanh(z)
    if block.pool:
        z = F.max_pool2d(z, 2) if block.pool == "max" else F.avg_pool2d(z, 2)
    return z
