"""torch's optimisers with a native step: their settings, state and mathematics, all weights in one call.

Which steps are native is said by ``refused`` of an optimiser: None, or why torch's own implementation took the last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter, is_
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from corecur.engine.optimizer import Group, keep_layouts, shrink
from corecur.kernels.native_optimizer import ADAM, RMSPROP, SGD, Kept, Rule, Step, in_one_order, refusal

_form = attrgetter("dtype", "layout", "is_cpu")


@dataclass
class _Plan:
    """What was decided of an optimiser's steps, and all that the decision hangs on."""

    weights: list[Tensor]
    forms: list[Any]
    constants: list[tuple[Any, ...]]
    #: The settings of each group at the last step, and its rule made of them.
    settings: list[list[Any]]
    rules: Any
    refused: str | None = None
    step: Step | None = None
    #: Weights that had no gradient yet, and so have nothing beside them.
    waiting: list[Tensor] = field(default_factory=list)
    states: list[Any] = field(default_factory=list)
    kept: list[Any] = field(default_factory=list)

    def has(self, weights: list[Tensor], states: Mapping[Any, Any]) -> bool:
        """Whether the weights are the same, and what is kept beside them, in the same places."""
        if len(weights) != len(self.weights) or not all(map(is_, weights, self.weights)):
            return False
        if self.step is None:
            return list(map(_form, weights)) == self.forms
        kept = list(chain.from_iterable(map(dict.values, states.values())))
        return (
            len(states) == len(self.states)
            and len(kept) == len(self.kept)
            and all(map(is_, states.values(), self.states))
            and all(map(is_, kept, self.kept))
            and self.step.stands()
            and all(weight.grad is None for weight in self.waiting)
        )


class NativeStep(torch.optim.Optimizer):
    """What the native optimisers share. A leaf says how its groups become rules, and under which names it keeps what.

    >>> weight = torch.nn.Parameter(torch.ones(2))
    >>> optimizer = NativeSGD([weight], lr=0.5)
    >>> weight.square().sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([0., 0.])
    """

    #: The class of torch that this is in all but its step.
    torch_class: ClassVar[type[torch.optim.Optimizer]]
    #: Why torch's own implementation took the last step; None where the native one did, or there was none.
    refused: str | None = None
    _plan: _Plan | None = None

    def rule(self, group: Group) -> Rule:
        """The numbers of a group's step."""
        raise NotImplementedError

    def names(self, group: Group) -> dict[str, str]:
        """Under which names what is kept, by the fields of ``Kept``, in the order of torch's state."""
        raise NotImplementedError

    def objection(self, group: Group) -> str | None:
        """Why a group cannot be updated natively; None where it can."""
        raise NotImplementedError

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Update all parameters that have a gradient."""
        if self._is_watched():
            return torch.optim.Optimizer.profile_hook_step(NativeStep._take)(self, closure)
        return self._take(closure)

    # torch wraps the step of a class without this mark in hooks and a note for the profiler, which cost a small network
    # more than the step.
    step.hooked = True  # type: ignore[attr-defined]

    def _is_watched(self) -> bool:
        return bool(
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or _global_optimizer_pre_hooks
            or _global_optimizer_post_hooks
            or torch.autograd._profiler_enabled()  # type: ignore[attr-defined]
        )

    def _take(self, closure: Callable[[], float] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        plan = self._plan_now()
        self.refused = plan.refused
        if plan.step is None:
            self._torch_step()
        else:
            plan.step.take(plan.rules)
        return loss

    def _torch_step(self) -> None:
        keep_layouts(self)
        shrink(self)
        step: Any = self.torch_class.step
        # torch runs an optimiser's hooks around `step` of its class, which it wraps; here they run already.
        (step.__wrapped__ if getattr(step, "hooked", False) else step)(self)

    def _plan_now(self) -> _Plan:
        """The plan of the last step as long as it stands, with the numbers of this one."""
        plan, groups = self._plan, self.param_groups
        weights = list(chain.from_iterable([group["params"] for group in groups]))
        if plan is None or len(groups) != len(plan.settings) or getattr(self, "grad_scale", None) is not None:
            return self._make_plan(weights)
        for number, (group, known) in enumerate(zip(groups, plan.settings, strict=True)):
            settings = list(group.values())
            if not _same(settings, known):
                if _constants(group) != plan.constants[number] or self.objection(group) is not None:
                    return self._make_plan(weights)
                plan.settings[number], plan.rules[number] = settings, self.rule(group)
        return plan if plan.has(weights, self.state) else self._make_plan(weights)

    def _make_plan(self, weights: list[Tensor]) -> _Plan:
        groups = self.param_groups
        objections = (self.objection(group) for group in groups)
        refused = next(filter(None, objections), None) or refusal(weights) or self._odd_state()
        if getattr(self, "grad_scale", None) is not None:
            refused = "the native step does not unscale gradients"
        plan = _Plan(
            weights=weights,
            forms=list(map(_form, weights)),
            constants=[_constants(group) for group in groups],
            settings=[list(group.values()) for group in groups],
            rules=None,
            refused=refused,
        )
        self._plan = plan
        if refused is not None:
            # Settings are looked at again as soon as one changes; there is no rule to hold them.
            plan.rules = [None] * len(groups)
            return plan
        plan.rules = (Rule * len(groups))(*map(self.rule, groups))
        kept, places = [], []
        for number, group in enumerate(groups):
            names = self.names(group)
            for weight in group["params"]:
                waits = bool(names) and weight.grad is None and not self.state.get(weight)
                kept.append(Kept() if waits else self._keep(weight, names))
                places.append(number)
                if waits:
                    plan.waiting.append(weight)
        plan.step = Step(weights, kept, places)
        plan.states = list(self.state.values())
        plan.kept = list(chain.from_iterable(map(dict.values, self.state.values())))
        return plan

    def _keep(self, weight: Tensor, names: Mapping[str, str]) -> Kept:
        """What is kept beside a weight, made where it is not there, in the weight's order of memory."""
        if not names:
            return Kept()
        state, found = self.state[weight], {}
        for place, name in names.items():
            value = state.get(name)
            if value is None:
                value = torch.zeros(()) if place == "steps" else torch.zeros_like(weight, requires_grad=False)
            elif place != "steps" and not in_one_order(value, weight):
                value = torch.empty_like(weight, requires_grad=False).copy_(value)
            state[name] = found[place] = value
        return Kept(**found)

    def _odd_state(self) -> str | None:
        """Why what is kept is not what the native step keeps."""
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state.get(weight) or {}
                for place, name in self.names(group).items():
                    value = state.get(name)
                    if value is None:
                        continue
                    shape = torch.Size() if place == "steps" else weight.shape
                    if type(value) is not Tensor or _form(value) != (torch.float32, torch.strided, True):
                        return f"the native step keeps {name} as a float32 tensor on the CPU"
                    if value.shape != shape:
                        return f"the native step keeps {name} in the shape of its weight"
        return None


