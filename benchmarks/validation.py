"""Figures on the validation split, by which variants of a training are compared: the test split stays unseen."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from dermrobust.attacks.threat import ThreatModel
from dermrobust.components.artifacts import Artifact
from dermrobust.components.examples import ExamplesSpec, Split, parse_pixels, shard_uris
from dermrobust.components.train.robust_validation import RobustCheck, robust_validator
from dermrobust.components.train.validation import batch_size, validator
from dermrobust.models.pixels import to_network_input

BUDGETS = (1, 2, 4)
"""Budgets in L-infinity, in 1/255."""

Figures = dict[str, float]


def validation_figures(network: keras.Model, examples: Artifact, steps: int) -> Callable[[], Figures]:
    """Return a function that measures a network with its present weights.

    Its figures: balanced accuracy (`clean`), macro AUC, and balanced accuracy under PGD at each budget.

    Args:
        network: From images to logits.
        examples: Artifact of the examples.
        steps: Number of PGD steps.
    """
    spec = ExamplesSpec.read(examples)
    files, classes = shard_uris(examples, spec, Split.VALIDATION), len(spec.class_names)
    checks = {budget: RobustCheck(ThreatModel(budget), steps, spec.counts[Split.VALIDATION]) for budget in BUDGETS}
    robust = {budget: robust_validator(network, files, classes, check) for budget, check in checks.items()}
    clean = validator(network, files, classes)

    def measure() -> Figures:
        figures = {"clean": clean()["balanced_accuracy"], "macro AUC": _macro_auc_of(network, files)}
        attacked = {f"{budget}/255": validate()["robust_balanced_accuracy"] for budget, validate in robust.items()}
        return figures | attacked

    return measure


def _macro_auc_of(network: keras.Model, files: list[str]) -> float:
    height, width = network.input_shape[1:3]
    images = tf.data.TFRecordDataset(files).map(parse_pixels(height, width)).batch(batch_size(height, width))
    found = [(labels, network(to_network_input(pixels), training=False)) for pixels, labels in images]
    return macro_auc(np.concatenate([logits for _, logits in found]), np.concatenate([labels for labels, _ in found]))


def macro_auc(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    """Return the mean over the classes of the AUC of each against the rest, from logits [image, class]."""
    scores = tf.nn.softmax(logits).numpy()
    return float(np.mean([roc_auc_score(labels == index, scores[:, index]) for index in np.unique(labels)]))


def table(rows: list[dict[str, str]]) -> list[str]:
    """Return the lines of a Markdown table; all rows have the same keys."""
    lines = [f"| {' | '.join(rows[0])} |", "|---" * len(rows[0]) + "|"]
    return lines + [f"| {' | '.join(row.values())} |" for row in rows]


def written(figures: Figures) -> dict[str, str]:
    """Return figures for a table."""
    return {name: f"{value:.3f}" for name, value in figures.items()}
