"""Accuracy under natural corruptions, beside attacks for perspective."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dermrobust.components.evaluation import weighted
from dermrobust.components.evaluation.intervals import (
    mean_of_rates_interval,
    percentile_interval,
    resampled,
    wilson_interval,
)
from dermrobust.components.measure.joining import clusters

SCHEMA = pa.schema(
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


def corruptions_table(corrupted: Mapping[str, pa.Table], class_count: int) -> pa.Table:
    """Return accuracy and balanced accuracy with their 95 % intervals by model, corruption and severity.

    Args:
        corrupted: for each model its predictions; see `probe.CORRUPTED_SCHEMA`.
        class_count: of the lesion classes.
    """
    rows = []
    for model, table in corrupted.items():
        kinds = (
            table.group_by(["corruption", "severity"])
            .aggregate([])
            .sort_by([("corruption", "ascending"), ("severity", "ascending")])
        )
        for kind in kinds.to_pylist():
            part = table.filter(
                pc.and_(
                    pc.equal(table["corruption"], kind["corruption"]), pc.equal(table["severity"], kind["severity"])
                )
            )
            rows += [{"model": model, **kind, **row} for row in _figures(part, class_count)]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _figures(part: pa.Table, class_count: int) -> Iterator[dict[str, Any]]:
    labels = part["label"].to_numpy()
    predicted = np.eye(class_count, dtype=np.float32)[part["predicted"].to_numpy()]
    right = predicted.argmax(axis=1) == labels
    accuracy = float(right.mean())
    lower, upper = wilson_interval(accuracy, len(right))
    yield {"metric": "accuracy", "value": accuracy, "n": len(right), "lower": lower, "upper": upper}
    balanced = float(weighted.balanced_accuracy(labels, predicted, weighted.once(len(labels)))[0])
    lesions: npt.NDArray[np.uint64] = clusters(part).view(np.uint64)
    samples = resampled({"balanced": weighted.balanced_accuracy}, labels, predicted, lesions)["balanced"]
    drawn = percentile_interval(samples, balanced)
    present, counts = np.unique(labels, return_counts=True)
    analytic = mean_of_rates_interval(np.asarray([right[labels == index].mean() for index in present]), counts)
    lower, upper = min(drawn[0], analytic[0]), max(drawn[1], analytic[1])
    yield {"metric": "balanced_accuracy", "value": balanced, "n": len(right), "lower": lower, "upper": upper}
