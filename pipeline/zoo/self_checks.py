"""Self-checks that a card repeats."""

from __future__ import annotations

from dermrobust.attacks.errors import UserError
from dermrobust.components.evaluation.checks import Check, Status
from dermrobust.components.evaluation.files import CHECKS
from dermrobust.components.evaluation.reading import Evaluation


def sound_checks(evaluation: Evaluation, run: str, model: str, *, allow_failed: bool) -> tuple[Check, ...]:
    """Return the self-checks of a model and of the evaluation as a whole.

    Raises:
        UserError: the evaluation has no self-checks, or one failed and `allow_failed` is false.
    """
    if evaluation.checks is None:
        raise UserError(f"the evaluation of run '{run}' has no self-checks ({CHECKS}); evaluate again")
    checks = tuple(check for check in evaluation.checks if check.model in (None, model))
    failed = [f"{check.title}: {check.sentence}" for check in checks if check.status is Status.FAIL]
    if failed and not allow_failed:
        told = "\n  ".join(failed)
        raise UserError(
            f"{len(failed)} self-checks of '{model}' failed:\n  {told}\nIts figures must not be believed as they are. "
            "Pass --allow-failed-checks to add it all the same"
        )
    return checks
