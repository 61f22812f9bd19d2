"""When training ends, from the history of its validation figures alone, so that a resumed training ends there too."""

from __future__ import annotations

import enum

from dermrobust.components.train.checkpoint import TrainingState
from dermrobust.components.train.component import TrainParams

_COLLAPSED = 0.5


class Stop(enum.StrEnum):
    """Why training ended."""

    EPOCHS = "epochs"
    PATIENCE = "patience"
    OVERFITTING = "catastrophic_overfitting"


def score_name(params: TrainParams) -> str:
    """Return the figure by which the best epoch is chosen."""
    kind = "robust_balanced_accuracy" if params.objective.adversarial else "balanced_accuracy"
    return f"validation_{kind}"


def stopped_by(state: TrainingState, params: TrainParams) -> Stop | None:
    """Return why training ends here, None while it goes on."""
    if params.objective.adversarial and _overfits(state, params.overfitting_drop):
        return Stop.OVERFITTING
    if state.epoch >= params.epochs:
        return Stop.EPOCHS
    return Stop.PATIENCE if state.epoch - state.best_epoch >= params.patience else None


def _overfits(state: TrainingState, drop: float) -> bool:
    """Tell whether robustness is lost all of a sudden (Wong, Rice & Kolter 2020, arXiv 2001.03994).

    Robust accuracy alone would also fall when a network that so far called everything by the commonest class begins to
    tell classes apart; so it is compared to the best epoch, and the balanced one must have collapsed as well.
    """
    if not state.history:
        return False
    best, last = state.history[state.best_epoch - 1], state.history[-1]
    fallen = best["validation_robust_accuracy"] - last["validation_robust_accuracy"] > drop
    return fallen and last["validation_robust_balanced_accuracy"] < _COLLAPSED * state.best_score
