"""From what was measured of a training to findings: pure functions of plain numbers.

Each test looks for one thing and stays silent when in doubt; ``docs/doctor.md`` says where its bounds come from. A
test may look at what was found before it: a training that lost its way because of its rate has dead units too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import median
from typing import Any

from corecur.engine.doctor.overall import OVERALL
from corecur.engine.doctor.record import Record, number
from corecur.engine.doctor.signs import ENOUGH_STEPS, LEARNT_NOTHING, is_stuck
from corecur.finding import Finding, by_gravity

Test = Callable[[Record, Collection[str]], Finding | None]

# One per cent of a layer's size may change the loss by as much as itself.
_EXPLODING = 100.0
# A first loss so many times that of an answer without input, made by the weights and not by what the targets are.
_FAR_OFF, _SENSITIVE = 10.0, 2.0
# From the last third of the layers to the first the gradient shrinks to less than this, step by step.
_VANISHING_DEPTH, _LEAST_LAYERS = 2e-3, 4
# Over the sequence the gradient shrinks to less than this.
_VANISHING_TIME = 1e-3
_DEAD, _DEAD_IF_LEARNT, _SATURATED = 0.6, 0.95, 0.6
_TOO_LARGE = 5.0
_RUN_AWAY = 3.0
_ROSE, _HARDLY_LESS = 2.0, 0.8
_LARGE_UPDATE, _LARGE_FIRST_UPDATE = 0.1, 0.5
_WEIGHTS_MOVED = 0.02


def diagnose(rows: Sequence[Mapping[str, Any]]) -> tuple[Finding, ...]:
    """The findings for a training by its rows, the gravest first, causes before what follows from them.

    >>> diagnose([{"row": "facts"}])
    ()
    """
    record = Record(rows)
    found: dict[str, Finding] = {}
    for test in (*TESTS, *OVERALL):
        finding = test(record, found)
        if finding is not None:
            found[finding.kind] = finding
    return by_gravity(found.values())


def _softmax_twice(record: Record, found: Collection[str]) -> Finding | None:
    looks = [look for look in record.looks if look.get("twice")]
    if not looks or len(looks) < len(record.looks):
        return None
    kind = looks[0]["twice"]
    return Finding(
        "softmax-twice",
        f"A {kind} is applied twice: the loss computes one over outputs that are probabilities already.",
        (f"loss {record.facts.get('loss', '')}", f"outputs lie between 0 and 1 in {len(looks)} of {len(looks)} looks"),
        "leave one out: end the network in plain numbers, or compile with a loss that takes probabilities",
        "problem",
    )


def _one_class(record: Record, found: Collection[str]) -> Finding | None:
    if record.classes != 1 or record.steps < 2:
        return None
    return Finding(
        "one-class", "All training labels are the same: there is nothing to tell apart.",
        (f"1 class in {record.steps} steps",), "look at how the labels are read", "problem",
    )  # fmt: skip


def _constant_input(record: Record, found: Collection[str]) -> Finding | None:
    rows = [row for look in record.looks for row in look["inputs"] if row.get("differs") is not None]
    if len(rows) < 2 or any(number(row["differs"]) > 1e-6 * max(1e-12, number(row["rms"])) for row in rows):
        return None
    return Finding(
        "constant-input", "All samples are the same: what the network sees does not differ from sample to sample.",
        (f"{len(rows)} batches looked at at the input of {rows[0]['name']}",),
        "look at how samples are read and prepared", "problem",
    )  # fmt: skip


def _unnormalised(record: Record, found: Collection[str]) -> Finding | None:
    finite = [[row for row in look["inputs"] if math.isfinite(number(row["rms"]))] for look in record.looks]
    worst = [max(rows, key=lambda row: number(row["rms"])) for rows in finite if rows]
    if not worst or median(number(row["rms"]) for row in worst) <= _TOO_LARGE:
        return None
    row = worst[-1]
    return Finding(
        "unnormalised-input", "The input is not normalised: its values are far from the size that weights start for.",
        (f"at the input of {row['name']}: root mean square {_shown(row['rms'])}, values {_shown(row['low'])} to "
         f"{_shown(row['high'])}, expected about 1",),
        "bring it to mean 0 and deviation 1: x = (x - x.mean()) / x.std(), or a Rescaling layer first",
    )  # fmt: skip


def _batch_of_one(record: Record, found: Collection[str]) -> Finding | None:
    normalised = record.facts.get("batch_normalization") or []
    if not normalised or not record.looks or any(look["rows"] > 1 for look in record.looks):
        return None
    return Finding(
        "batch-of-one", "Batch normalisation with one sample in a batch: each sample is normalised by itself alone.",
        (f"{normalised[0]}, batches of 1",), "take a larger batch_size, or LayerNormalization",
    )  # fmt: skip


def _not_finite(record: Record, found: Collection[str]) -> Finding | None:
    if not record.refused:
        return None
    first = next(row for row in record.epochs if row.get("refused"))
    return Finding(
        "not-finite", f"{record.refused} of {record.steps} steps gave NaN or infinity and were left out.",
        (f"the first in epoch {first['epoch']}", "the messages of the training name the samples"),
        "look at these samples; if they are sound, take a lower rate or a bound on the gradient",
        "problem" if record.broken or record.refused > 0.05 * record.steps else "warning",
    )  # fmt: skip


def _exploding(record: Record, found: Collection[str]) -> Finding | None:
    if not record.looks or "unnormalised-input" in found:
        return None
    first, evidence = record.looks[0], []
    sensitivity = record.sensitivity(first)
    far_off = (
        record.blind_loss is not None and record.first_loss > _FAR_OFF * record.blind_loss and sensitivity > _SENSITIVE
    )
    if sensitivity > _EXPLODING or far_off:
        evidence.append(f"before the first step the gradient's norm is {_shown(first['norm'])} at a loss of "
                        f"{_shown(first['loss'])}" + (f", where {_shown(record.blind_loss)} needs no input" if far_off
                        else f": 1 % of a layer's size may change it by {sensitivity:.3g} %"))  # fmt: skip
    for look in record.looks[:2]:
        for row in look["time"]:
            near, far = number(row["gradients"][0]), max(map(number, row["gradients"][len(row["gradients"]) // 2 :]))
            if near > 0 and far > _EXPLODING * near and len(evidence) < 3:
                evidence.append(f"{row['name']}: over {row['steps']} steps back in time the gradient grows "
                                f"{far / near:.3g} times (step {look['step']})")  # fmt: skip
    if not evidence:
        return None
    return Finding(
        "exploding-gradients", "Gradients explode: on the way back through the network they grow beyond measure.",
        tuple(evidence), "bound the norm of the gradient, and start with smaller weights (glorot, he; orthogonal)",
        "problem" if (record.train_skill or 0.0) < 0.5 else "warning",
    )  # fmt: skip


def _rate_too_high(record: Record, found: Collection[str]) -> Finding | None:
    if "exploding-gradients" in found or len(record.looks) < 2 or not record.curve:
        return None
    first, base = record.first_loss, record.baseline
    scale = max(abs(first), base or 0.0)
    peak = max(loss for loss, _ in record.curve)
    skill = record.train_skill
    early = max((median(u) for look in record.looks[1:3] if (u := record.updates(look))), default=0.0)
    start = median(record.updates(record.looks[0]) or [0.0])
    thrown = median(max(record.updates(look), default=0.0) for look in record.looks[1:]) > _LARGE_FIRST_UPDATE
    large = early > _LARGE_UPDATE or start > _LARGE_FIRST_UPDATE or thrown
    # a schedule lowers the rate at the end: what is still learnt then does not make up for it
    in_vain = not record.is_falling or (thrown and record.finished)
    lost = skill is not None and skill < (0.3 if thrown else LEARNT_NOTHING) and in_vain
    # without a baseline: most of what is gained makes up for what the first steps lost
    rose = skill is None and peak > _ROSE * scale and record.late.mean > _HARDLY_LESS * first
    lost = lost or rose or record.late.mean > 1.1 * first
    ran_away = (peak > _RUN_AWAY * scale or not math.isfinite(peak)) and (large or not math.isfinite(peak))
    if not large and not (ran_away and record.steps >= 8):
        return None
    if not (lost or (ran_away and (skill is None or skill < 0.3))):
        return None
    if record.refused and not large and peak <= _RUN_AWAY * scale:
        return None
    return Finding(
        "learning-rate-too-high", "The learning rate is too high: steps throw the weights further than they can use.",
        (f"a step moves weights by {100 * max(early, start, _most(record)):.3g} % of their size (0.1 to 1 % is usual)",
         f"the loss begins at {_shown(first)}, rises to {_shown(peak)} and ends at {_shown(record.late.mean)}"),
        "take a lower learning rate", "problem",
    )  # fmt: skip


def _dead(record: Record, found: Collection[str]) -> Finding | None:
    if len(record.looks) < 2:
        return None
    look = record.looks[-1]
    rows = [row for row in look["units"] if row["function"] == "relu" and row["units"] >= 4]
    worst = max(rows, key=lambda row: row["dead"] / row["units"], default=None)
    learns = record.train_skill is not None and record.train_skill > 0.5  # units may wait for samples that are rare
    least = _DEAD_IF_LEARNT if learns or len(record.looks) < 3 else _DEAD
    if worst is None or worst["dead"] / worst["units"] < least:
        return None
    return Finding(
        "dead-units", f"Most units of {worst['name']} are dead: their ReLU gives 0 for every sample, and no gradient.",
        (f"{worst['dead']} of {worst['units']} units gave 0 for all samples of the last looks (up to step "
         f"{look['step']})",),
        "take a lower learning rate, start biases at 0, or use leaky_relu, elu or gelu",
        "problem" if worst["dead"] > 0.9 * worst["units"] else "warning",
    )  # fmt: skip


def _saturated(record: Record, found: Collection[str]) -> Finding | None:
    if {"learning-rate-too-high", "exploding-gradients", "unnormalised-input"} & set(found) or len(record.looks) < 2:
        return None
    shares: dict[str, list[float]] = {}
    for look in record.looks:
        for row in look["units"]:
            if "saturated" in row:
                shares.setdefault(f"{row['name']} ({row['function']})", []).append(row["saturated"])
        for row in look["time"]:
            if row["gates"]:
                what = "state" if "h" in row["gates"] else f"gates {', '.join(row['gates'])}"
                shares.setdefault(f"{row['name']} ({what})", []).append(sum(row["gates"].values()) / len(row["gates"]))
    high = {name: values for name, values in shares.items() if min(values) > _SATURATED}
    if not high:
        return None
    name, values = max(high.items(), key=lambda item: min(item[1]))
    return Finding(
        "saturated", f"{name} is saturated: most of its values lie at their ends, where hardly a gradient passes.",
        (f"{100 * min(values):.0f} % or more of the values at each of {len(values)} looks",),
        "start with smaller weights (glorot_uniform, biases 0) and normalise what the layer sees",
    )  # fmt: skip


def _vanishing(record: Record, found: Collection[str]) -> Finding | None:
    if {"learning-rate-too-high", "dead-units", "saturated", "exploding-gradients"} & set(found) or not record.looks:
        return None
    evidence = _over_depth(record) or _over_time(record)
    if not evidence:
        return None
    return Finding(
        "vanishing-gradients", "Gradients vanish: what lies far from the loss learns next to nothing.",
        evidence[:3], "see docs/vanishing-gradients.md: relu, batch normalisation and skips for depth; LSTM or GRU, "
        "orthogonal weights and shorter sequences for time",
        "problem" if (record.train_skill or 0.0) < 0.5 else "note",
    )  # fmt: skip


def _over_depth(record: Record) -> tuple[str, ...]:
    """Evidence that gradients shrink from layer to layer, at the first look and at most of the others."""
    seen = [decline for look in record.looks if (decline := _decline(look)) is not None]
    if len(seen) < len(record.looks) or not seen or seen[0][0] > _VANISHING_DEPTH:
        return ()
    if sum(found[0] <= _VANISHING_DEPTH for found in seen) <= len(seen) / 2:
        return ()
    ratio, first, last, count = seen[-1]
    return (f"gradient against weights: {_shown(ratio)} times as large in {first} as in {last}, over {count} layers",)


def _decline(look: Mapping[str, Any]) -> tuple[float, str, str, int] | None:
    """The gradient against the weights of the first layers, as a share of the last ones', if it falls steadily."""
    rows = [row for row in look["layers"] if not row["sparse"] and number(row["w"]) > 0]
    if len(rows) < _LEAST_LAYERS:
        return None
    values = [max(number(row["g"]) / number(row["w"]), 1e-30) for row in rows]
    third = max(1, len(values) // 3)
    ends = median(values[:third]), median(values[-third:])
    rising = sum(after > before for before, after in zip(values, values[1:], strict=False))
    if ends[1] <= 1e-30 or rising < 0.7 * (len(values) - 1):
        return 1.0, "", "", len(values)
    return ends[0] / ends[1], rows[0]["name"], rows[-1]["name"], len(rows)


def _over_time(record: Record) -> tuple[str, ...]:
    """Evidence that gradients shrink from step to step back in time, in a training that gets nowhere."""
    if not is_stuck(record) or record.steps < ENOUGH_STEPS:
        return ()
    by_layer: dict[str, list[tuple[float, int]]] = {}
    for look in record.looks:
        for row in look["time"]:
            near, far = number(row["gradients"][0]), number(row["gradients"][-1])
            if near > 0:
                by_layer.setdefault(row["name"], []).append((far / near, row["steps"]))
    return tuple(
        f"{name}: over {found[-1][1]} steps back in time the gradient shrinks to {_shown(found[-1][0])} of itself"
        for name, found in by_layer.items()
        if median(ratio for ratio, _ in found) < _VANISHING_TIME
    )


def _rate_too_low(record: Record, found: Collection[str]) -> Finding | None:
    if record.steps < 20 or {"dead-units", "not-finite"} & set(found):
        return None
    largest = [max(u) for look in record.looks if (u := record.updates(look))]
    if not largest:
        return None
    moved = median(largest) * record.steps
    scale = record.baseline or abs(record.first_loss)
    better = record.part(0.0, 0.2).mean - record.late.mean
    if moved > _WEIGHTS_MOVED or not max(largest) > 0 or better > 0.05 * scale or (record.train_skill or 0.0) > 0.2:
        return None
    return Finding(
        "learning-rate-too-low", "The learning rate is too low: the weights have hardly moved.",
        (f"a step moves the weights by {100 * median(largest):.2g} % of their size, {record.steps} steps by "
         f"{100 * moved:.2g} % at most", f"the loss went from {_shown(record.part(0.0, 0.2).mean)} to "
         f"{_shown(record.late.mean)}"),
        "take a higher learning rate", "problem",
    )  # fmt: skip


def _frozen(record: Record, found: Collection[str]) -> Finding | None:
    if {"dead-units", "vanishing-gradients", "not-finite"} & set(found) or len(record.looks) < 2:
        return None
    matrices = [row for row in record.facts.get("layers", []) if row["matrix"]]
    still = {row["name"]: "training may not change it" for row in matrices if not row["learns"]}
    moved: dict[str, bool] = {}
    for look in record.looks[1:]:
        for row in look["layers"]:
            if row.get("u") is not None:
                moved[row["name"]] = moved.get(row["name"], False) or number(row["u"]) > 0
    if not any(moved.values()):
        return None
    still |= {name: "no gradient reaches it" for name, has in moved.items() if not has and name not in still}
    if not still:
        return None
    shown = ", ".join(list(still)[:3]) + (", …" if len(still) > 3 else "")
    return Finding(
        "frozen-part", f"A part of the network does not learn: {shown}.",
        tuple(f"{name}: {why}" for name, why in list(still.items())[:4]),
        "if that is not meant: set trainable = True before compile, give the optimizer all parameters, and look for "
        "detach() on the way",
    )  # fmt: skip


def _most(record: Record) -> float:
    return median(max(record.updates(look), default=0.0) for look in record.looks[1:])


def _shown(value: Any) -> str:
    value = number(value)
    return "infinity" if math.isinf(value) else f"{value:.3g}"


# Causes, in the order in which one explains the next.
TESTS: tuple[Test, ...] = (
    _softmax_twice, _one_class, _constant_input, _unnormalised, _batch_of_one, _not_finite, _exploding,
    _rate_too_high, _dead, _saturated, _rate_too_low, _vanishing, _frozen,
)  # fmt: skip
