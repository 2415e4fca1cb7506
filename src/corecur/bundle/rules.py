"""Every rule that a model file or checkpoint can break, by the code of its `BundleError`. Codes never change."""

from __future__ import annotations

from collections.abc import Mapping

#: What is checked, one after the other, each with its rules.
STAGES: Mapping[str, Mapping[str, str]] = {
    "the file": {
        "no-file": "there is something at the path",
        "unreadable": "the system lets it be read",
        "not-a-file": "it is a folder or a plain file, and each member a plain file of one name: no link, pipe, device",
        "not-a-bundle": "it is a folder, or ends as a zip ends",
        "odd-archive": "it is byte for byte the one zip of its members: no prefix, gap, overlap, comment, extra field",
        "not-stored": "no member is compressed or encrypted",
        "unknown-member": "it has no members but those of the layout, spelled exactly so",
        "duplicate-member": "no member stands in it twice",
        "incomplete": "the required members are there",
        "too-large": "no member is larger than any of its kind needs to be",
    },
    "the manifest": {
        "bad-manifest": "the manifest has format, version and members, and nothing else",
        "other-version": "format and version are those this program reads",
        "other-members": "the manifest lists exactly the members there are",
        "damaged": "every member has the size and SHA-256 that the manifest promises",
    },
    "JSON and text": {
        "bad-json": "UTF-8, one document, at most 64 deep, bounded in values, texts and digits; no NaN, infinity or -0",
        "duplicate-key": "no object names a key twice",
        "bad-text": "the card is UTF-8",
        "bad-labels": "labels are different texts that can be shown, as many as the network has classes",
    },
    "the network": {
        "bad-architecture": "the description is of the closed form and fits together",
        "unknown-layer": "every layer is of a kind in the table, or of a class that the caller passed",
        "unknown-field": "no field besides those of the form",
        "unknown-value": "every setting that is an object is of a kind in the table",
        "too-much": "layers, numbers, operations, activations of one sample are within bounds; weights fit in memory",
    },
    "the weights": {
        "bad-weights": "a safetensors header of the strict form, whose tensors fill the file without gap or overlap",
        "other-tensors": "exactly the tensors that the network has, by name, shape and type",
        "not-finite": "no NaN, no infinity, and truth values that are 0 or 1",
    },
    "the task": {
        "no-learner": "it says what it was trained for",
        "other-task": "that is a task this program knows",
        "bad-preprocess": "the preprocessing is of its task's closed form and fits the network",
    },
    "the signature": {
        "not-signed": "there is a signature beside it",
        "bad-signature": "the signature is one of its manifest by this key",
    },
}

#: What a checkpoint must keep beside the rules of file, manifest, JSON and weights.
CHECKPOINT_RULES: dict[str, str] = {
    "bad-state": "the state has the closed form of a training's, with values that it can have",
    "other-training": "network, optimizer, metrics and callbacks are those of the training that goes on",
}

#: All rules of a model file.
RULES: dict[str, str] = {code: rule for rules in STAGES.values() for code, rule in rules.items()}
