"""Columns of the tables of an evaluation artifact. Epsilons are in units of 1/255."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from dermrobust.models.task import Task

OVERALL = "overall"
"""Value of the column `slice` for all images."""
CLUSTER = "cluster"
"""Column with a number that is the same for all images of a group, int64."""

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
"""`attack` is "none", the name of an attack, or "worst_case"; `norm` is null on clean images; `slice` is "overall" or
such as "sex=female"; `n` counts the images behind the value, `lower` and `upper` are its 95 % interval, and `small`
says that n is below `min_slice_size`."""

COMPARISONS_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("model", "baseline", "attack")),
        ("epsilon", pa.float64()),
        ("slice", pa.string()),
        ("metric", pa.string()),
        ("n", pa.int64()),
        *((name, pa.float64()) for name in ("change", "lower", "upper", "p_value", "p_adjusted")),
        ("significant", pa.bool_()),
    ]
)
"""`change` is the model's value minus the baseline's on the same images; `p_adjusted` is after Holm (1979)."""

CORRUPTIONS_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("corruption", pa.string()),
        ("severity", pa.int64()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("n", pa.int64()),
        ("lower", pa.float64()),
        ("upper", pa.float64()),
    ]
)

FLIPS_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("attack", pa.string()),
        ("epsilon", pa.float64()),
        *((name, pa.string()) for name in ("image_id", "truth", "predicted_before", "predicted_after")),
        ("p_before", pa.float64()),
        ("p_after", pa.float64()),
        ("danger", pa.int64()),
        ("clean", pa.binary()),
        ("adversarial", pa.binary()),
    ]
)
"""An image whose right class an attack changed: names of classes, their probabilities, and PNG files."""

STORED_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("attack", pa.string()),
        ("epsilon", pa.float64()),
        ("shard", pa.int64()),
        ("images", pa.int64()),
        ("outside", pa.int64()),
        ("farthest", pa.float64()),
    ]
)
"""`outside` counts images that are out of their budget or missing; `farthest` is the largest distance in 1/255."""


def outcomes_schema(models: Sequence[str]) -> pa.Schema:
    """Return the columns of outcomes: a row for each image under each attack, a column for each model."""
    place = [("attack", pa.string()), ("epsilon", pa.float64()), (CLUSTER, pa.int64()), ("label", pa.int64())]
    return pa.schema([*place, *((right(model), pa.bool_()) for model in models)])


def images_schema(task: Task) -> pa.Schema:
    """Return the columns of the test images: label, group and slice features of each."""
    return pa.schema([("label", pa.int64()), (CLUSTER, pa.int64()), *((name, pa.string()) for name in task.slices)])


def right(model: str) -> str:
    """Return the name of the column that says whether a model's prediction is right."""
    return f"right/{model}"
