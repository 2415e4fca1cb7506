"""The optimisers by name: Keras' words and defaults, torch's mathematics and fused kernels.

A row is a frozen dataclass, its config; ``make`` gives the ``torch.optim.Optimizer``. Where the two libraries differ:

- Momentum (SGD, RMSprop): torch keeps a sum of gradients and multiplies it by the rate of the step, Keras sums steps,
  each with the rate of its time. The same while the rate stays.
- ``epsilon``: added to the square root of the second moment after bias correction (Adam, AdamW), before it in Keras;
  beside the root (RMSprop, Adagrad), under it in Keras. It decides nothing unless gradients are smaller than 1e-4.
- ``weight_decay`` is Keras' and AdamW's in all of them, w ← (1 - rate · decay) w, not a term of the gradient as in
  ``torch.optim.SGD``: with momentum μ torch's λ corresponds to about λ / (1 - μ) here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import torch
from torch import Tensor

from corecur.engine.muon import MuonOptimizer, Scale, is_matrix
from corecur.engine.native_optimizers import NativeAdam, NativeAdamW, NativeRMSprop, NativeSGD
from corecur.engine.optimizer import Group, Optimizer, fastest, grouped, listed, with_hooks
from corecur.engine.schedules import Schedule
from corecur.errors import ConfigError
from corecur.names import Table

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Muon",
    "Nadam",
    "Optimizer",
    "OptimizerFactory",
    "RMSprop",
    "find_optimizer",
]

MakeOptimizer = Callable[[list[Tensor]], torch.optim.Optimizer]
OptimizerSpec = str | Optimizer | type | torch.optim.Optimizer | MakeOptimizer

FUSED = frozenset({"cpu", "cuda"})
FUSED_ADAGRAD = frozenset({"cpu"})


@dataclass(frozen=True)
class SGD(Optimizer):
    """w ← w - rate · v with v ← momentum · v + gradient; Nesterov steps by gradient + momentum · v instead.

    ``decay_only_matrices`` spares biases and the parameters of normalisations the weight decay.

    >>> SGD(0.1, momentum=0.9, nesterov=True).momentum
    0.9
    """

    learning_rate: float | Schedule = 0.01
    _: KW_ONLY
    momentum: float = 0.0
    nesterov: bool = False
    decay_only_matrices: bool = False

    def make(self, parameters: Iterable[Tensor], names: Sequence[str] | None = None) -> torch.optim.Optimizer:
        groups = grouped(parameters, self.decay, self.decay_only_matrices, key="decay")
        nesterov = self.nesterov and self.momentum > 0  # without momentum it is the same step, and torch refuses it
        settings = fastest(groups, FUSED)
        return NativeSGD(groups, lr=self.rate, momentum=self.momentum, nesterov=nesterov, **settings)


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """w ← w - rate · g / (√v + ε), v ← rho · v + (1 - rho) g² (Hinton 2012, lecture 6); centred: v less the mean of g².

    >>> RMSprop().learning_rate
    0.001
    """

    learning_rate: float | Schedule = 0.001
    _: KW_ONLY
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False

    def make(self, parameters: Iterable[Tensor], names: Sequence[str] | None = None) -> torch.optim.Optimizer:
        groups = grouped(parameters, self.decay, key="decay")
        return NativeRMSprop(
            groups,
            lr=self.rate,
            alpha=self.rho,
            momentum=self.momentum,
            eps=self.epsilon,
            centered=self.centered,
            **fastest(groups),
        )


@dataclass(frozen=True)
class Adam(Optimizer):
    """w ← w - rate · m̂ / (√v̂ + ε), m̂ and v̂ the bias-corrected means of g and g² (Kingma & Ba 2015, algorithm 1).

    >>> Adam().make([torch.nn.Parameter(torch.zeros(1))]).param_groups[0]["eps"]
    1e-07
    """

    learning_rate: float | Schedule = 0.001
    _: KW_ONLY
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    amsgrad: bool = False

    def make(self, parameters: Iterable[Tensor], names: Sequence[str] | None = None) -> torch.optim.Optimizer:
        groups = grouped(parameters, self.decay)
        return NativeAdam(
            groups,
            lr=self.rate,
            betas=(self.beta_1, self.beta_2),
            eps=self.epsilon,
            amsgrad=self.amsgrad,
            decoupled_weight_decay=True,
            **fastest(groups, FUSED),
        )


@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam with weight decay beside the gradient (Loshchilov & Hutter 2019, algorithm 2).

    ``decay_only_matrices`` spares biases and the parameters of normalisations the decay.

    >>> AdamW().weight_decay
    0.004
    """

    learning_rate: float | Schedule = 0.001
    _: KW_ONLY
    weight_decay: float | None = 0.004
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    amsgrad: bool = False
    decay_only_matrices: bool = False

    def make(self, parameters: Iterable[Tensor], names: Sequence[str] | None = None) -> torch.optim.Optimizer:
        groups = grouped(parameters, self.decay, self.decay_only_matrices)
        return NativeAdamW(
            groups,
            lr=self.rate,
            betas=(self.beta_1, self.beta_2),
            eps=self.epsilon,
            amsgrad=self.amsgrad,
            **fastest(groups, FUSED),
        )


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """w ← w - rate · g / (√a + ε), a the sum of all g² so far (Duchi et al. 2011).

    >>> Adagrad().initial_accumulator_value
    0.1
    """

    learning_rate: float | Schedule = 0.001
    _: KW_ONLY
    initial_accumulator_value: float = 0.1
    epsilon: float = 1e-7

    def make(self, parameters: Iterable[Tensor], names: Sequence[str] | None = None) -> torch.optim.Optimizer:
        groups = grouped(parameters, self.decay, key="decay")
        made = torch.optim.Adagrad(
            groups,
            lr=self.rate,
            initial_accumulator_value=self.initial_accumulator_value,
            eps=self.epsilon,
            **fastest(groups, FUSED_ADAGRAD),
        )
        return with_hooks(made)


