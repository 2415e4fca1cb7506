"""corecur: convolutional and recurrent networks from raw data to a served model."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

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
    "Stopped",
    "TextClassifier",
    "TextGenerator",
    "__version__",
    "callbacks",
    "check",
    "compare",
    "layers",
    "losses",
    "metrics",
    "optimizers",
    "schedules",
    "tune",
]

# Names are loaded at first use: the command must watch for signals before torch is imported, which takes seconds.
if TYPE_CHECKING:
    from corecur import layers
    from corecur.comparison.compare import compare
    from corecur.engine import callbacks, losses, metrics, optimizers, schedules
    from corecur.errors import BundleError, ConfigError, CorecurError, DataError, RunError, ShapeError, Stopped
    from corecur.learners.data_check import check
    from corecur.learners.forecaster import Forecaster
    from corecur.learners.image_classifier import ImageClassifier
    from corecur.learners.sequence_tagger import SequenceTagger
    from corecur.learners.series_classifier import SeriesClassifier
    from corecur.learners.text_classifier import TextClassifier
    from corecur.learners.text_generator import TextGenerator
    from corecur.models import Input, Model, Sequential
    from corecur.tuning.tune import tune
    from corecur.version import __version__
else:
    _HOMES = {
        **dict.fromkeys(
            ("BundleError", "ConfigError", "CorecurError", "DataError", "RunError", "ShapeError", "Stopped"), "errors"
        ),
        **dict.fromkeys(("Input", "Model", "Sequential"), "models"),
        "Forecaster": "learners.forecaster",
        "ImageClassifier": "learners.image_classifier",
        "SequenceTagger": "learners.sequence_tagger",
        "SeriesClassifier": "learners.series_classifier",
        "TextClassifier": "learners.text_classifier",
        "TextGenerator": "learners.text_generator",
        "__version__": "version",
        "check": "learners.data_check",
        "tune": "tuning.tune",
        "compare": "comparison.compare",
    }

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        elif name in ("callbacks", "losses", "metrics", "optimizers", "schedules"):
            found = import_module(f"{__name__}.engine.{name}")
        elif not name.startswith("_") and find_spec(f"{__name__}.{name}") is not None:
            found = import_module(f"{__name__}.{name}")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
