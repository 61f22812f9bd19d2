"""Self-checks of an evaluation; a new one is a function and its line here."""

from __future__ import annotations

from dermrobust.components.evaluation.checks import ACCESS, Checks
from dermrobust.components.measure.checks import bookkeeping, certificates, network, strength, transforms
from dermrobust.components.measure.checks.check import SelfCheck
from dermrobust.components.measure.checks.evidence import Evidence

CHECKS = (
    SelfCheck("recorded", "Everything is recorded", bookkeeping.all_is_recorded),
    SelfCheck("stored", "Stored images are in budget", bookkeeping.stored_images_are_in_budget),
    SelfCheck("iterative", "Many steps beat one", strength.iterative_beats_single_step),
    SelfCheck("converged", "Twice the effort changes nothing", strength.converged),
    SelfCheck("budget", "Robustness falls with the budget", strength.falls_with_budget),
    SelfCheck("large_budget", "A large budget breaks it", strength.broken_by_a_large_budget),
    SelfCheck("black_box", "Black-box attacks are not stronger", strength.white_box_beats_black_box),
    SelfCheck("noise", "Random noise is weakest", strength.noise_is_weakest),
    SelfCheck(ACCESS, "Access to the model", network.attacks_see_gradients),
    SelfCheck("gradients", "Gradients exist", network.gradients_exist),
    SelfCheck("logits", "Logits, not probabilities", network.outputs_are_logits),
    SelfCheck("deterministic", "Deterministic forward pass", network.forward_pass_is_deterministic),
    SelfCheck("worst_case", "Worst case of each image", bookkeeping.worst_case_is_per_example),
    SelfCheck("escalated", "Masked gradients are passed", strength.masked_gradients_are_passed),
    SelfCheck("control", "The undefended control breaks", judge_all=strength.control_breaks),
    SelfCheck("adaptive", "Robust to more than transfer", strength.adaptive_robustness),
    SelfCheck("transformed", "Transformed images render again", transforms.images_render_again),
    SelfCheck("search", "Adaptive search beats its controls", transforms.adaptive_beats_controls),
    SelfCheck("strength", "Robustness falls with the strength", transforms.falls_with_strength),
    SelfCheck("certificates", "Certificates hold under attack", certificates.certificates_hold),
    SelfCheck("leakage", "No leakage into the test split", judge_all=bookkeeping.splits_do_not_leak),
    SelfCheck("clean", "Clean beside robust", judge_all=bookkeeping.clean_beside_robust),
)


def run_checks(evidence: Evidence) -> Checks:
    """Return the results of every check for every model, in the order of the checks."""
    return Checks(checks=tuple(result for check in CHECKS for result in check.results(evidence)))
