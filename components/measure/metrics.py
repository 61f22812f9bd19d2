"""TFMA metric that computes every registered metric, all by argmax and all from one pass over the predictions.

TFMA's own `BalancedAccuracy` thresholds probabilities at 0.5, and its macro averages are NaN wherever a class is
missing; slices by class consist of one class.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import metric_types

from dermrobust.components.evaluation.metrics.metric import Metric, Problem, Rows
from dermrobust.components.evaluation.metrics.registry import METRICS
from dermrobust.components.evaluation.schemas import CLUSTER
from dermrobust.components.measure.figures import figures_of
from dermrobust.components.measure.joining import clean_feature, radius_feature

EXAMPLE_COUNT = "example_count"
_COLUMNS = tuple(fields.name for fields in dataclasses.fields(Rows) if fields.name != "referred")
"""Columns of rows of predictions, which refer nothing."""


def of_predictions() -> list[Metric]:
    """Return the metrics of predictions; those of certificates and of referrals are measured apart."""
    return [metric for metric in METRICS.resolve_all() if metric.of_predictions]


def count_of(metric: str) -> str:
    """Return the name under which TFMA holds the number of rows that a metric was measured on."""
    return EXAMPLE_COUNT if METRICS.resolve(metric).counts_all else f"{metric}_n"


def bounds_of(metric: str) -> tuple[str, str]:
    """Return the names under which TFMA holds the ends of a metric's interval."""
    return f"{metric}_lower", f"{metric}_upper"


class RobustnessMetrics(metric_types.Metric):
    """Value, count and interval of every registered metric, for each model.

    A metric that is undefined in a slice is NaN rather than absent: a combiner returns the same keys for every slice.
    An extract holds one row or a batch of rows: labels [n], predictions [n, class_count].

    Args:
        name: name under which TFMA lists the computation; the metrics have their own names.
        problem: `class_count`, labels of the `malignant` and of the `critical` classes, and `specificity`, at which
            sensitivity to the critical classes is measured; see `Problem`.
    """

    def __init__(self, name: str = "robustness", **problem: Any) -> None:
        super().__init__(_computations, name=name, **problem)


def _computations(
    class_count: int, malignant: list[int], critical: list[int], specificity: float, name: str, model_names: list[str]
) -> list[metric_types.MetricComputation]:
    del name
    problem = Problem(np.isin(np.arange(class_count), malignant), tuple(critical), specificity)
    return [
        metric_types.MetricComputation(
            keys=list(_keys(model).values()),
            preprocessors=[
                metric_types.FeaturePreprocessor(feature_keys=[CLUSTER, clean_feature(model), radius_feature(model)])
            ],
            combiner=_RobustnessCombiner(model, problem),
        )
        for model in model_names
    ]


def _keys(model: str) -> dict[str, metric_types.MetricKey]:
    names = dict.fromkeys(name for metric in METRICS.names for name in (metric, count_of(metric), *bounds_of(metric)))
    # TFMA's loaders look metrics up by keys whose `example_weighted` is None.
    return {name: metric_types.MetricKey(name, model_name=model, example_weighted=None) for name in names}


class _RobustnessCombiner(beam.CombineFn):
    """Collects rows (they are few in a slice of a test split: 4 bytes a class, and 16) and computes at the end."""

    def __init__(self, model: str, problem: Problem) -> None:
        self._model = model
        self._problem = problem

    def create_accumulator(self) -> list[Rows]:
        return []

    def add_input(self, accumulator: list[Rows], element: metric_types.StandardMetricInputs) -> list[Rows]:
        scores = np.atleast_2d(np.asarray(self._of_model(element.predictions), dtype=np.float32))
        if scores.shape[1] != len(self._problem.malignant):
            raise ValueError(
                f"evaluate: model '{self._model}' has {scores.shape[1]} probabilities per image for "
                f"{len(self._problem.malignant)} classes"
            )
        features = element[constants.FEATURES_KEY]
        accumulator.append(
            Rows(
                # int16: an accumulator of all slices lives in memory at once, and no task has 32,768 classes.
                labels=np.asarray(self._of_model(element.labels), dtype=np.int16).reshape(-1),
                scores=scores,
                clean=np.asarray(features[clean_feature(self._model)], dtype=np.int16).reshape(-1),
                clusters=np.asarray(features[CLUSTER]).reshape(-1).astype(np.int64).view(np.uint64),
                radius=np.asarray(features[radius_feature(self._model)], dtype=np.float32).reshape(-1),
            )
        )
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[list[Rows]]) -> list[Rows]:
        return [rows for accumulator in accumulators for rows in accumulator]

    def compact(self, accumulator: list[Rows]) -> list[Rows]:
        if len(accumulator) < 2:
            return accumulator
        return [Rows(**{name: np.concatenate([getattr(rows, name) for rows in accumulator]) for name in _COLUMNS})]

    def extract_output(self, accumulator: list[Rows]) -> dict[metric_types.MetricKey, float]:
        keys = _keys(self._model)
        values = dict.fromkeys(keys, math.nan) | {count_of(name): 0.0 for name in METRICS.names}
        for rows in self.compact(accumulator):
            for name, figure in figures_of(_in_order(rows), of_predictions(), self._problem).items():
                values |= {name: figure.value, count_of(name): float(figure.n)}
                if figure.lower is not None and figure.upper is not None:
                    values |= dict(zip(bounds_of(name), (figure.lower, figure.upper), strict=True))
        return {key: float(values[name]) for name, key in keys.items()}

    def _of_model(self, values: Any) -> Any:
        # With a single model TFMA drops the level of model names.
        return values[self._model] if isinstance(values, Mapping) else values


def _in_order(rows: Rows) -> Rows:
    """Return rows in an order of their own: engines and shards give them in any, and sums depend on it a little."""
    order = np.lexsort((rows.radius, rows.clean, *rows.scores.T, rows.labels, rows.clusters))
    return Rows(**{name: getattr(rows, name)[order] for name in _COLUMNS})
