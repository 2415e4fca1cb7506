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
    "Forecaster",
    "ImageClassifier",
    "Input",
    "Model",
    "RunError",
    "SequenceTagger",
    "Sequential",
    "SeriesClassifier",
    "ShapeError",
    "TextClassifier",
    "TextGenerator",
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
    from corecur.learners.forecaster import Forecaster
    from corecur.learners.image_classifier import ImageClassifier
    from corecur.learners.sequence_tagger import SequenceTagger
    from corecur.learners.series_classifier import SeriesClassifier
    from corecur.learners.text_classifier import TextClassifier
    from corecur.learners.text_generator import TextGenerator
else:
    _LEARNERS = {
        "Forecaster": "corecur.learners.forecaster",
        "ImageClassifier": "corecur.learners.image_classifier",
        "SequenceTagger": "corecur.learners.sequence_tagger",
        "SeriesClassifier": "corecur.learners.series_classifier",
        "TextClassifier": "corecur.learners.text_classifier",
        "TextGenerator": "corecur.learners.text_generator",
    }

    def __getattr__(name: str) -> type:
        if name not in _LEARNERS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_LEARNERS[name]), name)
