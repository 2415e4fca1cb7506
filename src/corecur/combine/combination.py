"""Several models as one: averaged, weighted, stacked, or their weights averaged, with a proof against the members.

M members, N samples, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from corecur import runtime
from corecur.bundle.layout import FILE_ENDINGS
from corecur.combine.blend import Stack, likeliest_weights, mixture_weights, quantile_weights, stack_weights
from corecur.combine.member_answers import (
    FLOOR,
    answer_in,
    bio_of,
    check_stackable,
    chosen_shares,
    copy_of,
    quantiles_of,
    soup_judge,
    split_answers,
)
from corecur.combine.members import Member, entrance, exit_for, open_members, same_architecture
from corecur.combine.proof import Proof, prove
from corecur.combine.soup import greedy_soup
from corecur.combine.unseen_splits import read_splits
from corecur.engine.calibration import Calibration, calibrate
from corecur.errors import ConfigError
from corecur.finding import Finding
from corecur.layers.activation import Activation, Softmax
from corecur.layers.crf import CRF
from corecur.layers.dense import Dense
from corecur.layers.logarithm import Logarithm
from corecur.layers.merge import Add, Average, Concatenate
from corecur.layers.rescaling import Rescaling
from corecur.layers.shape import Permute
from corecur.learners.forecaster import Forecaster
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.learner import Learner, name_of
from corecur.learners.outcome import Tell, silence
from corecur.learners.sequence_tagger import SequenceTagger
from corecur.learners.text_generator import TextGenerator
from corecur.models import Input, Model
from corecur.run_folder import find_bundle

Method = Literal["average", "weighted", "stacking", "soup"]
METHODS: tuple[Method, ...] = ("average", "weighted", "stacking", "soup")


@dataclass(frozen=True)
class Combination:
    """What came of it: the learner, how much each member counts, the proof, and what is odd."""

    learner: Learner[Any, Any, Any]
    method: Method
    weights: dict[str, float]
    calibration: Calibration | None
    proof: Proof | None
    path: Path
    detail: str = ""
    findings: tuple[Finding, ...] = field(default=())
    seconds: float = 0.0

    def sentence(self) -> str:
        """How it is made, in words."""
        of = ", ".join(f"{name} {share:.3f}" for name, share in self.weights.items())
        by_step = self.method == "stacking" and isinstance(self.learner, Forecaster)
        words = "a weighted average for each step of the answers of" if by_step else _WORDS[self.method]
        return f"{words} {len(self.weights)} members ({of})" + (f"; {self.detail}" if self.detail else "")

    def as_json(self) -> dict[str, Any]:
        """The parts as JSON values."""
        return {
            "task": self.learner.task,
            "bundle": str(self.path),
            "method": self.method,
            "weights": self.weights,
            "detail": self.detail,
            "calibration": None if self.calibration is None else self.calibration.as_json(),
            "proof": None if self.proof is None else self.proof.as_json(),
            "findings": [found.as_json() for found in self.findings],
            "seconds": round(self.seconds, 3),
        }


_WORDS = {
    "average": "the average of the answers of",
    "weighted": "the weighted average of the answers of",
    "stacking": "a linear layer over the logarithms of the answers of",
    "soup": "the average of the weights of",
}


def combine(
    paths: Sequence[str | Path],
    source: Any,
    *,
    out: str | Path,
    method: Method = "average",
    validation: Any = None,
    test: Any = None,
    split_seed: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    tell: Tell = silence,
) -> Combination:
    """Combine the models at ``paths`` and write the bundle ``out``: validation fits, the test is reported once.

    ``source`` is what the members learned from, or one like it; splits that it lacks are drawn as the members' runs
    drew them, or by ``split_seed``. ConfigError where models cannot be combined, DataError for the source.
    """
    began = time.perf_counter()
    if method not in METHODS:
        raise ConfigError(f"there is no way to combine called {method!r}", expected=", ".join(METHODS))
    if threads is not None:
        torch.set_num_threads(threads)
    runtime.seed_everything(0)
    path = Path(out)
    _check_out(path, paths)
    members = open_members(paths, device=device)
    _check_method(members, method)
    data, findings = read_splits(members, source, validation=validation, test=test, split_seed=split_seed)
    if data.validation is None or not len(data.validation):
        if method != "average":
            raise ConfigError(
                f"{method} is fitted on validation samples, and there are none",
                do="give --validation, a source of its own or a share, or take --method average",
            )
        if members[0].learner.task != TextGenerator.task:  # whose probabilities stay as they are
            tell("! there is no validation split: the probabilities cannot be calibrated")
    learner, weights, detail, calibration = _combined(members, method, data)
    if isinstance(learner, Forecaster):
        learner.fit_intervals(data)
    calibration = learner.calibrate(data) if calibration is None else calibration
    if calibration is not None:
        tell(calibration.sentence())
    proof = prove(learner, members, data) if _is_provable(learner, method, data) else None
    findings = (*findings, *_proof_findings(proof))
    if path.exists():
        tell(f"! the model that was at {path} is replaced")
    found = Combination(learner, method, weights, calibration, proof, path, detail, findings)
    learner.save(path, card=_card(found, source))
    return Combination(
        learner, method, weights, calibration, proof, path, detail, findings, seconds=time.perf_counter() - began
    )


def _is_provable(learner: Learner[Any, Any, Any], method: Method, data: Any) -> bool:
    """Whether there is a test split, or a validation text that nothing was fitted on."""
    if data.test is not None and len(data.test) > 0:
        return True
    return isinstance(learner, TextGenerator) and method == "average" and data.validation is not None


def _proof_findings(proof: Proof | None) -> tuple[Finding, ...]:
    """What is said where the proof is not on a test split."""
    if proof is None:
        why = "There is no test split: the combination is not shown to be better."
        return (Finding("no-proof", why, remedy="give --test, as the members had it"),)
    if proof.split == "test":
        return ()
    why = f"There is no test split: the proof is on the {proof.split} split, by which the members' epochs were chosen."
    return (Finding("validation-proof", why, remedy="train the members with --test 0.1, say", level="note"),)


def _check_method(members: Sequence[Member], method: Method) -> None:
    learner = members[0].learner
    if method == "stacking":
        check_stackable(learner)
    if method == "soup":
        orders = {member.learner.classes for member in members}
        if not same_architecture(members) or len(orders) > 1:
            raise ConfigError(
                "only weights of the same architecture and order of labels can be averaged",
                got=", ".join(f"{m.name}: {m.learner.network.name}, {m.learner.network.count_params():,} weights"
                              for m in members),
                do="take --method average, weighted or stacking",
            )  # fmt: skip


class Made(NamedTuple):
    """The learner of a combination, how much each member counts, what else is to be said, and its calibration."""

    learner: Learner[Any, Any, Any]
    weights: dict[str, float]
    detail: str
    calibration: Calibration | None = None


def _combined(members: Sequence[Member], method: Method, data: Any) -> Made:
    """The combination; its calibration only where its fit gives one."""
    first = members[0].learner
    classes = first.classes
    if method == "soup":
        return _soup(members, data)
    fitted: Calibration | None = None
    shares, detail, stack = torch.full((len(members),), 1 / len(members)), "", None
    steps: Tensor | None = None
    if method != "average":
        if isinstance(first, Forecaster):
            steps = _quantile_shares(members, data, by_step=method == "stacking")  # (M, H), or (M, 1)
            shares = steps.mean(1)
        elif isinstance(first, TextGenerator):
            shares = likeliest_weights(chosen_shares(members, data.validation))
        else:
            answers, labels, groups = split_answers(members, classes, data.validation, stacked=method == "stacking")
            if method == "weighted":
                shares = mixture_weights(answers, labels)
            else:
                stack = stack_weights(answers, labels, groups=groups)
                shares = stack.weight.view(len(classes), len(members), -1).diagonal(dim1=0, dim2=2).mean(1)
                noun = "samples" if groups is None else "words"
                detail = f"penalty {stack.penalty:g}, chosen by folds of {len(labels):,} validation {noun}"
    used = [(member, float(share)) for member, share in zip(members, shares, strict=True) if share or stack is not None]
    if len(used) < len(members):
        gone = ", ".join(member.name for member, share in zip(members, shares, strict=True) if not share)
        detail = f"left out, since they add nothing on the validation split: {gone}"
    steps = None if steps is None or steps.shape[1] == 1 else steps[shares > 0]
    network = _network(used, classes, first, stack if steps is None else steps, bio=bio_of(first, data))
    learner = _learner_like(first, network, classes)
    if stack is not None:  # what it says of the samples that it was fitted on is too sure
        fitted = replace(calibrate(stack.unseen, labels), noun="samples" if groups is None else "words")
        learner._preprocess = learner.preprocess.model_copy(update={"temperature": fitted.temperature})
    counts = {member.name: round(float(share), 6) for member, share in zip(members, shares, strict=True)}
    return Made(learner, counts, detail, fitted)


def _learner_like(first: Learner[Any, Any, Any], network: Model, classes: tuple[str, ...]) -> Learner[Any, Any, Any]:
    """A learner with this network that prepares inputs as the first member does, not yet calibrated."""
    learner = type(first)(device=first.device, precision=first.precision)
    learner._network = network.to(learner._device).eval()
    given = first.preprocess
    learner._preprocess = given.model_copy(update={"temperature": 1.0}) if hasattr(given, "temperature") else given
    learner.classes = classes
    return learner


def _network(
    used: Sequence[tuple[Member, float]],
    classes: tuple[str, ...],
    first: Learner[Any, Any, Any],
    stack: Stack | Tensor | None,
    bio: tuple[str, ...] | None,
) -> Model:
    """One network of all members, which share its inputs; with ``bio`` it answers with tags that may stand in a row."""
    inputs = [Input(batch_shape=symbol.shape, dtype=symbol.dtype) for symbol in first.network.input_symbols]
    answers = []
    for number, (member, _) in enumerate(used):
        own = list(inputs)
        if isinstance(first, ImageClassifier):
            turn = entrance(first.preprocess.normalisation, member.learner.preprocess.normalisation)
            own = own if turn is None else [turn(own[0])]
        answer = answer_in(member, own, name=f"member_{number + 1}")
        turned = exit_for(classes, member.learner.classes)
        answers.append(answer if turned is None else turned(answer))
    if isinstance(stack, Tensor):  # (M, H): the steps last, so that each has its factor, and back
        turned_steps = [Permute((2, 3, 1))(answer) for answer in answers]  # (B, C, Q, H)
        parts = [Rescaling(tuple(row))(one) for row, one in zip(stack.tolist(), turned_steps, strict=True)]
        output = Permute((3, 1, 2))(parts[0] if len(parts) == 1 else Add()(parts))  # (B, H, C, Q)
        return Model(inputs, output, name="combination")
    if stack is None:
        shares = [share for _, share in used]
        if len(set(shares)) == 1:
            output = answers[0] if len(answers) == 1 else Average()(answers)
        else:
            output = Add()([Rescaling(share)(answer) for share, answer in zip(shares, answers, strict=True)])
        if isinstance(
            first, (SequenceTagger, TextGenerator)
        ):  # whose networks give scores, or leave them on the output
            output = Logarithm(FLOOR)(output)
            output = Softmax()(output) if isinstance(first, TextGenerator) else _in_a_row(output, bio)
        return Model(inputs, output, name="combination")
    blend = Dense(len(classes), dtype="float32")
    output = blend(Logarithm()(Concatenate()(answers)))
    output = _in_a_row(output, bio) if isinstance(first, SequenceTagger) else Activation("softmax")(output)
    network = Model(inputs, output, name="combination")
    blend.load_state_dict({"weight": stack.weight, "bias": stack.bias})
    return network


def _in_a_row(scores: Any, bio: tuple[str, ...] | None) -> Any:
    """Scores of tags, with the best sequence that the BIO scheme allows as the answer."""
    if bio is None:
        return scores
    return CRF(len(bio), bio=bio, answer="steps", transition_initializer="zeros", trainable=False)(scores)


def _quantile_shares(members: Sequence[Member], data: Any, *, by_step: bool) -> Tensor:
    """The weights (M, 1) of forecasters, or (M, H) for each step: of the least quantile loss on validation rows."""
    first: Any = members[0].learner
    quantiles = torch.tensor(first.preprocess.quantiles, dtype=torch.float64)
    windows = first.windows(data.validation)
    chosen = torch.linspace(0, windows.samples - 1, min(windows.samples, 400)).long()
    parts = [windows.windows(part) for part in torch.split(chosen, windows.batch_size)]
    plain = [quantiles_of(member.learner) for member in members]
    answers = torch.stack([torch.cat([one(part.inputs).cpu() for part in parts]) for one in plain]).double()
    truth = torch.cat([part.targets.cpu() for part in parts]).double().unsqueeze(-1)  # (W, H, C, 1)

    def fitted(part: slice) -> Tensor:
        def loss(weights: Tensor) -> Tensor:
            error = truth[:, part] - (weights.view(-1, 1, 1, 1, 1) * answers[:, :, part]).sum(0)  # (W, H, C, Q)
            return torch.maximum(quantiles * error, (quantiles - 1) * error).mean()

        return quantile_weights(loss, len(members))

    horizon = truth.shape[1]
    parts_of = [slice(step, step + 1) for step in range(horizon)] if by_step else [slice(0, horizon)]
    return torch.stack([fitted(part) for part in parts_of], 1)


def _soup(members: Sequence[Member], data: Any) -> Made:
    first: Any = members[0].learner
    states = [{k: v.detach().clone().cpu() for k, v in member.learner.network.state_dict().items()}
              for member in members]  # fmt: skip
    learner = _learner_like(first, copy_of(first.network, name=first.network.name), first.classes)
    loss, count = soup_judge(learner, data)
    inside = greedy_soup(learner.network, states, loss=loss, count=count)
    shares = {member.name: 1 / len(inside) if place in inside else 0.0 for place, member in enumerate(members)}
    detail = (
        "each of them lowers the validation loss"
        if len(inside) > 1
        else ("no average with another one is as good on the validation split: it is that member alone")
    )
    return Made(learner, shares, detail)


def _card(found: Combination, source: Any) -> str:
    """``card.md``: what was combined, how, and the proof."""
    learner = found.learner
    lines = [
        f"# {learner.title.capitalize()}: a combination of {len(found.weights)} models",
        "",
        f"- task: {learner.task}",
        *([f"- classes: {', '.join(learner.classes)}"] if learner.classes else []),
        f"- combined {time.strftime('%Y-%m-%d')}: {found.sentence()}",
        *([f"- fitted and tested on: {name_of(str(source))}"] if isinstance(source, (str, Path)) else []),
        *([f"- {found.calibration.sentence()}"] if found.calibration is not None else []),
        *(f"- {line}" for line in (found.proof.lines() if found.proof is not None else ["not tested"])),
    ]
    return "\n".join(lines) + "\n"


def _check_out(path: Path, members: Sequence[str | Path]) -> None:
    """Refuse a place where a bundle cannot be written or a member lies, before any work."""
    if path.resolve() in (find_bundle(Path(member)).resolve() for member in members):
        raise ConfigError("the combination would replace one of its members", where=path, do="choose another --out")
    if path.is_dir() and not (path / "manifest.json").exists() and any(path.iterdir()):
        raise ConfigError("there is something else at this place", where=path, do="choose another --out")
    if path.is_file() and path.suffix not in FILE_ENDINGS:
        raise ConfigError("there is a file at this place", where=path, do="choose another --out")
