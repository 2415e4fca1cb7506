"""Products of two matrices: by the library's own kernel where that is the faster one, by torch elsewhere.

M, N rows and columns of what comes out, K the depth.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from corecur.kernels.library import info, native, processor, table, threads
from corecur.kernels.native_softmax import time_first
from corecur.kernels.traced import traced_by

#: Multiplications from which the kernel repays its call, and a linear layer Python's way into it and back too
#: (microseconds of the layer and of torch's, there and back on two cores with AVX-512: 128 × 128 × 64 81 and 63, 128 ×
#: 128 × 128 85 and 95).
_WORTH_A_CALL, _WORTH_A_LAYER = 1 << 19, 1 << 21
#: Rows from which it repays packing the other factor.
_WORTH_PACKING = 8
#: Instruction sets with which the kernel was measured.
_MEASURED = ("avx512", "avx2")
#: Columns up to which it is taken beside MKL on Intel's own processors too, as MKL is slow at few (2560 × 128 × 10:
#: 0.03 ms, MKL 0.15). On others MKL leaves AVX-512 unused (2560 × 128 × 512 on an AMD one: 0.69 ms, MKL 1.57).
_NARROW = 32
#: Multiplications up to which it is taken with AVX2, which MKL has for all processors (two cores of Zen 3: 16 × 512 ×
#: 512 0.8 of MKL's time, 256 × 1600 × 128 as long, 512 × 2560 × 128 1.13, 2048 × 4096 × 512 1.22).
_MOST_BY_AVX2 = 1 << 26
#: Multiplications up to which it is taken on Intel's processors for what a call of torch's costs beside its product,
#: some 50 µs in a training: not measured there, but taken from its share of the peak on others.
_MOST_BESIDE_MKL = 1 << 24
#: Multiplications from which it repays that a product by torch comes in parts: measured with AVX-512 and AVX2.
_WORTH_PARTS = 10_000_000
#: Rows of a part that a core multiplies as fast as it does many.
_ROWS = 32


class Product(ctypes.Structure):
    """``CorecurProduct`` of csrc/product.hpp: one product, or several over blocks of rows or of the depth."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("add", "deep")),
        *(
            (name, ctypes.c_int64)
            for name in (
                "rows", "columns", "depth", "a_row", "a_depth", "b_depth", "b_column", "out_row", "a", "b", "out",
                "down", "across", "a_down", "a_across", "b_down", "b_across", "out_down", "out_across",
            )
        ),
    ]  # fmt: skip


def measured() -> bool:
    """Whether the kernel is there, with an instruction set it was measured with."""
    return native() is not None and info().isa in _MEASURED


def run_products(jobs: ctypes.Array[Product], a: Tensor, b: Tensor, out: Tensor, bias: Tensor | None = None) -> Tensor:
    """All of the products, which have the same columns, one after the other in one native call; ``out``."""
    at = None if bias is None else bias.data_ptr()
    table().products(jobs, len(jobs), a.data_ptr(), b.data_ptr(), at, out.data_ptr(), threads())
    return out


def product(a: Tensor, b: Tensor, out: Tensor | None = None, *, bias: Tensor | None = None) -> Tensor:
    """a (M, K) times b (K, N) plus ``bias`` (N), into ``out`` where given.

    None of them need be contiguous; no gradient is recorded.

    >>> product(torch.eye(2), torch.tensor([[1.0, 2.0], [3.0, 4.0]]), bias=torch.ones(2))
    tensor([[2., 3.],
            [4., 5.]])
    """
    if _is_faster(a, b, bias) and (out is None or out.stride(1) == 1):
        return _native_product(a, b, a.new_empty(a.shape[0], b.shape[1]) if out is None else out, bias)
    if bias is not None:
        return torch.addmm(bias, a, b) if out is None else torch.addmm(bias, a, b, out=out)
    return _product_in_parts(a, b, out)


def _is_faster(a: Tensor, b: Tensor, bias: Tensor | None) -> bool:
    """Whether the kernel takes the factors, and is faster than torch, which is left to refuse those that do not fit."""
    (rows, depth), columns = a.shape, b.shape[1]
    multiplications = rows * depth * columns
    return (
        multiplications >= _WORTH_A_CALL
        and rows >= _WORTH_PACKING
        and (columns <= _NARROW or processor() != "intel")
        and 1 in a.stride()
        and b.shape[0] == depth
        and (bias is None or (bias.shape == (columns,) and bias.stride() == (1,)))
        and not torch.compiler.is_compiling()
        and is_plain(a)
        and is_plain(b)
        and (bias is None or is_plain(bias))
        and measured()
        and (multiplications <= _MOST_BY_AVX2 or info().isa == "avx512")
    )


