"""Blessing: whether a candidate may be exported, and why."""

from __future__ import annotations

from dermrobust.components.evaluation.content import Content
from dermrobust.components.evaluation.thresholds import Threshold


class Verdict(Content):
    """Result of one threshold.

    Attributes:
        threshold: the threshold.
        value: the candidate's metric; None if it is undefined or the slice has no images.
        lower, upper: its 95 % interval.
        baseline_value: the baseline's metric; None also if there is no baseline.
        change: the candidate's metric minus the baseline's.
        change_lower, change_upper: 95 % interval of the change; None where none is computed.
        n: number of images that the candidate's metric was measured on.
        judged: whether there were enough images to conclude anything; if not, the threshold neither passed nor failed.
        passed: whether the threshold holds.
        reason: the verdict in one sentence.
    """

    threshold: Threshold
    value: float | None
    lower: float | None
    upper: float | None
    baseline_value: float | None
    change: float | None
    change_lower: float | None
    change_upper: float | None
    n: int | None
    judged: bool
    passed: bool
    reason: str


class Blessing(Content):
    """Content of `blessing.json`.

    Attributes:
        blessed: whether every threshold that could be judged holds, at least one could if any was set, and no rule of
            the gate objects.
        candidate: name of the model that was gated.
        baseline: name of the model it was compared with.
        thresholds: a verdict for each threshold of the gate, in its order.
        checks: a sentence for each self-check, or further rule of the gate, that objects.
        uncovered: evaluated budgets, in 1/255, at which no threshold asks for anything; see `Gate.covered`.
        uncovered_threats: evaluated threat models beyond a norm at which no threshold asks for anything.
    """

    blessed: bool
    candidate: str
    baseline: str | None
    thresholds: tuple[Verdict, ...]
    checks: tuple[str, ...]
    uncovered: tuple[float, ...] = ()
    uncovered_threats: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences on why the candidate is refused; none if it is blessed."""
        if self.blessed:
            return ()
        failed = [verdict.reason for verdict in self.thresholds if verdict.judged and not verdict.passed]
        # Thresholds that could not be judged are a reason only where nothing else is: such as if none could be.
        unjudged = [verdict.reason for verdict in self.thresholds if not verdict.judged]
        return (*failed, *self.checks) or tuple(unjudged)
