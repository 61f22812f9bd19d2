"""TFMA's results as one flat table: a row for each model, slice and metric."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Any

import pyarrow as pa
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.slicer import slicer_lib

from components.evaluate.metrics import ATTACK_SUCCESS_RATE, DENOMINATORS
from components.evaluate.thresholds import CLEAN, canonical_epsilon

OVERALL = "overall"

METRICS_SCHEMA = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("attack", pa.string()),
        pa.field("norm", pa.string()),
        pa.field("epsilon", pa.float64()),
        pa.field("slice", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("n", pa.int64(), nullable=False),
        pa.field("lower", pa.float64()),
        pa.field("upper", pa.float64()),
    ]
)

_RATES = ("accuracy", ATTACK_SUCCESS_RATE)
_Z_95 = NormalDist().inv_cdf(0.975)


def metrics_table(output_uri: str, models: Sequence[str], norm: str) -> pa.Table:
    """Reads what TFMA wrote into a table in long form.

    Columns:
        model: Name of the model.
        attack: "none", the name of an attack, or "worst_case"; null for a slice over all attacks.
        norm: The norm of the budget, "linf" or "l2"; null where there is none.
        epsilon: Budget in units of 1/255; null for a slice over all budgets.
        slice: "overall", or the images it is about: "dx=mel", "sex=female", "age_group=40-59".
        metric: Name of the metric; a metric that is undefined in a slice has no row.
        value: Its value, 0 to 1.
        n: Number of rows it was measured on; for attack_success_rate those whose clean prediction was right.
        lower, upper: 95 % Wilson interval of the rates accuracy and attack_success_rate; null for other metrics.

    Args:
        output_uri: Folder that `run_tfma` wrote to.
        models: The models to list, in this order; within a model rows are ordered by slice and metric.
        norm: The norm of all budgets.

    Raises:
        ValueError: If there are no results for one of the models.
    """
    rows = [row for metrics in tfma.load_metrics(output_uri) for row in _rows(metrics, models, norm)]
    missing = sorted(set(models) - {row["model"] for row in rows})
    if missing:
        raise ValueError(f"evaluate: '{output_uri}' has no metrics of {', '.join(missing)}")
    return pa.Table.from_pylist(sorted(rows, key=lambda row: _order(row, models)), schema=METRICS_SCHEMA)


def wilson_interval(rate: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a rate measured on n examples (Wilson, 1927).

    Unlike the normal approximation it stays within 0 to 1 and is not empty at 0 and 1, which lesion classes with a few
    dozen images need.
    """
    centre = (rate + _Z_95**2 / (2 * n)) / (1 + _Z_95**2 / n)
    half = _Z_95 * math.sqrt(rate * (1 - rate) / n + _Z_95**2 / (4 * n**2)) / (1 + _Z_95**2 / n)
    return max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half))


def _rows(metrics: Any, models: Sequence[str], norm: str) -> Iterator[dict[str, Any]]:
    place = _place(dict(slicer_lib.deserialize_slice_key(metrics.slice_key)), norm)
    values = {
        (item.key.model_name, item.key.name): item.value.double_value.value
        for item in metrics.metric_keys_and_values
        if not item.key.is_diff
    }
    for model in models:
        for metric, denominator in DENOMINATORS.items():
            value = values.get((model, metric), math.nan)
            if math.isnan(value):
                continue
            n = int(values[model, denominator])
            lower, upper = wilson_interval(value, n) if metric in _RATES else (None, None)
            yield {"model": model, **place, "metric": metric, "value": value, "n": n, "lower": lower, "upper": upper}


def _place(features: Mapping[str, Any], norm: str) -> dict[str, Any]:
    """The columns that say where a metric was measured."""
    fixed = dict(features)
    attack, epsilon = fixed.pop("attack", None), fixed.pop("epsilon", None)
    return {
        "attack": attack,
        "norm": norm if epsilon is not None and attack != CLEAN else None,
        "epsilon": None if epsilon is None else canonical_epsilon(epsilon),
        "slice": ",".join(f"{name}={value}" for name, value in sorted(fixed.items())) or OVERALL,
    }


def _order(row: Mapping[str, Any], models: Sequence[str]) -> tuple[Any, ...]:
    attack, epsilon, name = row["attack"] or "", row["epsilon"], row["slice"]
    place = (attack, -1.0 if epsilon is None else epsilon, name != OVERALL, name)
    return (models.index(row["model"]), *place, list(DENOMINATORS).index(row["metric"]))
