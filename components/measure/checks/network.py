"""Self-checks of the network: gradients, outputs and determinism."""

from __future__ import annotations

import numpy as np

from dermrobust.attacks.threat import Norm
from dermrobust.components.evaluation.checks import Status
from dermrobust.components.evaluation.masking import FEW, MANY, RANDOM, ROUNDING
from dermrobust.components.measure.checks.check import Finding, graded
from dermrobust.components.measure.checks.evidence import Evidence


def attacks_see_gradients(evidence: Evidence, model: str) -> Finding | None:
    """Check that attacks see gradients: without them, they bound a model's robustness from above only."""
    if not evidence.black_box(model):
        return _without_gradients() if evidence.norm is Norm.L0 else None
    sentence = (
        "The model was audited as a black box: attacks saw its answers, not its gradients. Robust accuracy is an upper "
        "bound; an attacker who has the model may break more. Audit the model itself to claim robustness."
    )
    return Status.FAIL, sentence, {}


def _without_gradients() -> Finding:
    sentence = (
        "Under L0 all attacks are random searches, none follows gradients. Robust accuracy is an upper bound; an "
        "attacker who uses gradients may break more. Whether black-box attacks are stronger is not checked."
    )
    return Status.WARN, sentence, {}


def gradients_exist(evidence: Evidence, model: str) -> Finding | None:
    """Check that hardly any image has a gradient that is zero or not finite."""
    if evidence.black_box(model):
        return None
    gradient = evidence.health[model]["gradient"].to_numpy()
    if not len(gradient):
        return None
    zero, broken = float((gradient == 0).mean()), float((~np.isfinite(gradient)).mean())
    status = Status.PASS if zero < FEW else Status.WARN if zero < MANY else Status.FAIL
    if broken:
        status = Status.FAIL
    sentence = "The loss has a gradient by nearly every image."
    if status is not Status.PASS:
        sentence = (
            f"The gradient is zero for {zero:.1%} and not finite for {broken:.1%} of the images: attacks that "
            "follow gradients are blind there, and robust accuracy is overstated."
        )
    return status, sentence, {"zero": zero, "not finite": broken, "images": len(gradient)}


def outputs_are_logits(evidence: Evidence, model: str) -> Finding | None:
    """Check that attacks see logits: probabilities saturate and hide gradients."""
    health = evidence.health[model]
    if not health.num_rows:
        return None
    like = float(np.mean(health["like_probabilities"].to_numpy(zero_copy_only=False)))
    made = bool(np.any(health["from_probabilities"].to_numpy(zero_copy_only=False)))
    status = Status.FAIL if like == 1.0 else Status.WARN if made else Status.PASS
    sentence = {
        Status.FAIL: "The outputs sum to 1 on every image: they are probabilities, which saturate. Remove the softmax.",
        Status.WARN: "The model returns probabilities only; attacks see their logarithm, which is lost where they "
        "were rounded to 0 or 1. Use a model that returns logits.",
        Status.PASS: "Attacks see logits.",
    }[status]
    return (
        status,
        sentence,
        {"outputs like probabilities": like, "made of probabilities": str(made), "images": len(health)},
    )


def forward_pass_is_deterministic(evidence: Evidence, model: str) -> Finding | None:
    """Check that an image has the same logits when it is classified again, or at another place in the batch."""
    columns = [evidence.health[model][name].to_numpy() for name in ("repeated", "reordered")]
    if not len(columns[0]):
        return None
    repeated, reordered = (float(np.nanmax(values)) for values in columns)
    worst = max(repeated, reordered)
    status = graded(worst, ROUNDING, RANDOM)
    sentence = "The same image gives the same logits in every call and at every place in the batch."
    if status is not Status.PASS:
        sentence = (
            f"Logits of the same image differ by {worst:.2%} of their spread: the model is random, or its output "
            "depends on other images. Attacks must then average over its answers (Athalye et al. 2018); these do not."
        )
    return status, sentence, {"asked twice": repeated, "at another place in the batch": reordered}
