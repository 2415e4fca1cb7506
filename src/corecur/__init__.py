"""corecur: convolutional and recurrent networks from raw data to a served model."""

from corecur import layers
from corecur.engine import callbacks, losses, metrics, optimizers, schedules
from corecur.errors import BundleError, ConfigError, CorecurError, DataError, RunError, ShapeError
from corecur.learners.image_classifier import ImageClassifier
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
    "ShapeError",
    "__version__",
    "callbacks",
    "layers",
    "losses",
    "metrics",
    "optimizers",
    "schedules",
]
