"""A convolution as one product for each place of its kernel, over the positions where that place meets the input.

Where the input is hardly larger than the kernel, most of what the kernel sees is padding: of a 3 × 3 kernel over 2 × 2
positions 20 of 36 products are with zeros. Here they are left out, and the kernel is read as it lies.

B batch, H × W positions, P × Q positions of the output, C channels, F filters, k × k kernel.
"""

from __future__ import annotations

import ctypes
import functools
import math
from typing import Any

import torch
from torch import Tensor

from corecur.kernels.convolution import Block, activate_and_pool, stock_gradients
from corecur.kernels.products import Product, is_plain, measured, run_products

#: Place in the kernel, and the slices of positions of the output and of the input that meet there.
Tap = tuple[int, int, tuple[slice, slice], tuple[slice, slice]]


@functools.lru_cache(maxsize=256)
def taps(block: Block, height: int, width: int) -> tuple[Tap, ...]:
    """Every place of the kernel that meets the input at all.

    >>> [(i, to[0]) for i, j, to, _ in taps(Block((3, 1), padding=(1, 1, 0, 0)), 2, 1)]
    [(0, slice(1, 2, None)), (1, slice(0, 2, None)), (2, slice(0, 1, None))]
    """
    rows, columns = (_meetings(block, axis, size) for axis, size in enumerate((height, width)))
    return tuple(
        (i, j, (down[0], across[0]), (down[1], across[1])) for i, down in rows.items() for j, across in columns.items()
    )


