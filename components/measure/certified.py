"""Figures of smoothed classifiers: what is certified, and what attacks on them leave."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from dermrobust.components.evaluation.certificate_params import CertificateSettings
from dermrobust.components.evaluation.certificates import MODEL, certificates_of, certified_at, withstands
from dermrobust.components.evaluation.conditions import CERTIFIED, SMOOTHED, of_smoothing
from dermrobust.components.evaluation.metrics.metric import Flags, Metric, Problem, Rows
from dermrobust.components.evaluation.metrics.registry import METRICS
from dermrobust.components.evaluation.names import CONSTANT, canonical_epsilon
from dermrobust.components.evaluation.params import Reading
from dermrobust.components.evaluation.rows import Figure
from dermrobust.components.evaluation.schemas import METRICS_SCHEMA
from dermrobust.components.measure.constant import slices_of
from dermrobust.components.measure.figures import figures_of
from dermrobust.components.measure.joining import clusters
from dermrobust.models.task import UNKNOWN, Task

_ACCURACIES = ("accuracy", "balanced_accuracy")
"""Metrics of what is correct, whatever the wrong answers are."""


def joined_certificates(tables: Mapping[str, pa.Table], label: int) -> pa.Table:
    """Return the certificates of all models, by name, and last of the classifier that always answers one label.

    The same answer to every image is certified at every radius.

    Args:
        tables: certificates of each model on the same images.
        label: the answer of the constant classifier.
    """
    named = [_with(table, MODEL, pa.repeat(name, len(table))) for name, table in tables.items()]
    floor = named[0]
    always = {
        MODEL: pa.repeat(CONSTANT, len(floor)),
        "predicted": pa.repeat(pa.scalar(label, pa.int64()), len(floor)),
        "certified_class": pa.repeat(pa.scalar(label, pa.int64()), len(floor)),
        "abstained": pa.repeat(False, len(floor)),
        "radius": pa.repeat(pa.scalar(math.inf, pa.float32()), len(floor)),
        "attacked": pa.array(np.where(floor["label"].to_numpy() == label, np.nan, 0), pa.float32(), from_pandas=True),
        "votes": pa.nulls(len(floor), floor.schema.field("votes").type),
    }
    for name, values in always.items():
        floor = _with(floor, name, values)
    return pa.concat_tables([*named, floor]).combine_chunks()


def certified_table(
    certificates: pa.Table, task: Task, models: Sequence[str], settings: CertificateSettings, reading: Reading
) -> pa.Table:
    """Return the figures of smoothed classifiers as rows of `METRICS_SCHEMA`; see `conditions`.

    Args:
        certificates: certificates of all models by name; see `joined_certificates`.
        task: the classification problem.
        models: names of the models, in the order of the rows.
        settings: deviations of the noise and radii.
        reading: specificity, and number of images below which a figure is marked as small.
    """
    rows = []
    for model in models:
        for sigma in settings.sigmas:
            found = certificates_of(certificates, model, sigma)
            for where, part in _known_slices(found, task):
                for family, epsilon, metric, figure in _figures(part, task, settings, reading, model == CONSTANT):
                    place = {"attack": of_smoothing(family, sigma), "norm": "l2", "epsilon": epsilon, "slice": where}
                    small = figure.n < reading.min_slice_size
                    rows.append({"model": model, **place, "metric": metric, **vars(figure), "small": small})
    return pa.Table.from_pylist(rows, schema=METRICS_SCHEMA)


def _known_slices(certificates: pa.Table, task: Task) -> Iterator[tuple[str, pa.Table]]:
    """Yield the slices, but for those by what is unknown of every image."""
    known = tuple(name for name in task.slices if certificates[name].unique().to_pylist() != [UNKNOWN])
    yield from slices_of(certificates, known)


def _figures(
    part: pa.Table, task: Task, settings: CertificateSettings, reading: Reading, constant: bool
) -> Iterator[tuple[str, float, str, Figure]]:
    """Yield family of the condition, radius in 1/255, metric and figure."""
    problem = Problem.of(task, reading.specificity)
    accuracies = list(map(METRICS.resolve, _ACCURACIES))
    # The radius of the constant classifier is infinite.
    of_radius = [] if constant else [metric for metric in METRICS.resolve_all() if metric.of_certificates]
    radii = [canonical_epsilon(threat.epsilon) for threat in settings.radii]
    for epsilon in (0.0, *radii):
        metrics: list[Metric] = accuracies if epsilon else [*accuracies, *of_radius]
        found = figures_of(_rows(part, task, certified_at(part, epsilon)), metrics, problem)
        yield from ((CERTIFIED, epsilon, name, figure) for name, figure in found.items())
    for epsilon in (0.0, *(radii if settings.attacks or constant else ())):
        found = figures_of(_rows(part, task, withstands(part, epsilon)), accuracies, problem)
        yield from ((SMOOTHED, epsilon, name, figure) for name, figure in found.items())


def _rows(part: pa.Table, task: Task, correct: Flags) -> Rows:
    """Return the rows of metrics that depend on what is correct, and on the radius."""
    labels, count = part["label"].to_numpy(), len(task.class_names)
    # An abstention has no class; any wrong one stands for it.
    answers = np.where(correct, labels, (labels + 1) % count)
    scores = np.eye(count, dtype=np.float32)[answers]
    groups = clusters(part, task).view(np.uint64)
    return Rows(labels, scores, np.full(len(labels), -1), groups, part["radius"].to_numpy().astype(np.float32))


def _with(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)
