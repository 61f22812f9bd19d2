"""TFMA metrics of multi-class robustness, all by argmax and all from one pass over the predictions.

TFMA's own `BalancedAccuracy` thresholds probabilities at 0.5, and its macro averages are NaN wherever a class is
missing; slices by lesion class consist of one class.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import metric_types

from dermrobust.components.evaluation import weighted
from dermrobust.components.evaluation.intervals import (
    Clusters,
    Interval,
    Metric,
    mean_of_rates_interval,
    percentile_interval,
    resampled,
    wilson_interval,
)
from dermrobust.components.measure.joining import CLUSTER, clean_feature

EXAMPLE_COUNT = "example_count"
ATTACK_SUCCESS_RATE = "attack_success_rate"
MELANOMA_SENSITIVITY = "melanoma_sensitivity"
MALIGNANT_TO_BENIGN = "malignant_to_benign"
BENIGN_TO_MALIGNANT = "benign_to_malignant"
CALIBRATION_ERROR = "ece"
DENOMINATORS = {
    "accuracy": EXAMPLE_COUNT,
    "balanced_accuracy": EXAMPLE_COUNT,
    "macro_auc": EXAMPLE_COUNT,
    ATTACK_SUCCESS_RATE: f"{ATTACK_SUCCESS_RATE}_n",
    MELANOMA_SENSITIVITY: f"{MELANOMA_SENSITIVITY}_n",
    MALIGNANT_TO_BENIGN: f"{MALIGNANT_TO_BENIGN}_n",
    BENIGN_TO_MALIGNANT: f"{BENIGN_TO_MALIGNANT}_n",
    CALIBRATION_ERROR: EXAMPLE_COUNT,
}
"""Each metric with the metric that counts what it was measured on."""
RATES = frozenset({"accuracy", ATTACK_SUCCESS_RATE, MALIGNANT_TO_BENIGN, BENIGN_TO_MALIGNANT})
"""Shares of independent yes or no, whose interval is Wilson's; for the others see `intervals.resampled`."""
MELANOMA = "mel"

Floats = npt.NDArray[np.float32]


def lower_bound(metric: str) -> str:
    """Name under which TFMA holds the lower end of a metric's interval."""
    return f"{metric}_lower"


def upper_bound(metric: str) -> str:
    """Name under which TFMA holds the upper end of a metric's interval."""
    return f"{metric}_upper"


class RobustnessMetrics(metric_types.Metric):
    """The metrics of each model in `DENOMINATORS`, their intervals, and what they count.

    - accuracy, balanced_accuracy (mean recall), macro_auc: of the rows, by argmax;
    - attack_success_rate: share of attacked rows, among those whose clean prediction was right, that are now wrong;
    - malignant_to_benign: share of attacked rows of malignant classes, among those whose clean prediction was a
      malignant class, that are now taken for a benign one; benign_to_malignant is the reverse;
    - melanoma_sensitivity: at a fixed specificity, see `weighted.sensitivity_at`;
    - ece: see `weighted.calibration_error`.

    A metric that is undefined in a slice is NaN rather than absent: TFMA fails a threshold on a metric for *every*
    slice that lacks the metric, also for slices that the threshold does not speak of.

    An extract holds one row or a batch of rows: labels [n], predictions [n, class_count].

    Args:
        class_count: The number of classes.
        malignant: Indices of the malignant classes.
        melanoma: Index of melanoma; None if no class is.
        specificity: At which sensitivity to melanoma is measured.
        name: Name under which TFMA lists the computation; the metrics have their own names.
    """

    def __init__(
        self,
        class_count: int,
        malignant: Sequence[int] = (),
        melanoma: int | None = None,
        specificity: float = 0.9,
        name: str = "robustness",
    ) -> None:
        super().__init__(
            _computations,
            class_count=class_count,
            malignant=list(malignant),
            melanoma=melanoma,
            specificity=specificity,
            name=name,
        )


def _computations(
    class_count: int, malignant: list[int], melanoma: int | None, specificity: float, name: str, model_names: list[str]
) -> list[metric_types.MetricComputation]:
    del name
    is_malignant = np.isin(np.arange(class_count), malignant)
    return [
        metric_types.MetricComputation(
            keys=list(_keys(model).values()),
            preprocessors=[metric_types.FeaturePreprocessor(feature_keys=[CLUSTER, clean_feature(model)])],
            combiner=_RobustnessCombiner(model, is_malignant, melanoma, specificity),
        )
        for model in model_names
    ]


def _keys(model: str) -> dict[str, metric_types.MetricKey]:
    # TFMA looks thresholds up by keys whose `example_weighted` is None.
    names = [
        *DENOMINATORS,
        *dict.fromkeys(DENOMINATORS.values()),
        *map(lower_bound, DENOMINATORS),
        *map(upper_bound, DENOMINATORS),
    ]
    return {name: metric_types.MetricKey(name, model_name=model, example_weighted=None) for name in names}


@dataclass
class Rows:
    """Rows of one model in one slice, side by side: what every metric is computed from.

    Attributes:
        labels: Class indices [n].
        scores: float32 [n, class_count].
        clean: Class predicted on the clean image [n], -1 on rows that are clean themselves.
        clusters: uint64 [n], the same for images of one lesion.
    """

    labels: npt.NDArray[np.int16]
    scores: Floats
    clean: npt.NDArray[np.int16]
    clusters: Clusters


