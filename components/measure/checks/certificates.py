"""Self-check of certificates: no attack crosses one more often than its stated error rate."""

from __future__ import annotations

import numpy as np
from scipy import stats

from dermrobust.components.evaluation.certificates import MODEL
from dermrobust.components.measure.checks.check import Finding, passes
from dermrobust.components.measure.checks.evidence import Evidence

_SURE = 0.001
"""Probability that certificates which hold as stated fail this check."""


def certificates_hold(evidence: Evidence, model: str) -> Finding | None:
    """Check that attacks on the smoothed classifier find hardly any misclassified image within a certified radius.

    A certificate is wrong with a probability of alpha at most, and so is the prediction that confirms an attack.
    """
    if evidence.certificates is None:
        return None
    rows = evidence.certificates.filter(
        np.asarray(evidence.certificates[MODEL].to_numpy(zero_copy_only=False) == model)
    )
    correct = rows["certified_class"].to_numpy() == rows["label"].to_numpy()
    certified = correct & ~rows["abstained"].to_numpy(zero_copy_only=False)
    # Null, which becomes NaN, where no attack succeeded; 0 where there was nothing to attack.
    attacked = rows["attacked"].to_numpy(zero_copy_only=False).astype(np.float64)
    crossed = int((certified & (attacked > 0) & (attacked < rows["radius"].to_numpy())).sum())
    number, alpha = int(certified.sum()), evidence.alpha
    allowed = int(stats.binom.ppf(1 - _SURE, number, min(1.0, 2 * alpha)))
    sentence = (
        f"Attacks on the smoothed classifier crossed {crossed} of {number:,} certificates; with the stated error rates "
        f"of {alpha:g} up to {allowed} may be crossed by chance."
    )
    if crossed > allowed:
        sentence += " These certificates do not hold."
    return passes(crossed <= allowed), sentence, {"crossed": crossed, "certificates": number, "allowed": allowed}
