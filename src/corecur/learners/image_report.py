"""What an image training writes at its end: bundle, report, config.

N samples, H height, W width, C channels, K classes.
"""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from corecur.data.images import ImageSet, ImageSource
from corecur.engine.progress import clock
from corecur.layers.conv import Conv2D
from corecur.learners.evaluation import Evaluation
from corecur.learners.learner import FitResult
from corecur.report.classification import Activation, ClassificationReport, Mistake, write_classification_report
from corecur.report.page import Finding
from corecur.summary import summarize

if TYPE_CHECKING:
    from corecur.learners.image_classifier import ImageClassifier

_MOST_MISTAKES = 24
_SAMPLES_PER_CLASS = 6
_LAYERS_SHOWN = 3
_MAPS_SHOWN = 32


def begin_run(learner: ImageClassifier, data: ImageSource, result: FitResult, *, command: str) -> None:
    """Write ``config.json`` without a result yet, so that a run which ends early says what it was; and a first line."""
    if result.run is None:
        return
    result.run.write_config(_config(learner, data, command))
    result.run.log(f"training on {len(data.train):,} pictures of {data.origin}")


def write_run(learner: ImageClassifier, data: ImageSource, result: FitResult, *, command: str) -> None:
    """Fill the run folder: ``bundle/``, ``report.html``, and the result in ``config.json``."""
    run = result.run
    if run is None:
        return
    run.log(f"trained {result.epochs_in_words()} in {result.train_seconds:.1f} s")
    if result.test is not None:
        run.log(result.test.sentence())
    result.next_commands = next_commands(run.bundle, data)
    learner.save(run.bundle, card=model_card(learner, data, result, command))
    config = _config(learner, data, command)
    write_classification_report(run.report, build_report(learner, data, result, config=config))
    run.write_config(config | {"result": result.as_json()})


def _config(learner: ImageClassifier, data: ImageSource, command: str) -> dict[str, Any]:
    return {
        "command": command,
        "task": learner.task,
        "source": data.origin,
        "seed": learner.seed,
        "recipe": {} if learner.recipe is None else learner.recipe.model_dump(),
        "classes": list(data.classes),
        "samples": _class_counts(data),
        "findings": list(data.findings),
        "environment": learner.environment,
    }


def name_of(origin: str) -> str:
    """What a person calls a source: the last part of a path, a sample's name.

    >>> name_of("../photos/"), name_of("digits")
    ('photos', 'digits')
    """
    return Path(origin).resolve().name or origin


def next_commands(bundle: Path, data: ImageSource) -> tuple[str, ...]:
    """Commands to try with a new model; with a picture of the test split where that is a file."""
    model, picture = shlex.quote(str(bundle)), "PICTURE"
    if data.kind == "folder" and data.test is not None:
        file = Path(data.origin, data.test.names[0])
        picture = shlex.quote(str(file)) if file.is_file() else picture
    return f"corecur predict {model} {picture}", f"corecur evaluate {model} FOLDER", f"corecur info {model}"


def build_report(
    learner: ImageClassifier, data: ImageSource, result: FitResult, *, config: dict[str, Any]
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
        confidences=None if test is None else test.probabilities.max(1).values.numpy(),
        correct=None if test is None else (test.probabilities.argmax(1) == test.labels).numpy(),
        mistakes=() if test is None or data.test is None else worst_mistakes(test, data.test),
        class_counts=_class_counts(data),
        sample_images=_sample_images(data.train, data.classes),
        filters=_first_filters(learner.network),
        activations=_activations(learner, data.train.images[:1]),
        network_summary=summarize(learner.network),
        config={name: config[name] for name in ("source", "seed", "recipe")},
        environment=config["environment"],
        findings=[Finding(sentence) for sentence in data.findings],
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


def model_card(learner: ImageClassifier, data: ImageSource, result: FitResult, command: str) -> str:
    """``card.md``: what the model is, where it comes from and what it can do."""
    lines = [
        f"# Image classifier: {name_of(data.origin)}",
        "",
        f"- task: {learner.task}",
        f"- classes: {', '.join(data.classes)}",
        f"- trained on {len(data.train):,} pictures, {time.strftime('%Y-%m-%d')}",
        f"- {result.test.sentence()}" if result.test is not None else "- not tested",
    ]
    return "\n".join([*lines, f"- command: `{command}`"] if command else lines) + "\n"


def _test_figures(test: Evaluation) -> dict[str, float]:
    low, high = test.interval
    return {"accuracy": test.accuracy, "low": low, "high": high, "samples": float(test.samples)}


def _class_counts(data: ImageSource) -> dict[str, dict[str, int]]:
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