@dataclass(frozen=True)
class Nadam(Optimizer):
    """Adam with Nesterov's momentum (Dozat 2016), the momentum of step t being beta_1 (1 - 0.96^t / 2), as in Keras.

    >>> Nadam().beta_1
    0.9
    """

    learning_rate: float | Schedule = 0.001
    _: KW_ONLY
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7

    def make(self, parameters: Iterable[Tensor], names: Sequence[str] | None = None) -> torch.optim.Optimizer:
        groups = grouped(parameters, self.decay)
        return torch.optim.NAdam(
            groups,
            lr=self.rate,
            betas=(self.beta_1, self.beta_2),
            eps=self.epsilon,
            momentum_decay=1.0,  # torch's 0.004 is Dozat's 0.96^(0.004 t)
            decoupled_weight_decay=True,
            **fastest(groups),
        )


@dataclass(frozen=True)
class Muon(Optimizer):
    """Orthogonalised momentum for matrices and kernels; AdamW or Nesterov's SGD for all else, with a rate of its own.

    ``other_learning_rate`` is the rate of the others when the schedule is at its peak. ``exclude`` is a regular
    expression; parameters in whose name it is found go to the others, and embeddings do in any case. ``scale`` says how
    the size of a step depends on a matrix's shape (``muon.rate_factor``).

    >>> Muon(0.02, other="sgd", other_learning_rate=0.01).momentum
    0.95
    """

    learning_rate: float | Schedule = 0.02
    _: KW_ONLY
    momentum: float = 0.95
    nesterov: bool = True
    ns_steps: int = 5
    scale: Scale = "original"
    exclude: str | None = None
    other: Literal["adamw", "sgd"] = "adamw"
    other_learning_rate: float = 3e-4
    other_momentum: float = 0.9
    adam_beta_1: float = 0.9
    adam_beta_2: float = 0.999
    epsilon: float = 1e-7
    decay_only_matrices: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.other not in ("adamw", "sgd") or self.scale not in ("original", "match_rms_adamw"):
            raise ConfigError(
                "unknown setting of Muon",
                got=f"other={self.other!r}, scale={self.scale!r}",
                expected="other: adamw or sgd; scale: original or match_rms_adamw",
            )

    def make(self, parameters: Iterable[Tensor], names: Sequence[str] | None = None) -> torch.optim.Optimizer:
        parameters = listed(parameters)
        matrices, others = self._divided(parameters, names)
        share = self.other_learning_rate / self.peak if self.peak else 1.0
        groups: list[Group] = []
        if matrices:
            own = {"params": matrices, "weight_decay": self.decay, "orthogonal": True, "rate_share": 1.0}
            groups.append(own)
        if others:
            key = "weight_decay" if self.other == "adamw" else "decay"
            for group in grouped(others, self.decay, self.decay_only_matrices, key=key):
                groups.append(group | {"lr": self.rate * share, "rate_share": share, "orthogonal": False})
        return MuonOptimizer(
            groups,
            self._make_other,
            lr=self.rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            ns_steps=self.ns_steps,
            scale=self.scale,
        )

    def _divided(self, parameters: list[Tensor], names: Sequence[str] | None) -> tuple[list[Tensor], list[Tensor]]:
        if self.exclude is not None and names is None:
            raise ConfigError("Muon's exclude needs the names of the parameters", do="call make(parameters, names)")
        pattern = re.compile(f"(?i:embedding)|{self.exclude}" if self.exclude else "(?i:embedding)")
        known = names if names is not None else [""] * len(parameters)
        chosen = [is_matrix(p) and not pattern.search(name) for p, name in zip(parameters, known, strict=True)]
        return (
            [p for p, matrix in zip(parameters, chosen, strict=True) if matrix],
            [p for p, matrix in zip(parameters, chosen, strict=True) if not matrix],
        )

    def _make_other(self, groups: list[Group]) -> torch.optim.Optimizer:
        settings = fastest(groups, FUSED)
        if self.other == "sgd":
            nesterov = self.other_momentum > 0
            return NativeSGD(groups, momentum=self.other_momentum, nesterov=nesterov, **settings)
        betas = (self.adam_beta_1, self.adam_beta_2)
        return NativeAdamW(groups, betas=betas, eps=self.epsilon, **settings)


