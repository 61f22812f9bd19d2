"""Figures of classifiers that refer images: what is referred, what is right of the rest, and what is missed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dermrobust.components.evaluation.conditions import of_referral
from dermrobust.components.evaluation.intervals import wilson_interval
from dermrobust.components.evaluation.metrics.metric import Problem, Rows
from dermrobust.components.evaluation.metrics.registry import METRICS
from dermrobust.components.evaluation.names import CLEAN, CONSTANT, WORST_CASE, canonical_epsilon
from dermrobust.components.evaluation.params import Reading
from dermrobust.components.evaluation.referrals import (
    EVADING,
    PROBED,
    Flags,
    ReferralThreshold,
    Rejector,
    decisions,
    worst_of_images,
)
from dermrobust.components.evaluation.rows import Figure, RiskCoverage
from dermrobust.components.evaluation.schemas import METRICS_SCHEMA, RISK_COVERAGE_SCHEMA
from dermrobust.components.measure.constant import slices_of
from dermrobust.components.measure.figures import figures_of
from dermrobust.components.measure.joining import clusters
from dermrobust.models.task import UNKNOWN, Task

_ACCURACIES = ("accuracy", "balanced_accuracy")
"""Metrics of the images that are not referred."""
_SHARES = tuple(percent / 100 for percent in range(5, 101, 5))
"""Coverages of the points of a curve."""

Condition = tuple[str, float, pa.Table]
"""Name of an attack, epsilon in 1/255, and one row for each image."""


def constant_referrals(referrals: pa.Table, task: Task, label: int) -> pa.Table:
    """Return the rows of the classifier that always answers one label, certain of it: it refers nothing.

    Args:
        referrals: rows of another model on the same images.
        task: the classification problem.
        label: the answer.
    """
    clean = referrals.filter(pc.equal(referrals["attack"], CLEAN))
    labels, malignant = clean["label"].to_numpy(), _malignant(task)
    answers = {
        "confidence": np.ones(len(labels)),
        "wrong": np.where(labels != label, 1.0, np.nan),
        "missed": np.where(malignant[labels] & ~malignant[label], 1.0, np.nan),
    }
    for name, values in answers.items():
        clean = clean.set_column(clean.column_names.index(name), name, pa.array(values, from_pandas=True))
    return clean.combine_chunks()


def named(referrals: pa.Table, model: str) -> pa.Table:
    """Return referrals whose column `model` has a name."""
    place = referrals.column_names.index("model")
    return referrals.set_column(place, "model", pa.repeat(model, referrals.num_rows))


def selective_table(
    referrals: Mapping[str, pa.Table],
    rejectors: Mapping[str, Rejector],
    task: Task,
    norm: str,
    epsilons: Sequence[float],
    reading: Reading,
) -> pa.Table:
    """Return the figures of classifiers with a rejector as rows of `METRICS_SCHEMA`; see `conditions`.

    Args:
        referrals: rows of each model, by name, and of the constant classifier.
        rejectors: rejector of each model; the constant classifier has none.
        task: the classification problem.
        norm: norm of the budgets.
        epsilons: budgets in 1/255.
        reading: specificity, and number of images below which a figure is marked as small.
    """
    rates = [found.rate for found in next(iter(rejectors.values())).thresholds]
    conditions = {model: list(_conditions(table, epsilons)) for model, table in referrals.items()}
    names = [condition[:2] for condition in next(iter(conditions.values()))]
    rows: list[dict[str, Any]] = []
    for model, found in conditions.items():
        if model == CONSTANT:
            # It answers the same to every image, clean or attacked.
            found = [(attack, epsilon, found[0][2]) for attack, epsilon in names]
        for rate in rates:
            threshold = rejectors[model].at(rate) if model in rejectors else _NEVER
            for attack, epsilon, table in found:
                under = {"attack": of_referral(rate, attack), "norm": None if attack == CLEAN else norm}
                for where, figures in _figures(table, task, threshold.threshold, reading):
                    place = {"model": model, **under, "epsilon": epsilon, "slice": where}
                    rows += [
                        {**place, "metric": metric, **vars(figure), "small": figure.n < reading.min_slice_size}
                        for metric, figure in figures.items()
                        if figure.n
                    ]
    return pa.Table.from_pylist(rows, schema=METRICS_SCHEMA)


_NEVER = ReferralThreshold(rate=0.0, threshold=0.0, referred=0.0)


def _conditions(table: pa.Table, epsilons: Sequence[float]) -> Iterator[Condition]:
    """Yield clean images, each attack at each budget, and the worst case at each budget."""
    yield CLEAN, 0.0, table.filter(pc.equal(table["attack"], CLEAN))
    named = [name for name in table["attack"].unique().to_pylist() if name not in (CLEAN, PROBED, EVADING)]
    budget = pc.round(table["epsilon"].cast(pa.float64()), 6)
    for attack in named:
        for epsilon in epsilons:
            chosen = table.filter(pc.and_(pc.equal(table["attack"], attack), pc.equal(budget, epsilon)))
            if chosen.num_rows:
                yield attack, epsilon, chosen
    for epsilon in epsilons:
        yield WORST_CASE, epsilon, worst_of_images(table, epsilon)


def _figures(
    table: pa.Table, task: Task, threshold: float, reading: Reading
) -> Iterator[tuple[str, Mapping[str, Figure]]]:
    """Yield the name of each slice and its figures."""
    problem = Problem.of(task, reading.specificity)
    accuracies = [METRICS.resolve(name) for name in _ACCURACIES]
    of_all = [metric for metric in METRICS.resolve_all() if metric.of_referral]
    known = tuple(name for name in task.slices if table[name].unique().to_pylist() != [UNKNOWN])
    for where, part in slices_of(table, known):
        decided = decisions(part, threshold)
        figures = figures_of(_rows(part, task, decided), of_all, problem)
        accepted = pa.array(~decided["referred"])
        kept = {name: flags[~decided["referred"]] for name, flags in decided.items()}
        if any(accepted.to_pylist()):
            figures |= figures_of(_rows(part.filter(accepted), task, kept), accuracies, problem)
        yield where, figures


def _rows(part: pa.Table, task: Task, decided: Mapping[str, Flags]) -> Rows:
    """Return the rows of metrics; a wrong answer is benign if it misses a malignancy, else of the same kind."""
    labels, malignant = part["label"].to_numpy(), _malignant(task)
    count = len(malignant)
    # Any class that a wrong answer could be stands for it.
    other = np.asarray([next((b for b in range(count) if b != a and malignant[b]), a) for a in range(count)])
    benign = int(np.argmin(malignant))
    wrong = np.where(malignant[labels], other[labels], (labels + 1) % count)
    answers = np.where(decided["missed"], benign, np.where(decided["lost"], wrong, labels))
    nothing = np.full(len(labels), np.nan, np.float32)
    groups = clusters(part, task).view(np.uint64)
    scores = np.eye(count, dtype=np.float32)[answers]
    return Rows(labels, scores, np.full(len(labels), -1), groups, nothing, decided["referred"])


def _malignant(task: Task) -> Flags:
    return np.isin(np.arange(len(task.class_names)), task.indices(task.malignant))


def risk_coverage_table(referrals: Mapping[str, pa.Table], epsilons: Sequence[float]) -> pa.Table:
    """Return the risk-coverage curve of each model on clean images and in the worst case at each budget.

    Images are accepted from the most confident on (Geifman & El-Yaniv 2017, arXiv 1705.08500). In the worst case an
    image is wrong if any answer to it is, with the confidence of the most confident one.
    """
    rows = []
    for model, table in referrals.items():
        for attack, epsilon, part in _conditions(table, epsilons):
            if attack in (CLEAN, WORST_CASE) and part.num_rows:
                rows += [vars(RiskCoverage(model, attack, epsilon, *point)) for point in _curve(part)]
    return pa.Table.from_pylist(rows, schema=RISK_COVERAGE_SCHEMA)


def _curve(part: pa.Table) -> Iterator[tuple[float, float, float, float, float, int]]:
    """Yield coverage, threshold, risk, both ends of its interval, and number of accepted images."""
    wrong = pc.fill_null(part["wrong"], -1).to_numpy()
    confidence = np.where(wrong >= 0, wrong, part["confidence"].to_numpy())
    order = np.argsort(-confidence, kind="stable")
    errors, ordered = np.cumsum(wrong[order] >= 0), confidence[order]
    total = len(order)
    for share in _SHARES:
        # Images of equal confidence are accepted together.
        least = ordered[max(1, round(share * total)) - 1]
        n = int(np.searchsorted(-ordered, -least, "right"))
        risk = float(errors[n - 1] / n)
        yield canonical_epsilon(n / total), float(least), risk, *wilson_interval(risk, n), n
