"""The error for a checkpoint of another training."""

from __future__ import annotations

from corecur.errors import BundleError


def misfit(what: str) -> BundleError:
    """The error for a state that a training cannot have been in; ``what`` says how it is seen.

    >>> misfit("it has other metrics").code
    'other-training'
    """
    return BundleError(
        "other-training",
        f"the checkpoint does not fit this training: {what}",
        do="give the network, the optimizer, the callbacks and the data that the training began with",
    )
