"""What a bundle, the model file, consists of: version 1.

A folder or a zip that only stores, with exactly these members; the manifest holds the size and SHA-256 of the others.
"""

from __future__ import annotations

VERSION = 1
MANIFEST = "manifest.json"
MODEL = "model.json"
WEIGHTS = "weights.safetensors"
PREPROCESS = "preprocess.json"
LABELS = "labels.json"
CARD = "card.md"

REQUIRED = (MANIFEST, MODEL, WEIGHTS)
OPTIONAL = (PREPROCESS, LABELS, CARD)
MEMBERS = REQUIRED + OPTIONAL

#: Largest sizes in bytes; a model of this project needs far less in each.
LIMITS = {
    MANIFEST: 1 << 16,
    MODEL: 1 << 24,
    WEIGHTS: 1 << 36,
    PREPROCESS: 1 << 26,
    LABELS: 1 << 26,
    CARD: 1 << 20,
}

#: Endings that make a bundle one file instead of a folder.
FILE_ENDINGS = (".zip", ".corecur")
