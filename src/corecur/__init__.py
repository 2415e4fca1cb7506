"""corecur: convolutional and recurrent networks from raw data to a served model."""

from importlib import import_module
from typing import TYPE_CHECKING

from corecur import layers
from corecur.engine import callbacks, losses, metrics, optimizers, schedules
from corecur.errors import BundleError, ConfigError, CorecurError, DataError, RunError, ShapeError
from corecur.models import Input, Model, Sequential
from corecur.version import __version__

__all__ = [
    "BundleError",
    "ConfigError",
    "CorecurError",
    "DataError",
    "ImageClassifier",
    "Input",
    "Model",
    "RunError",
    "Sequential",
    "SequenceTagger",
    "ShapeError",
    "__version__",
    "callbacks",
    "layers",
    "losses",
    "metrics",
    "optimizers",
    "schedules",
]

# Learners are loaded at first use: each needs several times the code that layers and models need.
if TYPE_CHECKING:
    from corecur.learners.image_classifier import ImageClassifier
    from corecur.learners.sequence_tagger import SequenceTagger
else:
    _LEARNERS = {
        "ImageClassifier": "corecur.learners.image_classifier",
        "SequenceTagger": "corecur.learners.sequence_tagger",
    }

    def __getattr__(name: str) -> type:
        if name not in _LEARNERS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_LEARNERS[name]), name)
