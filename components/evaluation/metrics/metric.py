"""Metric: its function, its interval, its name for readers, and where it is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dermrobust.components.evaluation.intervals import Clusters, Interval
from dermrobust.components.evaluation.weighted import Labels, Scores, Values, Weights
from dermrobust.models.task import Task

Flags = npt.NDArray[np.bool_]
Place = Literal["classes", "groups", "clinical", "card", "terminal", "corruptions"]
"""Panels of the report, sections of the card and tables of the terminal that choose among metrics."""


@dataclass(frozen=True)
class Problem:
    """Parts of a task that metrics depend on.

    Attributes:
        malignant: bool [class], true for classes that must not be taken for the others.
        critical: labels of the classes whose miss is the worst error.
        specificity: specificity at which sensitivity to the critical classes is measured, 0 to 1.
    """

    malignant: Flags
    critical: tuple[int, ...]
    specificity: float

    @classmethod
    def of(cls, task: Task, specificity: float) -> Problem:
        """Return the problem that a task poses."""
        malignant = np.isin(np.arange(len(task.class_names)), task.indices(task.malignant))
        return cls(malignant, task.indices(task.critical), specificity)


@dataclass(frozen=True)
class Rows:
    """Predictions of one model in one slice, side by side.

    Attributes:
        labels: class indices [row].
        scores: probabilities float32 [row, class_count].
        clean: class predicted on the clean image [row], -1 on rows that are clean themselves.
        clusters: uint64 [row], the same for all images of a group, such as those of one lesion.
        radius: distance of the nearest misclassified image in 1/255, at most the budget, float32 [row]; NaN where it
            was not looked for. Of certificates the certified radius, 0 where the smoothed classifier abstains.
        referred: images that are referred: bool [row]; None: none is.
    """

    labels: npt.NDArray[Any]
    scores: Scores
    clean: npt.NDArray[Any]
    clusters: Clusters
    radius: npt.NDArray[np.float32]
    referred: Flags | None = None

    @property
    def predicted(self) -> npt.NDArray[np.intp]:
        """Predicted class [row]; the first of equal scores."""
        return np.asarray(self.scores.argmax(axis=1))

    @property
    def accepted(self) -> Flags:
        """Images that are not referred: bool [row]."""
        return np.ones(len(self.labels), np.bool_) if self.referred is None else ~self.referred


@dataclass(frozen=True)
class Rate:
    """Share of the rows at risk on which an event happened; its interval is Wilson's.

    Attributes:
        cases: from the rows to (happened bool [row], at risk bool [row]).
    """

    cases: Callable[[Rows, Problem], tuple[Flags, Flags]]


@dataclass(frozen=True)
class Estimate:
    """Statistic of weighted rows; its interval is a bootstrap over groups.

    Attributes:
        value: from labels, scores, weights and the problem to float64 [sample]; NaN where it is undefined.
        at_risk: rows that n counts, bool [row]; None: all.
        analytic: a second interval from labels and scores; the wider end on each side counts.
        scores: what `value` gets as scores; None: the probabilities.
    """

    value: Callable[[Labels, Scores, Weights, Problem], Values]
    at_risk: Callable[[Rows, Problem], Flags] | None = None
    analytic: Callable[[Labels, Scores], Interval] | None = None
    scores: Callable[[Rows], Scores] | None = None

    def scores_of(self, rows: Rows) -> Scores:
        """Return what `value` gets as scores."""
        return rows.scores if self.scores is None else self.scores(rows)


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        name: name in tables and thresholds.
        formula: how it is computed.
        title: name for readers; `{critical}` stands for the task's critical classes.
        meaning: one phrase for documentation and tooltips.
        higher_is_better: direction.
        class_title: name within a single class, where it has another.
        may_gate: whether a threshold may be set on it.
        chance: value that guessing reaches among so many classes; a threshold is then held to the interval, whose lower
            end must be above chance. None: it depends on the frequencies of the classes, or on other things.
        needs_attack: undefined on clean images.
        of_certificates: measured from certificates alone, under "certified/<sigma>" at epsilon 0.
        of_referral: measured of classifiers that refer images alone, under "referral/<rate>/<attack>".
        needs_other_classes: undefined within one class.
        compared: paired differences from the baseline have an interval.
        places: where it is shown beside the matrix of all metrics.
        headline: conditions under which it is a key figure of the report.
    """

    name: str
    formula: Rate | Estimate
    title: str
    meaning: str
    higher_is_better: bool = True
    class_title: str = ""
    may_gate: bool = True
    chance: Callable[[int], float] | None = None
    needs_attack: bool = False
    of_certificates: bool = False
    of_referral: bool = False
    needs_other_classes: bool = False
    compared: bool = False
    places: frozenset[Place] = frozenset()
    headline: frozenset[Literal["clean", "smallest", "largest"]] = frozenset()

    @property
    def of_predictions(self) -> bool:
        """Whether it is measured of all models on clean and attacked images."""
        return not (self.of_certificates or self.of_referral)

    @property
    def counts_all(self) -> bool:
        """Whether n is the number of all rows."""
        return self.name == "accuracy" or (isinstance(self.formula, Estimate) and self.formula.at_risk is None)

    def label(self, task: Task | None = None) -> str:
        """Return the name for readers, with the task's noun for its critical classes."""
        return self.title.format(critical=(task.critical_title if task else "") or "critical classes")

    def at_risk(self, rows: Rows, problem: Problem) -> Flags:
        """Return the rows that n counts: bool [row]."""
        if isinstance(self.formula, Rate):
            return self.formula.cases(rows, problem)[1]
        chosen = self.formula.at_risk
        return np.ones(len(rows.labels), np.bool_) if chosen is None else chosen(rows, problem)
