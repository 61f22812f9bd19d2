"""Ruling: the result of one rule of the gate."""

from __future__ import annotations

from dataclasses import dataclass

from dermrobust.components.evaluation.blessing import Verdict


@dataclass(frozen=True)
class Ruling:
    """Result of a rule, a function from (gate, evaluation) to this.

    Attributes:
        verdicts: results of thresholds.
        objections: sentences; any of them refuses the candidate.
    """

    verdicts: tuple[Verdict, ...] = ()
    objections: tuple[str, ...] = ()
