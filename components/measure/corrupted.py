"""Metrics under natural corruptions, for comparison with attacks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dermrobust.components.evaluation.metrics.metric import Problem, Rows
from dermrobust.components.evaluation.metrics.registry import METRICS
from dermrobust.components.evaluation.schemas import CORRUPTIONS_SCHEMA
from dermrobust.components.measure.figures import figures_of
from dermrobust.components.measure.joining import clusters
from dermrobust.models.task import Task


def corruptions_table(corrupted: Mapping[str, pa.Table], task: Task, specificity: float = 0.9) -> pa.Table:
    """Return metrics with their 95 % intervals by model, corruption and severity.

    Args:
        corrupted: for each model its predictions; see `probes.CORRUPTED_SCHEMA`.
        task: the classification problem.
        specificity: specificity at which sensitivity to the critical classes is measured.
    """
    metrics = [metric for metric in METRICS.resolve_all() if "corruptions" in metric.places]
    rows = []
    for model, table in corrupted.items():
        kinds = table.group_by(["corruption", "severity"]).aggregate([])
        for kind in kinds.sort_by([("corruption", "ascending"), ("severity", "ascending")]).to_pylist():
            same = [pc.equal(table[name], value) for name, value in kind.items()]
            found = figures_of(_rows(table.filter(pc.and_(*same)), task), metrics, Problem.of(task, specificity))
            for name, figure in found.items():
                row = {"metric": name, "value": figure.value, "n": figure.n}
                rows.append({"model": model, **kind, **row, "lower": figure.lower, "upper": figure.upper})
    return pa.Table.from_pylist(rows, schema=CORRUPTIONS_SCHEMA)


def _rows(part: pa.Table, task: Task) -> Rows:
    labels = part["label"].to_numpy()
    # Only the predicted class is stored: as scores, 1 for it and 0 for the others.
    scores = np.eye(len(task.class_names), dtype=np.float32)[part["predicted"].to_numpy()]
    groups = clusters(part, task).view(np.uint64)
    return Rows(labels, scores, np.full(len(labels), -1), groups, np.full(len(labels), np.nan, np.float32))
