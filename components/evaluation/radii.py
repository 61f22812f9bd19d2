"""Curve of robust accuracy over the budget, from the robust radius of each image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dermrobust.components.evaluation.intervals import wilson_interval
from dermrobust.components.evaluation.rows import Figure
from dermrobust.components.evaluation.schemas import radius

_ROUNDING = 1e-5
"""Relative error of a radius in float32."""


def robust_accuracy(radii: pa.Table, model: str, epsilon: float, *, attack: str, label: int | None = None) -> Figure:
    """Return the fraction of images whose radius is above a budget, with its 95 % interval.

    No attack runs: any budget up to the largest of the evaluation can be asked for afterwards.

    Args:
        radii: table of `schemas.radii_schema`.
        model: name of the model.
        epsilon: budget in 1/255, at most the largest of the evaluation; 0 for clean images.
        attack: name of the attack that found the radii.
        label: only images of this class; None: all.

    Raises:
        ValueError: the budget is larger than those of the evaluation, or there are no such images.
    """
    chosen = radii.filter(pc.equal(radii["attack"], attack))
    if label is not None:
        chosen = chosen.filter(pc.equal(chosen["label"], label))
    if not chosen.num_rows:
        raise ValueError(f"there are no radii under '{attack}' of such images")
    largest = pc.max(chosen["epsilon"]).as_py()
    if epsilon > largest:
        raise ValueError(f"radii are known up to {largest:g}/255, not up to {epsilon:g}/255")
    found = np.asarray(pc.fill_null(chosen[radius(model)], np.inf).to_numpy(), np.float64)
    # An attacker needs the whole radius; an image with the radius 0 is wrong when clean.
    value = float((found > epsilon * (1 + _ROUNDING)).mean())
    return Figure(value, len(found), *wilson_interval(value, len(found)))


def budgets(radii: pa.Table, norm: str, points: int = 20) -> Iterator[float]:
    """Yield the budgets of a curve in 1/255: 0, and whole levels for L-infinity, evenly spaced lengths for L2."""
    largest = pc.max(radii["epsilon"]).as_py()
    yield 0.0
    if norm == "linf":
        # At most about twice as many as points, so that a chart of a large budget stays readable.
        step = max(1, int(largest) // points)
        yield from (float(level) for level in range(step, int(largest) + 1, step))
    else:
        yield from (largest * number / points for number in range(1, points + 1))
