"""Paired differences between models and the baseline on the same images, with intervals and p-values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import stats

from dermrobust.components.evaluation.intervals import SAMPLES, Clusters, group_weights
from dermrobust.components.evaluation.names import canonical_epsilon
from dermrobust.components.evaluation.schemas import CLUSTER, COMPARISONS_SCHEMA, OVERALL, outcomes_schema, right
from dermrobust.components.measure.joining import predictions_feature
from dermrobust.models.task import Task

LEVEL = 0.05
_Z_95 = NormalDist().inv_cdf(0.975)
_BLOCK = 1 << 22

Flags = npt.NDArray[np.bool_]
Place = tuple[str, float]


@dataclass(frozen=True)
class Outcomes:
    """Correctness of the predictions of all models on the same images under one attack.

    Attributes:
        labels: class indices int64 [image].
        clusters: uint64 [image], the same for images of one group.
        right: for each model bool [image].
    """

    labels: npt.NDArray[np.int64]
    clusters: Clusters
    right: Mapping[str, Flags]

    def take(self, chosen: Flags) -> Outcomes:
        """Return the outcomes on some of the images: bool [image]."""
        right = {model: flags[chosen] for model, flags in self.right.items()}
        return Outcomes(self.labels[chosen], self.clusters[chosen], right)


class OutcomesOfBatch(beam.DoFn):
    """Yields a table of outcomes for each of the wide batches that TFMA reads."""

    def __init__(self, models: Sequence[str]) -> None:
        self._models = list(models)

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.Table]:
        """Yield the rows of `outcomes_schema`."""
        columns = {name: batch.column(name).flatten() for name in ("attack", CLUSTER, "label")}
        epsilons = [canonical_epsilon(value) for value in batch.column("epsilon").flatten().to_numpy()]
        labels = columns["label"].to_numpy()
        for model in self._models:
            scores = np.asarray(batch.column(predictions_feature(model)).flatten()).reshape(batch.num_rows, -1)
            columns[right(model)] = pa.array(scores.argmax(axis=1) == labels)
        yield pa.table({**columns, "epsilon": pa.array(epsilons)}).select(outcomes_schema(self._models).names)


def outcomes_of(table: pa.Table, models: Sequence[str]) -> dict[Place, Outcomes]:
    """Return outcomes by attack and budget."""
    attacks, epsilons = table["attack"].to_numpy(), table["epsilon"].to_numpy()
    every = Outcomes(
        table["label"].to_numpy(),
        table[CLUSTER].to_numpy().view(np.uint64),
        {model: table[right(model)].to_numpy() for model in models},
    )
    places = table.select(["attack", "epsilon"]).group_by(["attack", "epsilon"]).aggregate([]).to_pylist()
    return {
        (place["attack"], place["epsilon"]): every.take((attacks == place["attack"]) & (epsilons == place["epsilon"]))
        for place in places
    }


def comparisons_table(outcomes: Mapping[Place, Outcomes], models: Sequence[str], baseline: str, task: Task) -> pa.Table:
    """Compare every model with the baseline, over all images and by class.

    Columns:
        model, baseline, attack, epsilon, slice, metric: place of the comparison; metrics are accuracy (within a class
            its recall) and, over all images, balanced_accuracy.
        n: images.
        change: the model's value minus the baseline's.
        lower, upper: 95 % interval of the change, from the larger of two standard errors: of a bootstrap over groups,
            and of Bonett and Price (2012), which is not zero where no prediction differs.
        p_value: for accuracy McNemar's exact test (1947) of the images on which one of the two is right, else from the
            standard error.
        p_adjusted: after Holm (1979), over all rows of the table.
        significant: `p_adjusted` is below 0.05.

    Args:
        outcomes: by attack and budget.
        models: all models, in the order of the table.
        baseline: the model that the others are compared with.
        task: the classification problem.
    """
    rows = []
    for model in models:
        if model != baseline:
            for (attack, epsilon), found in sorted(outcomes.items()):
                place = {"model": model, "baseline": baseline, "attack": attack, "epsilon": epsilon}
                rows += [{**place, **row} for row in _compared(found, model, baseline, task)]
    adjusted = holm([row["p_value"] for row in rows])
    for row, p_value in zip(rows, adjusted, strict=True):
        row |= {"p_adjusted": p_value, "significant": p_value < LEVEL}
    return pa.Table.from_pylist(rows, schema=COMPARISONS_SCHEMA)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values that allow for how many there are (Holm, 1979)."""
    adjusted = np.empty(len(p_values))
    largest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return [float(value) for value in adjusted]


