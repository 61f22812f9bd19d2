"""Self-check: a name, a title, and a judgment of each model or of the evaluation as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from dermrobust.components.evaluation.checks import Check, Shown, Status
from dermrobust.components.measure.checks.evidence import Evidence

Finding = tuple[Status, str, Mapping[str, Shown]]
"""Status, a sentence, and the numbers behind them."""


@dataclass(frozen=True)
class SelfCheck:
    """A self-check.

    Attributes:
        name: name in `checks.json`.
        title: name for readers.
        judge: judgment of one model; None where there is nothing to judge.
        judge_all: judgment of the evaluation as a whole, in place of `judge`.
    """

    name: str
    title: str
    judge: Callable[[Evidence, str], Finding | None] | None = None
    judge_all: Callable[[Evidence], Finding] | None = None

    def results(self, evidence: Evidence) -> Iterator[Check]:
        """Yield the results, in the order of the models."""
        found: list[tuple[str | None, Finding | None]] = []
        if self.judge is not None:
            found += [(model, self.judge(evidence, model)) for model in evidence.models]
        if self.judge_all is not None:
            found.append((None, self.judge_all(evidence)))
        for model, finding in found:
            if finding is not None:
                status, sentence, figures = finding
                title = {"name": self.name, "title": self.title}
                yield Check(**title, model=model, status=status, sentence=sentence, figures=dict(figures))


def passes(holds: bool, otherwise: Status = Status.FAIL) -> Status:
    """Return PASS where a condition holds, and another status where it does not."""
    return Status.PASS if holds else otherwise


def graded(value: float, warn_above: float, fail_above: float) -> Status:
    """Return the status of a value that is better the smaller it is; NaN fails."""
    return Status.PASS if value <= warn_above else Status.WARN if value <= fail_above else Status.FAIL
