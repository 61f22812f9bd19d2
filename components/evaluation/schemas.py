"""Columns of the tables of an evaluation artifact. Epsilons are in units of 1/255, of L0 in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args, get_type_hints

import pyarrow as pa

from dermrobust.components.evaluation.rows import Comparison, Corruption, Flip, RiskCoverage, StoredImages
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

_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_(), bytes: pa.binary()}


def schema_of(row: type) -> pa.Schema:
    """Return the columns of a table whose rows are a dataclass, such as `rows.Flip`."""
    columns = []
    for name, kind in get_type_hints(row).items():
        # A column may be null whatever its type.
        plain = next((part for part in get_args(kind) if part is not type(None)), kind)
        columns.append((name, _TYPES[plain]))
    return pa.schema(columns)


COMPARISONS_SCHEMA = schema_of(Comparison)
CORRUPTIONS_SCHEMA = schema_of(Corruption)
FLIPS_SCHEMA = schema_of(Flip)
STORED_SCHEMA = schema_of(StoredImages)
RISK_COVERAGE_SCHEMA = schema_of(RiskCoverage)


def outcomes_schema(models: Sequence[str]) -> pa.Schema:
    """Return the columns of outcomes: a row for each image under each attack, a column for each model."""
    place = [("attack", pa.string()), ("epsilon", pa.float64()), (CLUSTER, pa.int64()), ("label", pa.int64())]
    return pa.schema([*place, *((right(model), pa.bool_()) for model in models)])


def radii_schema(models: Sequence[str]) -> pa.Schema:
    """Return the columns of radii: a row for each image under each attack that minimizes the perturbation.

    `epsilon` is the largest budget. A model's radius is in 1/255, 0 for an image that it misclassifies when clean, and
    null where no misclassified image was found within the budget.
    """
    place = [("attack", pa.string()), ("epsilon", pa.float64()), (CLUSTER, pa.int64()), ("label", pa.int64())]
    return pa.schema([*place, *((radius(model), pa.float32()) for model in models)])


def radius(model: str) -> str:
    """Return the name of the column with a model's robust radius."""
    return f"radius/{model}"


def images_schema(task: Task) -> pa.Schema:
    """Return the columns of the test images: label, group and slice features of each."""
    return pa.schema([("label", pa.int64()), (CLUSTER, pa.int64()), *((name, pa.string()) for name in task.slices)])


def right(model: str) -> str:
    """Return the name of the column that says whether a model's prediction is right."""
    return f"right/{model}"