def _same(settings: list[Any], known: list[Any]) -> bool:
    """Whether no setting is another object than it was; an equal one may be, and is looked at again."""
    return len(settings) == len(known) and all(map(is_, settings, known))


_NUMBERS = frozenset({"params", "lr", "betas", "eps", "weight_decay", "decay", "alpha", "momentum", "rate_share"})


def _constants(group: Group) -> tuple[Any, ...]:
    """What decides which code runs and what is kept, and not only by which numbers."""
    switches = tuple(value for name, value in group.items() if name not in _NUMBERS)
    return (*switches, bool(group.get("momentum")))


def _common_objection(group: Group) -> str | None:
    for name in ("maximize", "differentiable", "capturable"):
        if group.get(name):
            return f"the native step has no {name}"
    numbers = [group[name] for name in _NUMBERS & set(group) - {"params", "betas", "rate_share"}]
    if not all(isinstance(number, (int, float)) for number in (*numbers, *group.get("betas", ()))):
        return "the native step takes settings that are plain numbers"
    return None


class NativeSGD(NativeStep, torch.optim.SGD):
    """``torch.optim.SGD`` with a native step and a weight decay beside the gradient, the group's ``decay``."""

    torch_class = torch.optim.SGD

    def rule(self, group: Group) -> Rule:
        return Rule(SGD, group["nesterov"], group["lr"], group["momentum"], 0.0, 0.0, group.get("decay") or 0.0)

    def names(self, group: Group) -> dict[str, str]:
        return {"first": "momentum_buffer"} if group["momentum"] else {}

    def objection(self, group: Group) -> str | None:
        if group["dampening"] or group["weight_decay"]:
            return "the native step of SGD has no dampening, and decays weights beside the gradient"
        return _common_objection(group)


class NativeRMSprop(NativeStep, torch.optim.RMSprop):
    """``torch.optim.RMSprop`` with a native step and a weight decay beside the gradient, the group's ``decay``."""

    torch_class = torch.optim.RMSprop

    def rule(self, group: Group) -> Rule:
        momentum, decay = group["momentum"], group.get("decay") or 0.0
        return Rule(RMSPROP, group["centered"], group["lr"], momentum, group["alpha"], group["eps"], decay)

    def names(self, group: Group) -> dict[str, str]:
        names = {"steps": "step", "second": "square_avg"}
        names |= {"third": "momentum_buffer"} if group["momentum"] > 0 else {}
        return names | ({"first": "grad_avg"} if group["centered"] else {})

    def objection(self, group: Group) -> str | None:
        if group["weight_decay"]:
            return "the native step of RMSprop decays weights beside the gradient"
        return _common_objection(group)


class _AdamStep(NativeStep):
    """What Adam and AdamW share, which differ in their defaults alone."""

    def rule(self, group: Group) -> Rule:
        (beta_1, beta_2), decay = group["betas"], group["weight_decay"]
        return Rule(ADAM, group["amsgrad"], group["lr"], beta_1, beta_2, group["eps"], decay)

    def names(self, group: Group) -> dict[str, str]:
        names = {"steps": "step", "first": "exp_avg", "second": "exp_avg_sq"}
        return names | ({"third": "max_exp_avg_sq"} if group["amsgrad"] else {})

    def objection(self, group: Group) -> str | None:
        if group["weight_decay"] and not group["decoupled_weight_decay"]:
            return "the native step of Adam decays weights beside the gradient"
        return _common_objection(group)


class NativeAdam(_AdamStep, torch.optim.Adam):
    """``torch.optim.Adam`` with a native step."""

    torch_class = torch.optim.Adam


class NativeAdamW(_AdamStep, torch.optim.AdamW):
    """``torch.optim.AdamW`` with a native step."""

    torch_class = torch.optim.AdamW
