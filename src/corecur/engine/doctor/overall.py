"""Diagnoses from how a training went as a whole: what was learnt, on what, and how long it waited."""

from __future__ import annotations

from collections.abc import Callable, Collection
from statistics import fmean

from corecur.engine.doctor.record import Record
from corecur.engine.doctor.signs import ENOUGH_STEPS, LEARNT_NOTHING, is_stuck
from corecur.finding import Finding

# What explains by itself that nothing is learnt, so that the labels are not to be suspected.
_CAUSES = frozenset({
    "softmax-twice", "one-class", "constant-input", "exploding-gradients", "learning-rate-too-high",
    "learning-rate-too-low", "dead-units", "saturated", "vanishing-gradients", "not-finite", "batch-of-one",
    "frozen-part", "unnormalised-input",
})  # fmt: skip
_WAITING, _SECONDS = 0.4, 0.3
_GAP, _RISE = 0.35, 0.2
_MARGIN = 0.04


def _explained(found: Collection[str]) -> bool:
    return bool(_CAUSES & set(found))


def _no_better(record: Record, name: str) -> bool:
    """Whether an accuracy is not above the share of the most frequent class; True where none is measured."""
    values, majority = record.results(name), record.majority
    return not values or majority is None or fmean(values[-2:]) < majority + min(_MARGIN, 0.25 * (1 - majority))


def _shuffled(record: Record, found: Collection[str]) -> Finding | None:
    if _explained(found) or record.classes < 2 or record.steps < ENOUGH_STEPS or record.train_skill is None:
        return None
    losses, baseline = record.results("val_loss"), record.baseline
    if len(losses) >= 3 and baseline:
        best = max(1 - loss / baseline for loss in losses)
        falls = losses[-1] == min(losses) and losses[0] - losses[-1] > 0.01 * baseline
        if best > 0.03 or falls or not _no_better(record, "val_accuracy"):
            return None
        heart = record.train_skill > LEARNT_NOTHING
        if heart and (record.skill(record.first_epoch) or 0.0) > LEARNT_NOTHING:
            return None  # samples never seen before were answered better: that was not learnt by heart
        verdict = ("The labels do not seem to belong to the samples: the training is learnt by heart, nothing of which "
                   "holds for the validation." if heart else _NOTHING)  # fmt: skip
        evidence = (f"training loss {record.late.mean:.3g}, validation loss {min(losses):.3g} at best, "
                    f"{baseline:.3g} without looking at the input",)  # fmt: skip
    elif is_stuck(record) and _no_better(record, "accuracy"):
        verdict = _NOTHING
        evidence = (f"loss {record.late.mean:.3g} after {record.steps} steps, {baseline:.3g} without looking at the "
                    f"input",)  # fmt: skip
    else:
        return None
    return Finding(
        "shuffled-labels", verdict, (*evidence, "gradients, activations and steps are of sound size"),
        "look at some samples with their labels: were they put in order, or sorted, one without the other?", "problem",
    )  # fmt: skip


_NOTHING = "Nothing is learnt though the network is sound: the labels may be shuffled, or the samples hold no answer."


def _majority(record: Record, found: Collection[str]) -> Finding | None:
    majority = record.majority
    if majority is None or record.classes < 2 or record.steps < ENOUGH_STEPS:
        return None
    by_heart = len(record.results("val_accuracy")) > 3 and (record.train_skill or 1.0) < 0.15 and record.finished
    if not is_stuck(record) and not (by_heart and record.results("accuracy")):
        return None
    if not _no_better(record, "accuracy") or not _no_better(record, "val_accuracy"):
        return None
    accuracy = (record.results("val_accuracy") or record.results("accuracy") or [float("nan")])[-1]
    shown = () if accuracy != accuracy else (f"accuracy {100 * accuracy:.1f} %",)
    return Finding(
        "majority-class", "The network does no better than naming the most frequent class each time.",
        (*shown, f"the most frequent class has {100 * majority:.1f} % of the training labels"),
        "see the other findings first; else a larger network, more epochs, or class weights", "problem",
    )  # fmt: skip