@dataclass(frozen=True)
class OptimizerFactory:
    """A user's function of the parameters that returns a ``torch.optim.Optimizer``, such as one of its classes.

    >>> made = OptimizerFactory(torch.optim.Rprop).make([torch.nn.Parameter(torch.zeros(1))])
    >>> type(made).__name__
    'Rprop'
    """

    function: MakeOptimizer

    def make(self, parameters: Iterable[Tensor], names: Sequence[str] | None = None) -> torch.optim.Optimizer:
        """What the function makes of these parameters; ConfigError where that is no optimiser."""
        made = self.function(listed(parameters))
        if not isinstance(made, torch.optim.Optimizer):
            raise ConfigError("the function gave no torch.optim.Optimizer", got=repr(made))
        return made


OPTIMIZERS: Table[Callable[..., Optimizer]] = Table(
    "optimizer",
    {
        "adagrad": Adagrad,
        "adam": Adam,
        "adamw": AdamW,
        "muon": Muon,
        "nadam": Nadam,
        "rmsprop": RMSprop,
        "sgd": SGD,
    },
)


def find_optimizer(spec: OptimizerSpec) -> Optimizer | OptimizerFactory | torch.optim.Optimizer:
    """The optimiser meant by a name, a row of the table, its class, or a function of the parameters.

    A ``torch.optim.Optimizer`` that is already made comes back as it is. Raises ConfigError.

    >>> find_optimizer("sgd") == SGD(0.01)
    True
    """
    if isinstance(spec, str):
        return OPTIMIZERS[spec]()
    if isinstance(spec, Optimizer | torch.optim.Optimizer):
        return spec
    if isinstance(spec, type) and spec in OPTIMIZERS.values():
        made: Optimizer = spec()
        return made
    if callable(spec):
        return OptimizerFactory(spec)
    raise ConfigError("not an optimizer", got=repr(spec), expected="a name, one of this package's or torch's")