def _meetings(block: Block, axis: int, size: int) -> dict[int, tuple[slice, slice]]:
    """Place in the kernel along an axis -> outputs and inputs that meet there."""
    before, _ = block.padding[2 * axis : 2 * axis + 2]
    stride, apart = block.strides[axis], block.dilation[axis]
    outputs = block.sizes(size, size)[axis]
    found = {}
    for place in range(block.kernel[axis]):
        offset = place * apart - before  # of the input from stride · output
        first = max(0, -(offset // stride))
        last = min(outputs - 1, (size - 1 - offset) // stride)
        if first <= last:
            start = first * stride + offset
            found[place] = slice(first, last + 1), slice(start, start + (last - first) * stride + 1, stride)
    return found


def met(block: Block, height: int, width: int) -> float:
    """The share of products that are not with padding.

    >>> round(met(Block((3, 3), padding=(1, 1, 1, 1)), 2, 2), 3)
    0.444
    """
    shares = []
    for axis, size in enumerate((height, width)):
        outputs = block.sizes(height, width)[axis]
        meetings = sum(to.stop - to.start for to, _ in _meetings(block, axis, size).values())
        shares.append(meetings / max(1, outputs * block.kernel[axis]))
    return float(shares[0] * shares[1])


def _strides(*sizes: int) -> tuple[int, ...]:
    """Floats from one to the next along each axis of an array in one piece."""
    return tuple(math.prod(sizes[axis + 1 :]) for axis in range(len(sizes)))


@functools.lru_cache(maxsize=256)
def jobs_of(block: Block, shape: tuple[int, ...], filters: int, way: str) -> ctypes.Array[Product]:
    """The products of all places of the kernel for x (H, W, B, C): for y, for d x or for d weight."""
    height, width, batch, channels = shape
    x_apart, y_apart = _strides(*shape), _strides(*block.sizes(height, width)[:2], batch, filters)
    w_apart = _strides(filters, *block.kernel, channels)
    found = []
    for i, j, to, of in taps(block, height, width):
        x, y, w = _blocks(x_apart, of), _blocks(y_apart, to), (i * w_apart[1] + j * w_apart[2], 0, 0)
        # M, N, K; the strides of both factors and of the product's rows; where they lie
        sizes, strides, places = {
            "y": ((batch, filters, channels), (channels, 1, 1, w_apart[0], filters), (x, w, y)),
            "d x": ((batch, channels, filters), (filters, 1, w_apart[0], 1, channels), (y, w, x)),
            "d weight": ((filters, channels, batch), (1, filters, channels, 1, w_apart[0]), (y, x, w)),
        }[way]
        deep, count = way == "d weight", (to[0].stop - to[0].start, to[1].stop - to[1].start)
        begins, apart = (place[0] for place in places), (step for place in places for step in place[1:])
        found.append(Product(not deep, deep, *sizes, *strides, *begins, *count, *apart))
    return (Product * len(found))(*found)


def _blocks(apart: tuple[int, ...], at: tuple[slice, slice]) -> tuple[int, int, int]:
    """Where the first of some positions begins, and how far it is to the next ones, down and across."""
    down, across = at
    return (
        down.start * apart[0] + across.start * apart[1], (down.step or 1) * apart[0], (across.step or 1) * apart[1]
    )  # fmt: skip


class _Taps(torch.autograd.Function):
    """The convolution and its bias: x (H, W, B, C), weight (F, k, k, C) -> (P, Q, B, F)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, block: Block) -> Tensor:
        height, width, batch, channels = x.shape
        shape = (*block.sizes(height, width)[:2], batch, len(weight))
        y = x.new_zeros(shape) if bias is None else bias.expand(shape).clone(memory_format=torch.contiguous_format)
        if is_plain(x) and measured():
            run_products(jobs_of(block, x.shape, len(weight), "y"), x, weight, y)
        else:
            for i, j, to, of in taps(block, height, width):
                _add_product(y[to], x[of].reshape(-1, channels), weight[:, i, j].t())
        ctx.save_for_backward(x, weight, bias)
        ctx.block = block
        return y

    @staticmethod
    def backward(ctx: Any, d_y: Tensor) -> Any:
        x, weight, bias = ctx.saved_tensors
        needs, block = ctx.needs_input_grad, ctx.block
        if torch.is_grad_enabled():  # gradients of gradients are asked for: torch's operations have them
            return (*_differentiable(x, weight, bias, d_y, block, needs[:3]), None)
        d_y = d_y.contiguous()
        d_x = torch.zeros_like(x) if needs[0] else None
        places = taps(block, *x.shape[:2])
        d_weight = None
        if needs[1]:  # large beside its products: written once, where no place is left out
            every = len(places) == weight.shape[1] * weight.shape[2]
            d_weight = torch.empty_like(weight) if every else torch.zeros_like(weight)
        if is_plain(x) and measured():
            if d_x is not None:
                run_products(jobs_of(block, x.shape, len(weight), "d x"), d_y, weight, d_x)
            if d_weight is not None:
                run_products(jobs_of(block, x.shape, len(weight), "d weight"), d_y, x, d_weight)
        else:
            for i, j, to, of in places:
                d = d_y[to].reshape(-1, len(weight))
                if d_x is not None:
                    _add_product(d_x[of], d, weight[:, i, j])
                if d_weight is not None:
                    torch.mm(d.t(), x[of].reshape(-1, x.shape[-1]), out=d_weight[:, i, j])
        return d_x, d_weight, d_y.sum((0, 1, 2)) if needs[2] else None, None


def _add_product(into: Tensor, a: Tensor, b: Tensor) -> None:
    """Add the product of a and b to (P, Q, B, F), without another array where its positions lie side by side."""
    p, q, batch, width = into.shape
    if (q == 1 or into.stride(1) == batch * width) and (p == 1 or into.stride(0) == q * batch * width):
        into.view(-1, width).addmm_(a, b)
    else:
        into += torch.mm(a, b).view(p, q, batch, width)


def _differentiable(
    x: Tensor, weight: Tensor, bias: Tensor | None, d_y: Tensor, block: Block, needs: tuple[bool, ...]
) -> list[Tensor | None]:
    bare = Block(block.kernel, block.strides, block.padding, block.dilation)
    given = x.permute(2, 0, 1, 3), weight.permute(0, 3, 1, 2), bias, d_y.permute(2, 0, 1, 3)
    d_x, d_weight, d_bias = stock_gradients(*given, bare, needs)
    return [
        None if d_x is None else d_x.permute(1, 2, 0, 3),
        None if d_weight is None else d_weight.permute(0, 2, 3, 1),
        d_bias,
    ]


def run_taps(x: Tensor, weight: Tensor, bias: Tensor | None, block: Block) -> Tensor:
    """The block place by place: x (B, H, W, C), weight (F, C, k, k) -> (B, P, Q, F).

    >>> run_taps(torch.ones(1, 2, 2, 1), torch.ones(1, 1, 3, 3), None, Block((3, 3), padding=(1, 1, 1, 1))).sum().item()
    16.0
    """
    turned = weight.permute(0, 2, 3, 1).contiguous()  # (F, k, k, C): a view as a rule
    y: Tensor = _Taps.apply(x.permute(1, 2, 0, 3).contiguous(), turned, bias, block)  # type: ignore[no-untyped-call]
    # Batch and filters as one axis: torch pools what lies channels last, and knows no other order that ends in filters.
    merged = activate_and_pool(y.flatten(2).permute(2, 0, 1)[None], block)[0].permute(1, 2, 0)  # (P, Q, B · F)
    return merged.reshape(*merged.shape[:2], *y.shape[2:]).permute(2, 0, 1, 3)  # -> (B, P, Q, F)
