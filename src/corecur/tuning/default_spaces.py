"""What is searched where nobody says: for each task the settings of its recipe that matter, the most important first.

Ranges lie around the recipe's own values, wide enough for data the recipe was not made on. The learning rate is first
because no other setting costs as much when it is wrong (Bengio 2012, "Practical recommendations for gradient-based
training of deep architectures", section 3.1.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Aim:
    """What a validation is to get best in; ``instead`` takes its place where a training does not compute it.

    >>> Aim("val_accuracy").direction
    'maximize'
    """

    metric: str
    direction: Literal["maximize", "minimize"] = "maximize"
    instead: str | None = None


ACCURACY, LOSS = Aim("val_accuracy"), Aim("val_loss", "minimize")

#: task -> setting -> its values, as `search_space` reads them.
SPACES: dict[str, dict[str, str]] = {
    "image-classification": {
        "learning_rate": "0.01..0.5",
        "other_learning_rate": "0.003..0.1",
        "batch_size": "32,64,128,256",
        "momentum": "0.3..0.9",
        "label_smoothing": "0..0.2",
        "zoom": "0..0.2",
        "mixup": "0..0.4",
    },
    "series-classification": {
        "learning_rate": "0.001..0.05",
        "model": "fcn,inception,fcn+inception,lstm-fcn",
        "filters": "16,32,64",
        "dropout": "0..0.5",
        "weight_decay": "0.001..0.3",
        "label_smoothing": "0..0.2",
        "mixup": "0..0.4",
    },
    "text-classification": {
        "learning_rate": "0.0005..0.02",
        "dropout": "0..0.7",
        "embedding_dropout": "0..0.6",
        "word_dropout": "0..0.4",
        "vote_dropout": "0..0.6",
        "units": "32,64,128",
        "label_smoothing": "0..0.2",
    },
    "sequence-tagging": {
        "learning_rate": "0.001..0.02",
        "dropout": "0.2..0.7",
        "word_dropout": "0..0.6",
        "units": "50,100,200",
        "batch_size": "8,16,32,64",
        "weight_decay": "1e-6..1e-2",
    },
    "forecasting": {
        "learning_rate": "0.001..0.05",
        "dropout": "0..0.7",
        "hidden": "32,64,128,256",
        "normalisation": "window,last",
        "batch_size": "32,64,128,256",
        "weight_decay": "1e-6..1e-1",
    },
    "text-generation": {
        "learning_rate": "0.001..0.03",
        "dropout": "0..0.6",
        "input_dropout": "0..0.4",
        "units": "128,256,512",
        "weight_decay": "0.0005..0.1",
        "batch_size": "16,32,64",
    },
}

AIMS: dict[str, Aim] = {
    "image-classification": ACCURACY,
    "series-classification": ACCURACY,
    "text-classification": ACCURACY,
    "sequence-tagging": Aim("val_f1", instead="val_accuracy"),
    "forecasting": LOSS,
    "text-generation": LOSS,
}

#: Settings whose values cannot be compared by a validation, for they change its question.
UNFIT: dict[str, tuple[str, ...]] = {
    "forecasting": ("horizon", "quantiles"),
    "text-generation": ("level", "vocabulary", "min_count"),
}