def _compared(found: Outcomes, model: str, baseline: str, task: Task) -> Iterator[dict[str, Any]]:
    difference = found.right[model].astype(np.int8) - found.right[baseline].astype(np.int8)
    by_class = [found.labels == index for index in range(len(task.class_names))]
    present = [chosen for chosen in by_class if chosen.any()]
    resampled = np.stack([_bootstrap(difference[chosen], found.clusters[chosen]) for chosen in present])
    change = float(difference.mean())
    yield _row(OVERALL, "accuracy", len(difference), change, _error(difference, found.clusters), mcnemar(difference))
    recalls = np.asarray([difference[chosen].mean() for chosen in present])
    analytic = math.sqrt(sum(_analytic_variance(difference[chosen]) for chosen in present)) / len(present)
    error = max(analytic, float(np.nanstd(np.nanmean(resampled, axis=0), ddof=1)))
    yield _row(OVERALL, "balanced_accuracy", len(difference), float(recalls.mean()), error, None)
    for name, chosen in zip(task.class_names, by_class, strict=True):
        if chosen.any():
            part = difference[chosen]
            error = _error(part, found.clusters[chosen])
            yield _row(f"{task.class_key}={name}", "accuracy", len(part), float(part.mean()), error, mcnemar(part))


def mcnemar(difference: npt.NDArray[np.int8]) -> float:
    """Return the exact two-sided p-value that gains (1) and losses (-1) are equally likely; int8 [image]."""
    gained, lost = int((difference > 0).sum()), int((difference < 0).sum())
    return 1.0 if gained + lost == 0 else float(stats.binomtest(gained, gained + lost).pvalue)


def _row(slice_: str, metric: str, n: int, change: float, error: float, p_value: float | None) -> dict[str, Any]:
    if p_value is None:
        p_value = 2 * NormalDist().cdf(-abs(change) / error)
    return {
        **{"slice": slice_, "metric": metric, "n": n, "change": change},
        "lower": max(-1.0, change - _Z_95 * error),
        "upper": min(1.0, change + _Z_95 * error),
        "p_value": p_value,
    }


def _error(difference: npt.NDArray[np.int8], clusters: Clusters) -> float:
    resampled = _bootstrap(difference, clusters)
    return max(math.sqrt(_analytic_variance(difference)), float(np.nanstd(resampled, ddof=1)))


def _analytic_variance(difference: npt.NDArray[np.int8]) -> float:
    """Return the variance of a mean paired difference, with one gain and one loss more than were seen."""
    count = len(difference) + 2
    gained, lost = ((difference > 0).sum() + 1) / count, ((difference < 0).sum() + 1) / count
    return float((gained + lost - (gained - lost) ** 2) / count)


def _bootstrap(difference: npt.NDArray[np.int8], clusters: Clusters) -> npt.NDArray[np.float64]:
    """Return the mean difference in each bootstrap sample of groups: float64 [SAMPLES]; NaN in a sample without any."""
    block = max(1, _BLOCK // len(difference))
    means = []
    for start in range(0, SAMPLES, block):
        weights = group_weights(clusters, range(start, min(start + block, SAMPLES)))
        whole = weights.sum(axis=0, dtype=np.float64)
        sums = difference.astype(np.float64) @ weights
        means.append(np.divide(sums, whole, out=np.full(len(whole), np.nan), where=whole > 0))
    return np.concatenate(means)
