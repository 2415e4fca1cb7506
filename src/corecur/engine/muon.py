"""Muon: momentum, orthogonalised, for matrices and convolution kernels; another optimiser for everything else.

Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks" (kellerjordan.github.io/posts/muon).

Shapes: O outputs, I inputs times kernel size (a kernel (out, in, kh, kw) is the matrix (out, in·kh·kw)), n matrices of
one shape, R the smaller and L the larger of O and I.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, overload

import torch
from torch import Tensor

from corecur import runtime

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # the steepest at 0 of the odd quintics that keep [0, 1] near 1
Scale = Literal["original", "match_rms_adamw"]


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """The nearest orthogonal matrix to (O, I), or to each of (n, O, I), roughly: singular values end in 0.7 … 1.2.

    Newton-Schulz with a quintic: X ← aX + b(XXᵀ)X + c(XXᵀ)²X, begun from X / ‖X‖. In the dtype given.

    >>> x = orthogonalise(torch.tensor([[3.0, 0.0], [0.0, 2.0]]))
    >>> bool((torch.linalg.svdvals(x) - 1).abs().max() < 0.35)
    True
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices  # (…, R, L)
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    rows, columns = x.shape[-2:]
    x = _by_gram(x, steps) if x.dtype == torch.float32 and columns >= 2 * rows else _by_quintic(x, steps)
    return x.mT if tall else x


def _by_quintic(x: Tensor, steps: int) -> Tensor:
    a, b, c = COEFFICIENTS
    add_product = torch.addmm if x.dim() == 2 else torch.baddbmm
    for _ in range(steps):
        gram = x @ x.mT  # (…, R, R)
        x = add_product(x, add_product(gram, gram, gram, beta=b, alpha=c), x, beta=a)  # (…, R, L)
    return x


def _by_gram(x: Tensor, steps: int) -> Tensor:
    """The same iteration on the Gram matrix alone: X_k = P_k X, with P_k and X_k X_kᵀ polynomials in X Xᵀ.

    Two products with the long side instead of ten: twice as fast for 3×3 kernels. Squaring costs digits, so this is
    for float32, where the singular values lost (below 1e-4 of the norm) would stay below 0.1 anyway.
    """
    a, b, c = COEFFICIENTS
    add_product = torch.addmm if x.dim() == 2 else torch.baddbmm
    gram = x @ x.mT  # (…, R, R)
    product: Tensor | None = None
    for _ in range(steps):
        factor = add_product(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=-2, dim2=-1).add_(a)
        product = factor if product is None else factor @ product
        gram = factor @ gram @ factor
    return x if product is None else product @ x  # (…, R, L)


def is_matrix(parameter: Tensor) -> bool:
    """Whether Muon updates this parameter: a matrix or kernel with more than one row and column."""
    return parameter.dim() >= 2 and len(parameter) > 1 and parameter.numel() > len(parameter)


def together(matrices: list[Tensor]) -> Iterable[list[int]]:
    """The indices of matrices to be stacked: on a GPU those of one shape; a CPU is faster with one at a time.

    >>> together([torch.zeros(2, 3), torch.zeros(2, 3)])
    [[0], [1]]
    """
    if all(matrix.device.type == "cpu" for matrix in matrices):
        return [[index] for index in range(len(matrices))]
    by_shape: dict[tuple[torch.Size, torch.device], list[int]] = defaultdict(list)
    for index, matrix in enumerate(matrices):
        by_shape[matrix.shape, matrix.device].append(index)
    return list(by_shape.values())


def rate_factor(outputs: int, inputs: int, scale: Scale) -> float:
    """What the rate is multiplied by for a matrix (O, I).

    ``original``: √max(1, O / I) (Jordan). ``match_rms_adamw``: 0.2 √max(O, I), so that rates and decays tuned for AdamW
    can stay (Liu et al. 2025, "Muon is scalable for LLM training", equation 4).

    >>> rate_factor(64, 16, "original")
    2.0
    """
    return 0.2 * math.sqrt(max(outputs, inputs)) if scale == "match_rms_adamw" else math.sqrt(max(1, outputs / inputs))