class _RobustnessCombiner(beam.CombineFn):
    """Collects rows (they are few in a slice of a test split: 4 bytes a class, and 12) and computes at the end."""

    def __init__(
        self, model: str, is_malignant: npt.NDArray[np.bool_], melanoma: int | None, specificity: float
    ) -> None:
        self._model = model
        self._is_malignant = is_malignant
        self._melanoma = melanoma
        self._specificity = specificity

    def create_accumulator(self) -> list[Rows]:
        return []

    def add_input(self, accumulator: list[Rows], element: metric_types.StandardMetricInputs) -> list[Rows]:
        scores = np.atleast_2d(np.asarray(self._of_model(element.predictions), dtype=np.float32))
        if scores.shape[1] != len(self._is_malignant):
            raise ValueError(
                f"evaluate: model '{self._model}' has {scores.shape[1]} probabilities per image for "
                f"{len(self._is_malignant)} lesion classes"
            )
        features = element[constants.FEATURES_KEY]
        accumulator.append(
            Rows(
                labels=np.asarray(self._of_model(element.labels), dtype=np.int16).reshape(-1),
                scores=scores,
                clean=np.asarray(features[clean_feature(self._model)], dtype=np.int16).reshape(-1),
                clusters=np.asarray(features[CLUSTER]).reshape(-1).astype(np.int64).view(np.uint64),
            )
        )
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[list[Rows]]) -> list[Rows]:
        return [rows for accumulator in accumulators for rows in accumulator]

    def compact(self, accumulator: list[Rows]) -> list[Rows]:
        if len(accumulator) < 2:
            return accumulator
        columns = (fields.name for fields in dataclasses.fields(Rows))
        return [Rows(**{name: np.concatenate([getattr(rows, name) for rows in accumulator]) for name in columns})]

    def extract_output(self, accumulator: list[Rows]) -> dict[metric_types.MetricKey, float]:
        keys = _keys(self._model)
        values = dict.fromkeys(keys, math.nan) | dict.fromkeys(DENOMINATORS.values(), 0.0)
        for rows in self.compact(accumulator):
            values |= self._rates(rows) | self._estimates(rows)
        for name in RATES:
            if not math.isnan(values[name]):
                values[lower_bound(name)], values[upper_bound(name)] = wilson_interval(
                    values[name], int(values[DENOMINATORS[name]])
                )
        return {key: float(values[name]) for name, key in keys.items()}

    def _rates(self, rows: Rows) -> dict[str, float]:
        predicted = rows.scores.argmax(axis=1)
        right, attacked = predicted == rows.labels, rows.clean >= 0
        malignant, clean_malignant = self._is_malignant[rows.labels], self._is_malignant[rows.clean]
        malignant_now = self._is_malignant[predicted]
        cases = {
            ATTACK_SUCCESS_RATE: (~right, attacked & (rows.clean == rows.labels)),
            MALIGNANT_TO_BENIGN: (~malignant_now, attacked & malignant & clean_malignant),
            BENIGN_TO_MALIGNANT: (malignant_now, attacked & ~malignant & ~clean_malignant),
        }
        values = {EXAMPLE_COUNT: float(len(right)), "accuracy": _ratio(int(right.sum()), len(right))}
        for name, (happened, at_risk) in cases.items():
            count = int(at_risk.sum())
            values |= {name: _ratio(int((happened & at_risk).sum()), count), DENOMINATORS[name]: float(count)}
        return values

    def _estimates(self, rows: Rows) -> dict[str, float]:
        """The metrics that are no rates, with their intervals."""
        metrics: dict[str, Metric] = {
            "balanced_accuracy": weighted.balanced_accuracy,
            "macro_auc": weighted.macro_auc,
            CALIBRATION_ERROR: weighted.calibration_error,
        }
        values: dict[str, float] = {}
        if self._melanoma is not None:
            values[DENOMINATORS[MELANOMA_SENSITIVITY]] = float((rows.labels == self._melanoma).sum())
            metrics[MELANOMA_SENSITIVITY] = functools.partial(
                weighted.sensitivity_at, positive_class=self._melanoma, specificity=self._specificity
            )
        once = weighted.once(len(rows.labels))
        estimates = {name: float(metric(rows.labels, rows.scores, once)[0]) for name, metric in metrics.items()}
        defined = {name: metric for name, metric in metrics.items() if not math.isnan(estimates[name])}
        for name, samples in resampled(defined, rows.labels, rows.scores, rows.clusters).items():
            values[name] = estimates[name]
            values[lower_bound(name)], values[upper_bound(name)] = percentile_interval(samples, estimates[name])
        lower, upper = self._recalls_interval(rows)
        values[lower_bound("balanced_accuracy")] = min(lower, values[lower_bound("balanced_accuracy")])
        values[upper_bound("balanced_accuracy")] = max(upper, values[upper_bound("balanced_accuracy")])
        return values

    def _recalls_interval(self, rows: Rows) -> Interval:
        present, counts = np.unique(rows.labels, return_counts=True)
        right = rows.scores.argmax(axis=1) == rows.labels
        recalls = np.asarray([right[rows.labels == index].mean() for index in present])
        return mean_of_rates_interval(recalls, counts)

    def _of_model(self, values: Any) -> Any:
        # With a single model TFMA drops the level of model names.
        return values[self._model] if isinstance(values, Mapping) else values


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
