"""Self-checks of the network: gradients, outputs and determinism."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dermrobust.components.evaluation.checks import Check, Status
from dermrobust.components.measure.checks.evidence import Evidence

FEW, MANY = 0.01, 0.1
ROUNDING, RANDOM = 1e-4, 1e-3
"""Share of the logits' spread by which the order of sums changes them, and by which only chance does."""


def gradients_exist(evidence: Evidence) -> Iterator[Check]:
    """Check that hardly any image has a gradient that is zero or not finite."""
    for model in evidence.models:
        gradient = evidence.health[model]["gradient"].to_numpy()
        if not len(gradient):
            continue
        finite = np.isfinite(gradient)
        zero, broken = float((gradient == 0).mean()), float((~finite).mean())
        status = Status.PASS if zero < FEW else Status.WARN if zero < MANY else Status.FAIL
        if broken:
            status = Status.FAIL
        yield Check(
            name="gradients",
            title="Gradients exist",
            model=model,
            status=status,
            sentence=(
                "The loss has a gradient by nearly every image."
                if status is Status.PASS
                else f"The gradient is zero for {zero:.1%} and not finite for {broken:.1%} of the images: attacks that "
                "follow gradients are blind there, and robust accuracy is overstated."
            ),
            figures={"zero": zero, "not finite": broken, "images": len(gradient)},
        )


def outputs_are_logits(evidence: Evidence) -> Iterator[Check]:
    """Check that attacks see logits: probabilities saturate and hide gradients."""
    for model in evidence.models:
        health = evidence.health[model]
        if not health.num_rows:
            continue
        like = float(np.mean(health["like_probabilities"].to_numpy(zero_copy_only=False)))
        made = bool(np.any(health["from_probabilities"].to_numpy(zero_copy_only=False)))
        status = Status.FAIL if like == 1.0 else Status.WARN if made else Status.PASS
        sentence = {
            Status.FAIL: "The outputs sum to 1 on every image: they are probabilities, which saturate. "
            "Take the softmax off.",
            Status.WARN: "The model returns probabilities only; attacks see their logarithm, which ends where they "
            "were rounded to 0 or 1. Bring a model that returns logits.",
            Status.PASS: "Attacks see logits.",
        }[status]
        yield Check(
            name="logits",
            title="Logits, not probabilities",
            model=model,
            status=status,
            sentence=sentence,
            figures={"outputs like probabilities": like, "made of probabilities": str(made), "images": len(health)},
        )


def forward_pass_is_deterministic(evidence: Evidence) -> Iterator[Check]:
    """Check that an image has the same logits when it is classified again, or at another place in the batch."""
    for model in evidence.models:
        columns = [evidence.health[model][name].to_numpy() for name in ("repeated", "reordered")]
        if not len(columns[0]):
            continue
        repeated, reordered = (float(np.nanmax(values)) for values in columns)
        worst = max(repeated, reordered)
        status = Status.PASS if worst <= ROUNDING else Status.WARN if worst <= RANDOM else Status.FAIL
        yield Check(
            name="deterministic",
            title="Deterministic forward pass",
            model=model,
            status=status,
            sentence=(
                "The same image gives the same logits, whenever and beside whichever others it is shown."
                if status is Status.PASS
                else f"Logits of the same image differ by {worst:.2%} of their spread: the model answers at random, or "
                "looks at other images. Attacks must then average over its answers (Athalye et al. 2018); these do not."
            ),
            figures={"asked twice": repeated, "at another place in the batch": reordered},
        )
