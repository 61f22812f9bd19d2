"""Stopping rules of training.

They depend on the history of validation figures alone, so that a resumed training stops at the same epoch.
"""

from __future__ import annotations

import enum

from dermrobust.components.train.checkpoint import TrainingState
from dermrobust.components.train.component import TrainParams

_COLLAPSED = 0.5
"""Fraction of the best robust balanced accuracy below which robustness counts as lost."""


class Stop(enum.StrEnum):
    """Reason for which training stopped."""

    EPOCHS = "epochs"
    PATIENCE = "patience"
    OVERFITTING = "catastrophic_overfitting"


def score_name(params: TrainParams) -> str:
    """Return the name of the figure by which the best epoch is chosen."""
    kind = "robust_balanced_accuracy" if params.objective.adversarial else "balanced_accuracy"
    return f"validation_{kind}"


def stopped_by(state: TrainingState, params: TrainParams) -> Stop | None:
    """Return the reason to stop, or None to go on."""
    # First: a training whose last epoch overfits must say so, though it stops there anyway.
    if params.objective.adversarial and _overfits(state, params.overfitting_drop):
        return Stop.OVERFITTING
    if state.epoch >= params.epochs:
        return Stop.EPOCHS
    return Stop.PATIENCE if state.epoch - state.best_epoch >= params.patience else None


def _overfits(state: TrainingState, drop: float) -> bool:
    """Return whether robustness collapsed (catastrophic overfitting; Wong, Rice & Kolter 2020, arXiv 2001.03994).

    Robust accuracy alone also falls when a network that predicted the commonest class for every image begins to tell
    classes apart. It is therefore compared to the best epoch, and balanced accuracy must have collapsed as well.
    """
    if not state.history:
        return False
    best, last = state.history[state.best_epoch - 1], state.history[-1]
    fallen = best["validation_robust_accuracy"] - last["validation_robust_accuracy"] > drop
    return fallen and last["validation_robust_balanced_accuracy"] < _COLLAPSED * state.best_score
