"""Digest of initial weights that a user provides."""

from __future__ import annotations

from dermrobust.components.component import Params
from dermrobust.components.train.component import TrainParams


def digest(params: Params) -> str:
    """Return the digest of the weights that training with these parameters starts from; see `Network.weights_digest`.

    Raises:
        UserError: They cannot be read.
    """
    assert isinstance(params, TrainParams)
    return params.network.weights_digest()
