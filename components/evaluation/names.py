"""Reserved names and canonical values in the tables of an evaluation.

Apart from the gate's vocabulary, so that a change there does not change the fingerprint of attacks and probes.
"""

CLEAN = "none"
"""Value of the column `attack` on clean images; their epsilon is 0."""

WORST_CASE = "worst_case"
"""Name of the derived attack: for each image the prediction, clean or attacked, that does worst on it."""

BEFORE_ESCALATION = "before_escalation"
"""Name of the derived attack: the worst case without escalated attacks. It is there only if these were run."""

CONSTANT = "constant"
"""Name of the classifier that always answers the most frequent class; no other model may have it."""


def canonical_epsilon(epsilon: float) -> float:
    """Return an epsilon (units of 1/255) rounded to 6 digits: 0.3 for 0.30000001.

    Predictions hold epsilon as float32 and so do the slice keys that TFMA stores; slices are matched by equality.
    """
    return round(float(epsilon), 6)
