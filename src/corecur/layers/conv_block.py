"""A convolution over images and what follows it by a native kernel, where one takes it.

B batch, H × W positions, C channels, F filters, k × k kernel, P × Q positions left after pooling.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from corecur.kernels.choose import decide
from corecur.kernels.convolution import Block
from corecur.kernels.convolution_kernels import CONVOLUTIONS, ConvolutionRequest
from corecur.kernels.products import is_plain
from corecur.kernels.traced import traced_by
from corecur.layers.activation import Function, find_activation


class Geometry(NamedTuple):
    """Where a convolution looks: ``padding`` is top, bottom, left, right."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, ...]


@functools.lru_cache(maxsize=1024)
def _request(geometry: Geometry, activation: str, pool: str, shape: torch.Size, *rest: Any) -> ConvolutionRequest:
    """One request for each combination: to make it takes as long as a small convolution."""
    return ConvolutionRequest(Block(*geometry, activation, pool), *shape, *rest)  # type: ignore[arg-type]


def native_activation(function: Function) -> str | None:
    """The name under which the native kernels know an activation, or None.

    >>> native_activation(torch.relu), native_activation(torch.erf)
    ('relu', None)
    """
    return _KNOWN.get(id(function))


def _is_like(x: Tensor, tensor: Tensor | None) -> bool:
    """Whether it is nothing but numbers in memory, of the type and in the place that ``x`` has them."""
    return tensor is None or (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.layout is torch.strided
        and tensor.dtype is x.dtype
        and tensor.device == x.device
    )


def run_block(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    *,
    activation: str = "linear",
    pool: str = "",
    groups: int = 1,
) -> Tensor | None:
    """x (B, H, W, C), weight (F, C, k, k) -> (B, P, Q, F), or None where torch's operations are to run.

    >>> y = run_block(torch.ones(2, 4, 4, 1), torch.ones(8, 1, 3, 3), None, Geometry((3, 3), (1, 1), (0,) * 4, (1, 1)))
    >>> y is None or (y.shape, y.unique().item())
    (torch.Size([2, 2, 2, 8]), 9.0)
    """
    if torch.compiler.is_compiling():
        return None  # the compiler makes kernels of its own, and would follow the choice below step by step
    if x.is_meta or not all(_is_like(x, tensor) for tensor in (x, weight, bias)):
        return None
    grad = torch.is_grad_enabled()
    to_input = grad and x.requires_grad
    request = _request(
        geometry, activation, pool, x.shape, weight.shape[0], groups, to_input or (grad and weight.requires_grad),
        to_input, x.device.type, _NAMES.get(x.dtype, "another type"), x.is_cpu and torch.is_autocast_enabled("cpu"),
        traced_by(),
    )  # fmt: skip
    choice = decide(request)
    if choice.kernel == "torch":
        return None
    return CONVOLUTIONS[choice.kernel].run(x, weight, bias, request.block)


def plain_block(
    shape: torch.Size,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    *,
    activation: str,
    pool: str,
    groups: int,
    training: bool,
    to_input: bool,
) -> tuple[Block, str] | None:
    """The block that ``run_block`` would run for an input of this shape in float32 on a CPU, and by which kernel.

    None where the weights are something else. ``training`` and ``to_input`` say whether gradients are asked for, and
    whether of the input too.
    """
    if not all(_is_plain(tensor) for tensor in (weight, bias)):
        return None
    request = _request(geometry, activation, pool, shape, weight.shape[0], groups, training, to_input)
    return request.block, decide(request).kernel


def _is_plain(tensor: Tensor | None) -> bool:
    return tensor is None or (is_plain(tensor) and tensor.layout is torch.strided)


#: Activations that the kernels know, by the functions' identities: what is callable need not be hashable.
_KNOWN = {id(find_activation(name)): name for name in ("linear", "relu", "tanh")}
_NAMES: dict[Any, str] = {
    torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16", torch.float16: "float16",
}  # fmt: skip