def _over_fitting(record: Record, found: Collection[str]) -> Finding | None:
    losses = record.results("val_loss")
    train = record.results("loss")
    if len(losses) < 3 or "shuffled-labels" in found or record.train_skill is None or record.train_skill < 0.1:
        return None
    if {"learning-rate-too-high", "exploding-gradients", "not-finite"} & set(found) or not record.baseline:
        return None
    last, best = fmean(losses[-2:]), min(losses)
    gap = (last - train[-1]) / record.baseline
    if (
        best > 0.97 * record.baseline
    ):  # nothing was gained there that could be lost: averages of a normalisation that lag
        return None
    right, held = record.results("accuracy"), record.results("val_accuracy")
    behind = right[-1] - fmean(held[-2:]) if right and held else None
    rises = last > best * (1 + _RISE) and last - best > 0.05 * record.baseline
    if gap < _GAP or (behind is not None and behind < 0.1) or not (rises or (behind or 0.0) > 0.25):
        return None
    epoch = losses.index(best) + 1
    shown = () if behind is None else (f"accuracy {100 * right[-1]:.1f} % in training, {100 * held[-1]:.1f} % in "
                                       f"validation",)  # fmt: skip
    return Finding(
        "over-fitting", "The network learns its training samples by heart: what it gains there it loses elsewhere.",
        (f"validation loss {best:.3g} at best (validation {epoch} of {len(losses)}), {losses[-1]:.3g} at the end, "
         f"where the training loss is {train[-1]:.3g}", *shown),
        "more data or augmentation, dropout, weight decay, a smaller network, or an end at the best epoch",
    )  # fmt: skip


def _under_fitting(record: Record, found: Collection[str]) -> Finding | None:
    majority, right = record.majority, record.results("accuracy")
    if _explained(found) or "shuffled-labels" in found or majority is None or len(right) < 4 or not record.finished:
        return None
    if record.steps < 5 * ENOUGH_STEPS or record.facts.get("bptt"):
        return None
    skill = record.train_skill
    reached = (right[-1] - majority) / max(1e-9, 1 - majority)
    flat = max(right[-max(2, len(right) // 4) :]) - max(right[: -max(2, len(right) // 4)]) < 0.03
    if skill is None or not LEARNT_NOTHING <= skill < 0.6 or reached > 0.5 or not flat:
        return None
    held = record.results("val_accuracy")
    shown = f", {100 * held[-1]:.1f} % in validation" if held else ""
    return Finding(
        "under-fitting", "The network does not even learn its training samples, and gets no better.",
        (f"accuracy {100 * right[-1]:.1f} % in training{shown}, the most frequent class {100 * majority:.1f} %",
         f"{100 * skill:.0f} % of the loss without looking at the input is gone after {record.steps} steps"),
        "take a larger network, less dropout and weight decay, or a higher rate",
    )  # fmt: skip


def _loader_bound(record: Record, found: Collection[str]) -> Finding | None:
    seconds = [row["results"].get("seconds", 0.0) for row in record.epochs]
    waited = [row["results"].get("waiting", 0.0) * s for row, s in zip(record.epochs, seconds, strict=True)]
    if not sum(seconds) or sum(waited) < _SECONDS or sum(waited) / sum(seconds) < _WAITING:
        return None
    share = sum(waited) / sum(seconds)
    return Finding(
        "loader-bound", f"The training waits for its data {100 * share:.0f} % of the time.",
        (f"{sum(waited):.1f} of {sum(seconds):.1f} s",),
        "prepare samples once and keep them in memory, or let a DataLoader use several workers (num_workers=2)",
    )  # fmt: skip


def _healed(record: Record, found: Collection[str]) -> Finding | None:
    if not record.healed:
        return None
    return Finding("healed", "The training was healed on the way.", tuple(record.healed[:6]), level="note")


def _blind(record: Record, found: Collection[str]) -> Finding | None:
    if not record.blind:
        return None
    return Finding("not-looked-at", "The doctor could not look into this network; losses alone were watched.",
                   (record.blind,), level="note")  # fmt: skip


OVERALL: tuple[Callable[[Record, Collection[str]], Finding | None], ...] = (
    _shuffled, _majority, _over_fitting, _under_fitting, _loader_bound, _healed, _blind,
)  # fmt: skip
