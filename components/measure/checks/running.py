"""The self-checks of an evaluation; adding one is a function and its line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dermrobust.components.evaluation.checks import Check, Checks
from dermrobust.components.measure.checks import bookkeeping, network, strength
from dermrobust.components.measure.checks.evidence import Evidence

CHECKS: tuple[Callable[[Evidence], Iterator[Check]], ...] = (
    bookkeeping.all_is_recorded,
    bookkeeping.stored_images_are_in_budget,
    strength.iterative_beats_single_step,
    strength.converged,
    strength.falls_with_budget,
    strength.broken_by_a_large_budget,
    strength.white_box_beats_black_box,
    strength.noise_is_weakest,
    network.gradients_exist,
    network.outputs_are_logits,
    network.forward_pass_is_deterministic,
    bookkeeping.worst_case_is_per_example,
    strength.control_breaks,
    strength.adaptive_robustness,
    bookkeeping.splits_do_not_leak,
    bookkeeping.clean_beside_robust,
)


def run_checks(evidence: Evidence) -> Checks:
    """Return what every check says of every model, in the order of the checks."""
    return Checks(checks=tuple(check for function in CHECKS for check in function(evidence)))