class MuonOptimizer(torch.optim.Optimizer):
    """Muon for the groups with ``orthogonal=True``, and for the others the optimiser that ``make_other`` makes.

    For a matrix with gradient G: M ← μM + (1 - μ)G; U = orthogonalise(μM + (1 - μ)G) (Nesterov) or of M;
    W ← (1 - lr·decay)W - lr · rate_factor · U. On a GPU, matrices of one shape go through the iteration together. It
    computes in bfloat16 where the hardware multiplies that faster, else in float32.

    ``unit_rows`` first brings each W to the norm √O, so that the rate is the relative change of a matrix whatever its
    history (Jordan 2024, CIFAR-10 speed runs); it suits kernels followed by a normalisation, to which their scale is
    nothing.

    >>> weight, bias = torch.nn.Parameter(torch.ones(4, 3)), torch.nn.Parameter(torch.zeros(4))
    >>> optimizer = MuonOptimizer(
    ...     [{"params": [weight], "orthogonal": True}, {"params": [bias], "lr": 1e-3, "orthogonal": False}],
    ...     torch.optim.AdamW, lr=0.02)
    >>> (weight.sum() + bias.sum()).backward()
    >>> optimizer.step()
    >>> round(float(bias[0].detach()), 6)
    -0.001
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        make_other: Callable[[list[dict[str, Any]]], torch.optim.Optimizer],
        *,
        lr: float,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        ns_steps: int = 5,
        scale: Scale = "original",
        unit_rows: bool = False,
    ) -> None:
        self._make_other = make_other
        super().__init__(groups, {"lr": lr, "orthogonal": False})
        settings = {
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "ns_steps": ns_steps,
            "scale": scale,
            "unit_rows": unit_rows,
        }
        for group in self.param_groups:
            if group["orthogonal"]:
                for key, value in settings.items():
                    group.setdefault(key, value)
        self._link()

    def _link(self) -> None:
        """Let the other optimiser work on this one's own groups and state, so that there is one state to save."""
        groups = [group for group in self.param_groups if not group["orthogonal"]]
        self._other = self._make_other(groups) if groups else None
        if self._other is not None:
            self._other.state = self.state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # also the last act of load_state_dict, which puts new groups and state in place
        self._link()

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_make_other": self._make_other}

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["orthogonal"]:
                self._step_matrices(group)
        if self._other is not None:
            self._other.step()
        return loss

    def _step_matrices(self, group: Mapping[str, Any]) -> None:
        parameters = [p for p in group["params"] if p.grad is not None]
        if not parameters:
            return
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        if group["unit_rows"]:
            norms = torch._foreach_norm(parameters)
            torch._foreach_mul_(
                parameters, [math.sqrt(len(p)) / n.clamp_min(1e-12) for p, n in zip(parameters, norms, strict=True)]
            )
        directions = self._directions(parameters, group["momentum"], group["nesterov"])
        for indices in together(directions):
            chosen = [directions[i] for i in indices]
            stack = torch.stack(chosen) if len(chosen) > 1 else chosen[0]  # (n, O, I) or (O, I)
            updates = orthogonalise(stack.to(compute_dtype(stack)), group["ns_steps"]).to(stack.dtype)
            rate = group["lr"] * rate_factor(stack.shape[-2], stack.shape[-1], group["scale"])
            for i, update in zip(indices, updates.unbind() if len(chosen) > 1 else [updates], strict=True):
                parameters[i].add_(update.reshape(parameters[i].shape), alpha=-rate)

    def _directions(self, parameters: list[Tensor], momentum: float, nesterov: bool) -> list[Tensor]:
        """What is to be orthogonalised for each parameter, as a matrix (O, I)."""
        gradients: list[Tensor] = [p.grad for p in parameters if p.grad is not None]
        buffers = [self._buffer(p) for p in parameters]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        ahead = torch._foreach_lerp(gradients, buffers, momentum) if nesterov else buffers
        return [direction.reshape(len(direction), -1) for direction in ahead]

    def _buffer(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def compute_dtype(stack: Tensor) -> torch.dtype:
    """bfloat16 where its products are faster: on GPUs of capability 8 and up, for wide matrices on CPUs with tiles."""
    if stack.dtype != torch.float32 or not runtime.multiplies_bfloat16(stack.device):
        return stack.dtype
    wide_enough = stack.device.type == "cuda" or min(stack.shape[-2:]) >= 128
    return torch.bfloat16 if wide_enough else torch.float32
