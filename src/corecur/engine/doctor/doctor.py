"""Doctor: the callback that watches a training, names what is wrong with it, and heals what can be healed safely."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from corecur.engine.callback import Callback, Logs
from corecur.engine.doctor.diagnose import diagnose
from corecur.engine.doctor.healing import Healer
from corecur.engine.doctor.probe import Probe
from corecur.engine.doctor.target_means import TargetMeans
from corecur.errors import CorecurError, RunError
from corecur.finding import Finding

#: Points of an epoch's curve, and the longest way from one look to the next.
CURVE_POINTS, LOOK_EVERY = 16, 256

Row = dict[str, Any]


def is_looked_at(step: int) -> bool:
    """Whether the doctor looks into the network at this step: 1, 4, 16, 64, 256, then every 256, an eighth apart later.

    >>> [step for step in range(1, 1100) if is_looked_at(step)]
    [1, 4, 16, 64, 256, 512, 768, 1024]
    """
    if step < LOOK_EVERY:
        return step in (1, 4, 16, 64)
    apart: int = LOOK_EVERY << max(0, step.bit_length() - 12)
    return step % apart == 0


class Doctor(Callback):
    """Watches a training of any network: ``model.fit(x, y, callbacks=[Doctor()])``.

    Nothing about the training changes by it: weights, random numbers and results stay the same to the bit. ``rows`` is
    all that was measured, ``findings`` what it means, the gravest first. A finding is told once, when it has stood at
    two examinations, or at the end. With ``heal`` it applies what is safe: a bound on gradients, a lower rate, the way
    back to the last good weights; ``done`` says what.

    >>> import torch
    >>> from corecur.data.batches import TensorBatches
    >>> from corecur.engine.losses import MeanSquaredError
    >>> from corecur.engine.trainer import Trainer
    >>> network, doctor = torch.nn.Linear(2, 1), Doctor(tell=lambda line: None)
    >>> sgd = torch.optim.SGD(network.parameters(), lr=1e-6)
    >>> batches = TensorBatches(1000 * torch.rand(64, 2), torch.rand(64, 1), batch_size=8)
    >>> _ = Trainer(network, loss=MeanSquaredError(), optimizer=sgd).fit(batches, epochs=1, callbacks=[doctor])
    >>> "unnormalised-input" in [finding.kind for finding in doctor.findings]
    True
    """

    def __init__(
        self,
        *,
        heal: bool = False,
        tell: Callable[[str], object] | None = None,
        write: Callable[[Row], object] | None = None,
        rewrite: Callable[[list[Row]], object] | None = None,
        remedy: Callable[[Finding], Finding] | None = None,
    ) -> None:
        self.heal = heal
        self.rows: list[Row] = []
        self.findings: tuple[Finding, ...] = ()
        self.done: list[str] = []
        self._healer: Healer | None = None
        self._losses: list[float] = []
        self._norms: list[float] = []
        self._tell, self._write, self._rewrite, self._remedy = tell, write, rewrite, remedy

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.rows, self.findings, self.done = [], (), []
        self._probe = Probe(self.trainer)
        self._means = TargetMeans()
        self._told: dict[str, int] = {}
        self._seen: frozenset[str] = frozenset()
        self._look: Row | None = None
        self._before: list[tuple[str, Tensor, Tensor]] = []
        self._penalty = 0.0
        self._blind = ""
        self._healer = Healer(self.trainer) if self.heal else None
        self._begin_epoch()
        if self._rewrite is not None:
            self._rewrite([])
        self._add(_facts(self.trainer, self._probe))

    def _begin_epoch(self) -> None:
        self._losses, self._norms = [], []
        self._refused = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._begin_epoch()

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        step, current = self.trainer.step + 1, self.trainer.batch
        self._look = None
        if self._healer is not None:
            self._healer.before_step()
        if current is None:
            return
        self._means.add(current.targets)
        if self._blind or not is_looked_at(step):
            return
        try:
            found = self._probe.look(current, self._means)
        except (CorecurError, RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            # A network of the user's own that takes no other batch than the training's: that is no reason to stop.
            self._blind = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            self._add({"row": "blind", "step": step, "why": self._blind})
            return
        self._look = {"row": "look", "step": step, "epoch": self.trainer.epoch + 1, **found}
        self._look |= {"majority": self._means.majority, "classes": self._means.classes}
        self._penalty = float(found["penalty"])
        self._before = [(n, w, w.detach().clone()) for n, w in _trained_matrices(self._probe)]

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        loss = float((logs or {})["loss"]) - self._penalty
        norm = float(self.trainer.gradient_norm)
        refused = not math.isfinite(loss) or not math.isfinite(norm)
        self._losses.append(loss)
        self._norms.append(norm)
        self._refused += refused
        if self._look is not None:
            self._look |= {"rate": self.trainer._rate_now(), "norm": norm}
            moved = _updates(self._before)
            for row in self._look["layers"]:
                row["u"] = moved.get(row["name"])
            self._before = []
            self._add(self._look)
            self._look = None
            self._examine(finished=False)
        if self._healer is not None:
            self._heal(self._healer, loss, norm, refused=refused)

    def _heal(self, healer: Healer, loss: float, norm: float, *, refused: bool) -> None:
        batch = self.trainer.batch
        bad = refused and batch is not None and not _is_finite(batch.inputs)
        for line in healer.after_step(loss, norm, refused=refused, bad_batch=bad, findings=self.findings):
            self.done.append(line)
            self._add({"row": "healed", "step": self.trainer.step, "done": line})
            self._say(f"! healed: {line}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        kept = {k: v for k, v in (logs or {}).items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
        row: Row = {"row": "epoch", "epoch": epoch + 1, "step": self.trainer.step, "refused": self._refused}
        row |= {"results": kept, "steps": len(self._losses), "curve": _thinned(self._losses)}
        row |= {"norms": _thinned(self._norms), "highest": max(self._norms, default=0.0)}
        self._add(row)
        self._begin_epoch()
        self._examine(finished=False)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._add({"row": "end", "step": self.trainer.step})
        self._examine(finished=True)

    def close(self) -> None:
        with contextlib.suppress(RunError):  # a run folder that is gone: the error that is on its way says more
            self._end()
        if self._healer is not None:
            self._healer.close()

    def _end(self) -> None:
        if self.rows and self.rows[-1]["row"] != "end":  # an error, or a request to stop
            if self._losses:
                self._add(self._partial())
            self._add({"row": "end", "step": self.trainer.step, "broken": True})
            self._examine(finished=True)
        self._before, self._look, self._losses, self._norms = [], None, [], []

    def _examine(self, *, finished: bool) -> None:
        rows = self.rows if not self._losses or finished else [*self.rows, self._partial()]
        found = diagnose(rows)
        self.findings = found if self._remedy is None else tuple(map(self._remedy, found))
        for finding in self.findings:
            sure = finished or finding.kind in self._seen
            if sure and finding.level != "note" and finding.kind not in self._told:
                self._told[finding.kind] = self.trainer.step
                self._say(f"! doctor: {finding}")
        self._seen = frozenset(finding.kind for finding in self.findings)

    def _partial(self) -> Row:
        """The epoch that is under way, as far as it has come."""
        return {"row": "epoch", "epoch": self.trainer.epoch + 1, "step": self.trainer.step, "refused": self._refused,
                "results": {}, "steps": len(self._losses), "curve": _thinned(self._losses),
                "norms": _thinned(self._norms), "highest": max(self._norms, default=0.0), "partial": True}  # fmt: skip

    def _say(self, line: str) -> None:
        (self._tell or self.trainer.tell)(line)

    def _add(self, row: Row) -> None:
        row = rounded(row)
        self.rows.append(row)
        if self._write is not None:
            self._write(row)

    def state(self) -> dict[str, Any]:
        return {
            "rows": self.rows, "losses": torch.tensor(self._losses, dtype=torch.float64),
            "norms": torch.tensor(self._norms, dtype=torch.float64), "refused": self._refused, "blind": self._blind,
            "penalty": self._penalty, "told": self._told, "seen": sorted(self._seen), "done": self.done,
            "means": self._means.state(), "dead": dict(self._probe.dead),
            "healer": None if self._healer is None else self._healer.state(),
        }  # fmt: skip

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.rows = [dict(row) for row in state["rows"]]
        self._losses, self._norms, self._blind = state["losses"].tolist(), state["norms"].tolist(), str(state["blind"])
        self._refused, self._penalty = int(state["refused"]), float(state["penalty"])
        self._told, self._seen, self.done = dict(state["told"]), frozenset(state["seen"]), list(state["done"])
        self._means.load_state(state["means"])
        self._probe.dead = dict(state["dead"])
        if self._healer is not None:
            self._healer.load_state(state["healer"])
        if self._rewrite is not None:
            self._rewrite(self.rows)
        self._examine(finished=False)


def _facts(trainer: Any, probe: Probe) -> Row:
    optimizer = trainer.optimizer
    held = {id(p) for group in optimizer.param_groups for p in group["params"]} if optimizer is not None else set()
    layers = []
    for name, module in probe.layers.items():
        own = [p for p in module._parameters.values() if p is not None]
        learns = [p for p in own if p.requires_grad and id(p) in held]
        layers.append({"name": name, "kind": type(module).__name__, "values": sum(p.numel() for p in own),
                       "matrix": any(p.dim() > 1 for p in own), "learns": bool(learns)})  # fmt: skip
    normalised = [name for name, m in trainer.network.named_modules() if "BatchNorm" in type(m).__name__]
    return {
        "row": "facts", "version": 1, "loss": type(trainer.loss).__name__, "layers": layers,
        "batch_normalization": normalised[:1], "clipping": None if trainer.clipping is None else trainer.clipping.norm,
        "optimizer": type(optimizer).__name__, "bptt": trainer.bptt_steps is not None,
    }  # fmt: skip


def _is_finite(inputs: Any) -> bool:
    tensors = (inputs,) if isinstance(inputs, Tensor) else inputs
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def _trained_matrices(probe: Probe) -> list[tuple[str, Tensor]]:
    return [(name, p) for name, module in probe.layers.items() for p in module._parameters.values()
            if p is not None and p.dim() > 1 and p.requires_grad]  # fmt: skip


@torch.no_grad()
def _updates(before: list[tuple[str, Tensor, Tensor]]) -> dict[str, float]:
    """How far the step has moved each layer's weights, as a share of their size."""
    moved: dict[str, float] = {}
    size: dict[str, float] = {}
    for name, now, then in before:
        moved[name] = moved.get(name, 0.0) + float((now - then).norm()) ** 2
        size[name] = size.get(name, 0.0) + float(then.norm()) ** 2
    return {name: math.sqrt(moved[name] / size[name]) if size[name] else 0.0 for name in moved}


def _thinned(values: list[float]) -> list[list[float]]:
    """Means over equal stretches of steps, each with how many steps it stands for."""
    width = max(1, math.ceil(len(values) / CURVE_POINTS))
    parts = [values[k : k + width] for k in range(0, len(values), width)]
    return [[sum(part) / len(part), len(part)] for part in parts]


def rounded(value: Any) -> Any:
    """Plain values with numbers to five digits, and words in place of what is no finite number.

    >>> rounded({"loss": 0.123456789, "norm": float("inf")})
    {'loss': 0.12346, 'norm': 'inf'}
    """
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, (list, tuple)) else value
