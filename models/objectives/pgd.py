"""Adversarial training with PGD (Madry et al. 2018, arXiv 1706.06083)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dermrobust.models.objectives.adversarial import IterativeObjective


class PGDTraining(IterativeObjective):
    """Class-weighted cross-entropy on PGD examples (Madry et al. 2018, arXiv 1706.06083)."""

    objective: Literal["pgd"] = Field("pgd", description="PGD from a random start (Madry et al. 2018).")
