"""Figures of the constant classifier, which always answers the most frequent class: a floor for every model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dermrobust.components.evaluation.metrics.metric import Problem, Rows
from dermrobust.components.evaluation.metrics.registry import METRICS
from dermrobust.components.evaluation.names import CLEAN, CONSTANT
from dermrobust.components.evaluation.params import Reading
from dermrobust.components.evaluation.schemas import CLUSTER, METRICS_SCHEMA, OVERALL
from dermrobust.components.examples import ExamplesSpec, Split
from dermrobust.components.measure.figures import figures_of
from dermrobust.models.task import Task

_PLACE = ("attack", "norm", "epsilon", "slice")


def most_frequent(spec: ExamplesSpec) -> int:
    """Return the label of the most frequent training class; without training images of the most frequent test class."""
    known = (counts for split in (Split.TRAIN, Split.TEST) if any(counts := spec.class_counts[split]))
    return int(np.argmax(next(known)))


def clean_images(batch: pa.RecordBatch, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the test images of a wide batch, each once; see `schemas.images_schema`."""
    images = pa.table({name: batch.column(name).flatten() for name in columns})
    yield images.filter(pc.equal(batch.column("attack").flatten(), CLEAN))


def constant_table(images: pa.Table, measured: pa.Table, task: Task, label: int, reading: Reading) -> pa.Table:
    """Return the constant classifier's figures wherever other models have some, as rows of `METRICS_SCHEMA`.

    It answers the same under every attack, so each figure on clean images holds at every budget. Metrics of what an
    attack changes are undefined for it and have no rows.

    Args:
        images: the test images; see `schemas.images_schema`.
        measured: metrics of other models.
        task: the classification problem.
        label: the label that it always answers.
        reading: specificity, and number of images below which a figure is marked as small.
    """
    metrics = [metric for metric in METRICS.resolve_all() if metric.of_predictions]
    figures = {
        where: figures_of(_rows(part, task, label), metrics, Problem.of(task, reading.specificity))
        for where, part in slices_of(images, task.slices)
    }
    # In the order of the first model; Arrow's `group_by` has none.
    places = dict.fromkeys(zip(*(measured[name].to_pylist() for name in _PLACE), strict=True))
    rows = [
        {
            "model": CONSTANT,
            **dict(zip(_PLACE, place, strict=True)),
            "metric": metric,
            **vars(figure),
            "small": figure.n < reading.min_slice_size,
        }
        for place in places
        for metric, figure in figures[place[-1]].items()
        if not math.isnan(figure.value)
    ]
    return pa.Table.from_pylist(rows, schema=METRICS_SCHEMA)


def always(label: int, predictions: pa.Table) -> pa.Table:
    """Return predictions with a column `predicted` as those of the constant classifier on the same images."""
    place = predictions.column_names.index("predicted")
    return predictions.set_column(place, "predicted", pa.repeat(pa.scalar(label, pa.int64()), len(predictions)))


def slices_of(images: pa.Table, features: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    """Yield all images, and those of each value of each feature, with the name of the slice."""
    yield OVERALL, images
    for name in features:
        for value in images[name].unique().to_pylist():
            yield f"{name}={value}", images.filter(pc.equal(images[name], value))


def _rows(images: pa.Table, task: Task, label: int) -> Rows:
    labels = images["label"].to_numpy()
    # Certain of its answer, as scikit-learn's DummyClassifier is with the strategy "most_frequent".
    scores = np.tile(np.eye(len(task.class_names), dtype=np.float32)[label], (len(labels), 1))
    clusters = images[CLUSTER].to_numpy().view(np.uint64)
    return Rows(labels, scores, np.full(len(labels), -1), clusters, np.full(len(labels), np.nan, np.float32))
