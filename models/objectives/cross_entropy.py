"""Standard training: cross-entropy on clean images."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dermrobust.models.objectives.objective import Objective


class CrossEntropy(Objective):
    """Class-weighted cross-entropy on clean images."""

    objective: Literal["cross_entropy"] = Field("cross_entropy", description="Standard training.")
