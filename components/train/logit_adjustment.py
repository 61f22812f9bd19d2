"""Logit adjustment (Menon et al. 2021, arXiv 2007.07314), also known as balanced softmax (Ren et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from dermrobust.components.train.class_balance import sampling_rates

Offsets = np.ndarray[Any, np.dtype[np.float32]]


def logit_offsets(counts: Sequence[float], sampling: str, factor: float) -> Offsets | None:
    """Return a factor times the logarithm of each class's frequency, float32 [class_count]; None for a factor of zero.

    Args:
        counts: Number of training images of each class.
        sampling: See `sampling_rates`; the frequency is that among the drawn images.
        factor: 1 makes the network without the offsets estimate which class is likely if all are equally frequent.
    """
    if not factor:
        return None
    # A class without images counts as one with a single image: the logarithm of zero is infinite.
    drawn = np.maximum(np.asarray(counts, np.float64), 1.0) * sampling_rates(counts, sampling)
    return np.asarray(factor * np.log(drawn / drawn.sum()), np.float32)


def adjusted(network: keras.Model, offsets: Offsets | None) -> keras.Model:
    """Return a network with the same variables whose logits are shifted by offsets of the classes; None: itself.

    Only training sees the offsets, and in it crafting too (Yue et al. 2024, arXiv 2403.10073). The loss then asks for
    larger margins of rare classes, so the network without offsets predicts as if all classes were equally frequent.
    """
    if offsets is None:
        return network
    return keras.Model(network.inputs, network.outputs[0] + offsets, name="adjusted")
