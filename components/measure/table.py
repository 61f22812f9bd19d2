"""TFMA's results as one flat table: a row for each model, slice and metric."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.slicer import slicer_lib

from dermrobust.components.evaluation.thresholds import CLEAN, canonical_epsilon
from dermrobust.components.measure.joining import GROUPS
from dermrobust.components.measure.metrics import DENOMINATORS, lower_bound, upper_bound

OVERALL = "overall"
UNKNOWN = "unknown"

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
        pa.field("small", pa.bool_(), nullable=False),
    ]
)


def metrics_table(output_uri: str, models: Sequence[str], norm: str, min_slice_size: int) -> pa.Table:
    """Reads what TFMA wrote into a table in long form.

    Columns:
        model: Name of the model.
        attack: "none", the name of an attack, or "worst_case"; null for a slice over all attacks.
        norm: The norm of the budget, "linf" or "l2"; null where there is none.
        epsilon: Budget in units of 1/255; null for a slice over all budgets.
        slice: "overall", or the images it is about: "dx=mel", "sex=female", "age_group=40-59", "localization=back",
            "skin_tone=light". Slices by what is unknown of every image are left out.
        metric: Name of the metric; a metric that is undefined in a slice has no row.
        value: Its value, 0 to 1.
        n: Number of images it was measured on; of a share of some images (attack_success_rate, the flips,
            melanoma_sensitivity) those.
        lower, upper: 95 % interval; see `intervals`.
        small: n is below `min_slice_size`: to be shown, but nothing is concluded from it.

    Args:
        output_uri: Folder that `run_tfma` wrote to.
        models: The models to list, in this order; within a model rows are ordered by slice and metric.
        norm: The norm of all budgets.
        min_slice_size: Images below which a figure is marked as small.

    Raises:
        ValueError: If there are no results for one of the models.
    """
    rows = [row for found in tfma.load_metrics(output_uri) for row in _rows(found, models, norm, min_slice_size)]
    missing = sorted(set(models) - {row["model"] for row in rows})
    if missing:
        raise ValueError(f"evaluate: '{output_uri}' has no metrics of {', '.join(missing)}")
    known: dict[str, set[str]] = {}
    for row in rows:
        group, _, value = row["slice"].partition("=")
        known.setdefault(group, set()).add(value)
    told = [row for row in rows if known[row["slice"].partition("=")[0]] != {UNKNOWN}]
    return pa.Table.from_pylist(sorted(told, key=lambda row: _order(row, models)), schema=METRICS_SCHEMA)


def unknown_groups(table: pa.Table) -> list[str]:
    """Return the groups of images, such as "sex", that a table has no slices by: they are unknown of every image."""
    present = {name.partition("=")[0] for name in table["slice"].unique().to_pylist()}
    return [group for group in GROUPS if group not in present]


def _rows(metrics: Any, models: Sequence[str], norm: str, min_slice_size: int) -> Iterator[dict[str, Any]]:
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
            yield {
                **{"model": model, **place, "metric": metric, "value": value, "n": n},
                "lower": values[model, lower_bound(metric)],
                "upper": values[model, upper_bound(metric)],
                "small": n < min_slice_size,
            }


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
