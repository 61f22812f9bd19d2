"""TFMA metrics of multi-class robustness, all by argmax and all from one pass over the predictions.

TFMA's own `BalancedAccuracy` thresholds probabilities at 0.5, and its macro averages are NaN wherever a class is
missing; slices by lesion class consist of one class.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import metric_types

from components.evaluate.joining import at_risk_feature

EXAMPLE_COUNT = "example_count"
ATTACK_SUCCESS_RATE = "attack_success_rate"
ATTACK_SUCCESS_RATE_COUNT = "attack_success_rate_n"
DENOMINATORS = {
    "accuracy": EXAMPLE_COUNT,
    "balanced_accuracy": EXAMPLE_COUNT,
    "macro_auc": EXAMPLE_COUNT,
    ATTACK_SUCCESS_RATE: ATTACK_SUCCESS_RATE_COUNT,
}
"""Each metric with the metric that counts what it was measured on."""

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def accuracy(confusion: Counts) -> float:
    """Share of right predictions in a confusion matrix [label, prediction]; NaN if it is empty."""
    return _ratio(int(np.trace(confusion)), int(confusion.sum()))


def balanced_accuracy(confusion: Counts) -> float:
    """Mean recall over the classes that have examples in a confusion matrix [label, prediction]; NaN if it is empty."""
    support = confusion.sum(axis=1)
    present = support > 0
    return float(np.mean(np.diag(confusion)[present] / support[present])) if present.any() else float("nan")


def macro_auc(labels: npt.NDArray[np.integer[Any]], scores: Floats) -> float:
    """Mean one-versus-rest area under the ROC curve over the classes with both positives and negatives.

    Exact: the share of (positive, negative) pairs that the score puts in the right order, ties counting a half
    (Hanley and McNeil, 1982).

    Args:
        labels: Class indices [example].
        scores: Probabilities float32 [example, class_count].

    Returns:
        The mean, or NaN if there is no such class.
    """
    areas = []
    for index in np.unique(labels):
        positive = labels == index
        negatives = np.sort(scores[~positive, index])
        positives = scores[positive, index]
        if len(negatives):
            below = np.searchsorted(negatives, positives, side="left").sum()
            not_above = np.searchsorted(negatives, positives, side="right").sum()
            areas.append((below + not_above) / (2 * len(positives) * len(negatives)))
    return float(np.mean(areas)) if areas else float("nan")


class RobustnessMetrics(metric_types.Metric):
    """`accuracy`, `balanced_accuracy`, `macro_auc` and `attack_success_rate` of each model, and what they count.

    Attack success is the share of attacked rows, among those whose clean prediction was right, that are now wrong; it
    is NaN on clean rows. A metric that is undefined in a slice is NaN rather than absent: TFMA fails a threshold on a
    metric for *every* slice that lacks the metric, also for slices that the threshold does not speak of.

    An extract holds one row or a batch of rows: labels [n], predictions [n, class_count].

    Args:
        class_count: The number of classes.
        name: Name under which TFMA lists the computation; the metrics have their own names.
    """

    def __init__(self, class_count: int, name: str = "robustness") -> None:
        super().__init__(_computations, class_count=class_count, name=name)


def _computations(class_count: int, name: str, model_names: list[str]) -> list[metric_types.MetricComputation]:
    del name
    return [
        metric_types.MetricComputation(
            keys=list(_keys(model).values()),
            preprocessors=[metric_types.FeaturePreprocessor(feature_keys=[at_risk_feature(model)])],
            combiner=_RobustnessCombiner(model, class_count),
        )
        for model in model_names
    ]


def _keys(model: str) -> dict[str, metric_types.MetricKey]:
    # TFMA looks thresholds up by keys whose `example_weighted` is None.
    names = [*DENOMINATORS, *dict.fromkeys(DENOMINATORS.values())]
    return {name: metric_types.MetricKey(name, model_name=model, example_weighted=None) for name in names}


@dataclass
class _Accumulated:
    """Counts of one model in one slice, and the scores that the AUC needs: 4 bytes per row and class.

    Attributes:
        confusion: int64 [label, prediction].
        at_risk: Number of attacked rows whose clean prediction was right.
        broken: Number of those that are wrong now.
        labels: Chunks of class indices [n].
        scores: Chunks of float32 [n, class_count].
    """

    confusion: Counts
    at_risk: int = 0
    broken: int = 0
    labels: list[npt.NDArray[np.int16]] = field(default_factory=list)
    scores: list[Floats] = field(default_factory=list)


class _RobustnessCombiner(beam.CombineFn):
    def __init__(self, model: str, class_count: int) -> None:
        self._model = model
        self._class_count = class_count

    def create_accumulator(self) -> _Accumulated:
        return _Accumulated(np.zeros((self._class_count, self._class_count), dtype=np.int64))

    def add_input(self, accumulator: _Accumulated, element: metric_types.StandardMetricInputs) -> _Accumulated:
        labels = np.asarray(self._of_model(element.labels), dtype=np.int16).reshape(-1)
        scores = np.atleast_2d(np.asarray(self._of_model(element.predictions), dtype=np.float32))
        if scores.shape[1] != self._class_count:
            raise ValueError(
                f"evaluate: model '{self._model}' has {scores.shape[1]} probabilities per image for "
                f"{self._class_count} lesion classes"
            )
        at_risk = np.asarray(element[constants.FEATURES_KEY][at_risk_feature(self._model)]).reshape(-1) > 0
        predicted = scores.argmax(axis=1)
        np.add.at(accumulator.confusion, (labels, predicted), 1)
        accumulator.at_risk += int(at_risk.sum())
        accumulator.broken += int((at_risk & (predicted != labels)).sum())
        accumulator.labels.append(labels)
        accumulator.scores.append(scores)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Accumulated]) -> _Accumulated:
        merged = self.create_accumulator()
        for other in accumulators:
            merged.confusion += other.confusion
            merged.at_risk += other.at_risk
            merged.broken += other.broken
            merged.labels += other.labels
            merged.scores += other.scores
        return merged

    def compact(self, accumulator: _Accumulated) -> _Accumulated:
        if len(accumulator.labels) > 1:
            accumulator.labels = [np.concatenate(accumulator.labels)]
            accumulator.scores = [np.concatenate(accumulator.scores)]
        return accumulator

    def extract_output(self, accumulator: _Accumulated) -> dict[metric_types.MetricKey, float]:
        compacted = self.compact(accumulator)
        confusion = compacted.confusion
        auc = macro_auc(compacted.labels[0], compacted.scores[0]) if compacted.labels else float("nan")
        values = {
            "accuracy": accuracy(confusion),
            "balanced_accuracy": balanced_accuracy(confusion),
            "macro_auc": auc,
            ATTACK_SUCCESS_RATE: _ratio(compacted.broken, compacted.at_risk),
            EXAMPLE_COUNT: float(confusion.sum()),
            ATTACK_SUCCESS_RATE_COUNT: float(compacted.at_risk),
        }
        return {key: values[name] for name, key in _keys(self._model).items()}

    def _of_model(self, values: Any) -> Any:
        # With a single model TFMA drops the level of model names.
        return values[self._model] if isinstance(values, Mapping) else values


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
