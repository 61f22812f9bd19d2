"""Accuracy that adaptive attacks remove of the robustness that a model shows against transferred examples.

A model that was trained on stored adversarial examples often withstands examples that were crafted on another model,
and falls to the same attack through its own gradients (Athalye et al. 2018, arXiv 1802.00420).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from dermrobust.components.evaluation.content import Content
from dermrobust.components.evaluation.names import WORST_CASE
from dermrobust.components.evaluation.schemas import OVERALL


class AdaptiveLoss(Content):
    """Accuracies of one model at one budget.

    Attributes:
        model: name of the model.
        epsilon: budget in 1/255.
        attack: name of the transferred attack.
        transferred: accuracy on its examples.
        adaptive: accuracy in the worst case of all attacks, those on the model's own gradients among them.
    """

    model: str
    epsilon: float
    attack: str
    transferred: float
    adaptive: float

    @property
    def removed(self) -> float:
        """Accuracy that is lost to an attacker who has the model."""
        return self.transferred - self.adaptive


class AdaptiveLosses(Content):
    """Content of `adaptive.json`."""

    losses: tuple[AdaptiveLoss, ...]


def adaptive_losses(metrics: pa.Table, transfers: Sequence[str]) -> AdaptiveLosses:
    """Compare transferred attacks with the worst case, for each model and budget.

    Args:
        metrics: see `schemas.METRICS_SCHEMA`.
        transfers: names of the attacks whose examples are crafted on another model.
    """
    found = {
        (row["model"], row["attack"], row["epsilon"]): row["value"]
        for row in metrics.to_pylist()
        if row["slice"] == OVERALL and row["metric"] == "accuracy" and row["epsilon"] is not None
    }
    losses = [
        AdaptiveLoss(
            model=model,
            epsilon=epsilon,
            attack=attack,
            transferred=accuracy,
            adaptive=found[model, WORST_CASE, epsilon],
        )
        for (model, attack, epsilon), accuracy in found.items()
        if attack in transfers
    ]
    return AdaptiveLosses(losses=tuple(losses))
