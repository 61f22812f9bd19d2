"""Reading what an evaluation artifact says."""

from __future__ import annotations

import math
from typing import Any

import pyarrow.parquet as pq

from dermrobust.components import storage
from dermrobust.components.evaluation.adaptive import AdaptiveLoss, AdaptiveLosses
from dermrobust.components.evaluation.checks import Check, Checks
from dermrobust.components.evaluation.files import ADAPTIVE, CHECKS, METRICS


def metric_rows(evaluation_uri: str) -> list[dict[str, Any]]:
    """Return the rows model, attack, epsilon, slice, metric, value, n, lower, upper; undefined numbers are None."""
    with storage.open_read(storage.join(evaluation_uri, METRICS)) as file:
        rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return [
        {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
        for row in rows
    ]


def adaptive_rows(evaluation_uri: str) -> tuple[AdaptiveLoss, ...]:
    """Return what attacks through a model's own gradients remove; nothing where no attack was transferred."""
    content = storage.read_bytes(storage.join(evaluation_uri, ADAPTIVE))
    return AdaptiveLosses.model_validate_json(content).losses


def check_rows(evaluation_uri: str) -> tuple[Check, ...]:
    """Return the self-checks."""
    return Checks.model_validate_json(storage.read_bytes(storage.join(evaluation_uri, CHECKS))).checks
