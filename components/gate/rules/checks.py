"""Rule on the self-checks of the candidate, and of the evaluation as a whole."""

from __future__ import annotations

from dermrobust.components.evaluation.checks import ACCESS, Status
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.thresholds import Gate
from dermrobust.components.gate.ruling import Ruling

_REFUSED = {"ignored": (), "no_failure": (Status.FAIL,), "all_pass": (Status.FAIL, Status.WARN)}


def judge(gate: Gate, evaluation: Evaluation) -> Ruling:
    """Return an objection for each check whose result the gate refuses.

    A black box is refused whatever the gate asks of checks: nothing was shown about an attacker who has the model.
    """
    return Ruling(
        objections=tuple(
            f"{check.title}: {check.status}. {check.sentence}"
            for check in evaluation.checks or ()
            if check.model in (None, gate.candidate)
            and (check.status in _REFUSED[gate.checks] or (check.name == ACCESS and check.status is Status.FAIL))
        )
    )
