"""TFMA's results as one flat table: a row for each model, slice and metric."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.slicer import slicer_lib

from dermrobust.components.evaluation.conditions import family_of
from dermrobust.components.evaluation.metrics.registry import METRICS
from dermrobust.components.evaluation.names import CLEAN, canonical_epsilon
from dermrobust.components.evaluation.schemas import METRICS_SCHEMA, OVERALL
from dermrobust.components.measure.metrics import bounds_of, count_of
from dermrobust.models.task import UNKNOWN


def metrics_table(output_uri: str, models: Sequence[str], norm: str, min_slice_size: int) -> pa.Table:
    """Return what TFMA wrote as a table in long form; see `METRICS_SCHEMA`.

    A metric that is undefined in a slice has no row. Slices by what is unknown of every image are left out.

    Args:
        output_uri: folder that `run_tfma` wrote to.
        models: models to list, in this order; within a model rows are ordered by slice and metric.
        norm: norm of the budgets of attacks; under a family of transformations the column has its name.
        min_slice_size: number of images below which a figure is marked as small.

    Raises:
        ValueError: there are no results for one of the models.
    """
    rows = [row for found in tfma.load_metrics(output_uri) for row in _rows(found, models, norm, min_slice_size)]
    missing = sorted(set(models) - {row["model"] for row in rows})
    if missing:
        raise ValueError(f"evaluate: '{output_uri}' has no metrics of {', '.join(missing)}")
    known: dict[str, set[str]] = {}
    for row in rows:
        group, _, value = row["slice"].partition("=")
        known.setdefault(group, set()).add(value)
    named = [row for row in rows if known[row["slice"].partition("=")[0]] != {UNKNOWN}]
    return pa.Table.from_pylist(sorted(named, key=lambda row: _order(row, models)), schema=METRICS_SCHEMA)


def unknown_groups(table: pa.Table, slices: Sequence[str]) -> list[str]:
    """Return the features, such as "sex", that a table has no slices by: they are unknown of every image."""
    present = {name.partition("=")[0] for name in table["slice"].unique().to_pylist()}
    return [name for name in slices if name not in present]


def _rows(metrics: Any, models: Sequence[str], norm: str, min_slice_size: int) -> Iterator[dict[str, Any]]:
    place = _place(dict(slicer_lib.deserialize_slice_key(metrics.slice_key)), norm)
    values = {
        (item.key.model_name, item.key.name): item.value.double_value.value for item in metrics.metric_keys_and_values
    }
    for model in models:
        for metric in METRICS.names:
            value = values.get((model, metric), math.nan)
            if math.isnan(value):
                continue
            n, (lower, upper) = int(values[model, count_of(metric)]), (values[model, end] for end in bounds_of(metric))
            interval = {"lower": lower, "upper": upper, "small": n < min_slice_size}
            yield {"model": model, **place, "metric": metric, "value": value, "n": n, **interval}


def _place(features: Mapping[str, Any], norm: str) -> dict[str, Any]:
    """Return the columns that say where a metric was measured."""
    fixed = dict(features)
    attack, epsilon = fixed.pop("attack"), canonical_epsilon(fixed.pop("epsilon"))
    where = ",".join(f"{name}={value}" for name, value in sorted(fixed.items())) or OVERALL
    under = None if attack == CLEAN else family_of(attack or "") or norm
    return {"attack": attack, "norm": under, "epsilon": epsilon, "slice": where}


def _order(row: Mapping[str, Any], models: Sequence[str]) -> tuple[Any, ...]:
    place = (row["attack"], row["epsilon"], row["slice"] != OVERALL, row["slice"])
    return (models.index(row["model"]), *place, METRICS.names.index(row["metric"]))