def is_plain(tensor: Tensor) -> bool:
    """Whether it is nothing but float32 numbers in memory, as the kernel takes them.

    >>> is_plain(torch.zeros(2)), is_plain(torch.zeros(2, device="meta"))
    (True, False)
    """
    return type(tensor) in (Tensor, torch.nn.Parameter) and tensor.dtype == torch.float32 and tensor.is_cpu


def keeps_up(rows: int, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the kernel takes a linear layer of so many rows, and no longer than torch by more than a call's costs.

    >>> keeps_up(2, torch.zeros(3, 4, dtype=torch.float64), None)
    False
    """
    plain = is_plain(weight) and (bias is None or is_plain(bias))
    most = _MOST_BY_AVX2 if info().isa == "avx2" else _MOST_BESIDE_MKL if processor() == "intel" else None
    return plain and measured() and (most is None or rows * weight.numel() <= most)


def _native_product(a: Tensor, b: Tensor, out: Tensor, bias: Tensor | None) -> Tensor:
    (rows, depth), (a_row, a_depth), (b_depth, b_column) = a.shape, a.stride(), b.stride()
    job = Product(
        False, False, rows, b.shape[1], depth, a_row, a_depth, b_depth, b_column, out.stride(0), 0, 0, 0, 1, 1
    )
    return run_products((Product * 1)(job), a, b, out, bias)


def _product_in_parts(a: Tensor, b: Tensor, out: Tensor | None) -> Tensor:
    """The product by torch, a part of the rows on each core.

    A product that several cores share keeps them waiting for each other; as a batch of products each has its own. On
    two cores with AVX-512 that takes 0.81 to 0.95 of the time for 2560 × 512 × 128 and less, and as long beyond.
    """
    (rows, depth), parts = a.shape, threads()
    if parts == 1 or rows % parts or rows < _ROWS * parts or rows * depth * b.shape[1] < _WORTH_PARTS:
        return torch.mm(a, b) if out is None else torch.mm(a, b, out=out)
    split, same = a.view(parts, -1, depth), b.expand(parts, *b.shape)
    if out is None:
        return torch.bmm(split, same).flatten(0, 1)
    torch.bmm(split, same, out=out.view(parts, -1, b.shape[1]))
    return out


class _Linear(torch.autograd.Function):
    """x (…, C) times weight (U, C) turned, and a bias; where the gradient is to have one itself, torch computes it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight if ctx.needs_input_grad[0] else None)
        return _multiplied(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, d_y: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        multiply = torch.mm if torch.is_grad_enabled() else product
        rows = _rows(d_y.contiguous())
        return (
            None if weight is None else multiply(rows, weight).view(*d_y.shape[:-1], -1),
            None if x is None else multiply(rows.t(), _rows(x)),
            rows.sum(0) if ctx.needs_input_grad[2] else None,
        )


def _multiplied(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What the kernel gives, which is known to be the faster one."""
    y = x.new_empty(*x.shape[:-1], weight.shape[0])
    _native_product(_rows(x), weight.t(), _rows(y), bias)
    return y


def _rows(x: Tensor) -> Tensor:
    return x.view(-1, x.shape[-1])


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (…, C) times weight (U, C) turned, plus bias (U): (…, U), as of ``torch.nn.functional.linear``.

    What lies in memory as (T, B, C) stays in that order.

    >>> linear(torch.ones(2, 3), torch.ones(1, 3), torch.tensor([4.0]))
    tensor([[7.],
            [7.]])
    """
    if time_first(x):
        return linear(x.transpose(0, 1), weight, bias).transpose(0, 1)
    if torch.compiler.is_compiling():  # asked first: a compiler cannot follow the other questions
        return F.linear(x, weight, bias)
    watched = torch.is_autocast_enabled("cpu") or traced_by() is not None
    if watched or x.dim() < 2 or x.numel() * weight.shape[0] < _WORTH_A_LAYER or not x.is_contiguous():
        return F.linear(x, weight, bias)
    if not _is_faster(_rows(x), weight.t(), bias):
        return F.linear(x, weight, bias)
    if not torch.is_grad_enabled():
        return _multiplied(x, weight, bias)
    y: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return y
