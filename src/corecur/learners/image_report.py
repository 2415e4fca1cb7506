"""The report of an image training, gathered from the run.

N samples, H height, W width, C channels, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from corecur.data.images import ImageSet, ImageSource
from corecur.engine.progress import clock
from corecur.layers.conv import Conv2D
from corecur.learners.evaluation import Evaluation
from corecur.learners.fit_result import FitResult
from corecur.learners.learner import name_of
from corecur.report.classification import Activation, ClassificationReport, Mistake, classification_sections
from corecur.report.page import Finding, Section
from corecur.summary import summarize

if TYPE_CHECKING:
    from corecur.learners.image_classifier import ImageClassifier

_MOST_MISTAKES = 24
_SAMPLES_PER_CLASS = 6
_LAYERS_SHOWN = 3
_MAPS_SHOWN = 32


def sections(
    learner: ImageClassifier, data: ImageSource, result: FitResult, *, config: Mapping[str, Any]
) -> list[Section]:
    """The sections of the report."""
    return classification_sections(build_report(learner, data, result, config=config))


def build_report(
    learner: ImageClassifier, data: ImageSource, result: FitResult, *, config: Mapping[str, Any]
) -> ClassificationReport:
    """Everything the page shows, gathered from the run."""
    test: Evaluation | None = result.test
    parameters = learner.network.count_params()
    _, height, width, channels = data.train.images.shape
    summary = {
        "Classes": f"{len(data.classes)}",
        "Pictures": f"{height}×{width} {'grey' if channels == 1 else 'colour'}",
        "Training samples": f"{len(data.train):,}",
        "Parameters": f"{parameters:,}",
        "Epochs": f"{len(result.history)}" + (f" of {result.planned_epochs}" if result.stopped_early else ""),
        "Training time": clock(result.train_seconds),
        "Time in all": clock(result.seconds),
    }
    history = [{"epoch": float(n + 1)} | {k: float(v) for k, v in row.items()} for n, row in enumerate(result.history)]
    return ClassificationReport(
        title=f"{name_of(data.origin)}: image classification",
        command=config["command"],
        when=time.strftime("%Y-%m-%d %H:%M"),
        verdict="" if test is None else test.sentence()[0].upper() + test.sentence()[1:] + ".",
        summary=summary,
        next_commands=result.next_commands,
        history=history,
        test=None if test is None else _test_figures(test),
        per_class=() if test is None else test.per_class,
        classes=data.classes,
        confusion=None if test is None else test.confusion,
        reliability=None if test is None else test.reliability(result.calibration),
        mistakes=() if test is None or data.test is None else worst_mistakes(test, data.test),
        class_counts=class_counts(data),
        sample_images=_sample_images(data.train, data.classes),
        filters=_first_filters(learner.network),
        activations=_activations(learner, data.train.images[:1]),
        network_summary=summarize(learner.network),
        config={name: config[name] for name in ("source", "seed", "recipe")},
        environment=config["environment"],
        findings=[Finding.of(found) for found in result.findings],
    )


def worst_mistakes(test: Evaluation, held: ImageSet) -> list[Mistake]:
    """The wrong answers the network was surest of."""
    sure, answers = test.probabilities.max(1)
    wrong = (answers != test.labels).nonzero()[:, 0]
    worst = wrong[sure[wrong].argsort(descending=True)][:_MOST_MISTAKES]
    return [
        Mistake(
            image=held.images[place].numpy(),
            name=held.names[place],
            truth=test.classes[int(test.labels[place])],
            predicted=test.classes[int(answers[place])],
            probability=float(sure[place]),
        )
        for place in worst.tolist()
    ]


def _test_figures(test: Evaluation) -> dict[str, float]:
    low, high = test.interval
    return {"accuracy": test.accuracy, "low": low, "high": high, "samples": float(test.samples)}


def class_counts(data: ImageSource) -> dict[str, dict[str, int]]:
    """How many samples of each class each split has."""
    splits = {"training": data.train, "validation": data.validation, "test": data.test}
    counts = {}
    for name, split in splits.items():
        if split is not None and split.labels is not None:
            found = torch.bincount(split.labels, minlength=len(data.classes)).tolist()
            counts[name] = dict(zip(data.classes, found, strict=True))
    return counts


def _sample_images(train: ImageSet, classes: tuple[str, ...]) -> dict[str, list[np.ndarray[Any, Any]]]:
    if train.labels is None:
        return {}
    return {
        name: [train.images[i].numpy() for i in (train.labels == k).nonzero()[:_SAMPLES_PER_CLASS, 0].tolist()]
        for k, name in enumerate(classes)
    }


def _first_filters(network: nn.Module) -> np.ndarray[Any, Any] | None:
    for module in network.modules():
        if isinstance(module, Conv2D):
            return module.weight.detach().permute(0, 2, 3, 1).float().cpu().numpy()  # (F, C, h, w) -> (F, h, w, C)
    return None


@torch.no_grad()
def _activations(learner: ImageClassifier, image: Tensor) -> list[Activation]:
    """The maps of the first convolutions for one picture (1, H, W, C)."""
    found: list[Activation] = []
    shown = image[0].numpy()

    def keep(module: nn.Module, args: Any, output: Tensor) -> None:
        if len(found) < _LAYERS_SHOWN:
            maps = output[0, :, :, :_MAPS_SHOWN].permute(2, 0, 1).float().cpu().numpy()  # (h, w, F) -> (F, h, w)
            name = getattr(module, "name", None) or type(module).__name__
            found.append(Activation(f"{name}: {maps.shape[1]} × {maps.shape[2]}", shown, maps))

    hooks = [m.register_forward_hook(keep) for m in learner.network.modules() if isinstance(m, Conv2D)]
    try:
        learner.probabilities(image)
    finally:
        for hook in hooks:
            hook.remove()
    return found
