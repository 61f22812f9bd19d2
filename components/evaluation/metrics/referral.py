"""Metrics of a classifier that refers images: coverage, errors, and missed malignancies that are not referred."""

from __future__ import annotations

import numpy as np

from dermrobust.components.evaluation.metrics.metric import Flags, Metric, Problem, Rate, Rows


def _covered(rows: Rows, problem: Problem) -> tuple[Flags, Flags]:
    """Return which rows are not referred, of all rows."""
    return rows.accepted, np.ones(len(rows.labels), np.bool_)


def _lost(rows: Rows, problem: Problem) -> tuple[Flags, Flags]:
    """Return which rows are wrong and not referred, of all rows."""
    return rows.accepted & (rows.predicted != rows.labels), np.ones(len(rows.labels), np.bool_)


def _missed(rows: Rows, problem: Problem) -> tuple[Flags, Flags]:
    """Return which rows are called benign and not referred, and which are of malignant classes."""
    return rows.accepted & ~problem.malignant[rows.predicted], problem.malignant[rows.labels]


COVERAGE = Metric(
    name="coverage",
    formula=Rate(_covered),
    title="Coverage",
    meaning="share of images that are not referred",
    of_referral=True,
)
LOST = Metric(
    name="unreferred_errors",
    formula=Rate(_lost),
    title="Errors not referred",
    meaning="share of images that are misclassified and not referred",
    higher_is_better=False,
    of_referral=True,
)
MISSED = Metric(
    name="unreferred_missed",
    formula=Rate(_missed),
    title="Missed malignancies not referred",
    meaning="share of images of malignant classes that are called benign and not referred",
    higher_is_better=False,
    of_referral=True,
)
