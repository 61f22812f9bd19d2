"""Figures on the validation split, by which variants of a training are compared: the test split stays unseen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from dermrobust.attacks.threat import ThreatModel
from dermrobust.components.artifacts import Artifact
from dermrobust.components.examples import ExamplesSpec, Split, first_records, parse_pixels, shard_uris
from dermrobust.components.measure.comparisons import Flags, Outcomes, comparisons_table
from dermrobust.components.measure.joining import clusters
from dermrobust.components.train.robust_validation import RobustCheck, robust_predictor
from dermrobust.components.train.validation import batch_size
from dermrobust.models.balanced_accuracy import balanced_accuracy
from dermrobust.models.pixels import to_network_input
from dermrobust.models.task import IMAGE_ID, column

BUDGETS = (1, 2, 4)
"""Budgets in L-infinity, in 1/255."""
CLEAN = "clean"

Figures = dict[str, float]


@dataclass(frozen=True)
class Answers:
    """What a network makes of the validation images.

    Attributes:
        labels: Class indices, int64 [image].
        right: Which images are classified correctly, bool [image]: clean, and clean and under PGD at each budget.
        macro_auc: Macro AUC of the clean images.
    """

    labels: npt.NDArray[np.int64]
    right: Mapping[str, Flags]
    macro_auc: float

    def figures(self) -> Figures:
        """Return balanced accuracy, clean and at each budget, and macro AUC."""
        found = {name: balanced_accuracy(self.labels, flags) for name, flags in self.right.items()}
        return {CLEAN: found.pop(CLEAN), "macro AUC": self.macro_auc, **found}


def validation_answers(
    network: keras.Model, examples: Artifact, steps: int, budgets: Sequence[int] = BUDGETS
) -> Callable[[], Answers]:
    """Return a function that measures a network with its present weights.

    Args:
        network: From images to logits.
        examples: Artifact of the examples.
        steps: Number of PGD steps.
        budgets: Budgets in L-infinity, in 1/255.
    """
    spec = ExamplesSpec.read(examples)
    files, count = shard_uris(examples, spec, Split.VALIDATION), spec.counts[Split.VALIDATION]
    attacked = {
        f"{budget}/255": robust_predictor(network, files, RobustCheck(ThreatModel(budget), steps, count))
        for budget in budgets
    }

    def measure() -> Answers:
        logits, labels = _logits(network, files)
        right = {CLEAN: logits.argmax(axis=1) == labels}
        for name, predictions in attacked.items():
            right[name] = np.equal(*predictions())
        return Answers(labels, right, macro_auc(logits, labels))

    return measure


def _logits(network: keras.Model, files: Sequence[str]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    height, width = network.input_shape[1:3]
    images = tf.data.TFRecordDataset(files).map(parse_pixels(height, width)).batch(batch_size(height, width))
    found = [(network(to_network_input(pixels), training=False), labels) for pixels, labels in images]
    return np.concatenate([logits for logits, _ in found]), np.concatenate([labels for _, labels in found])


def macro_auc(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    """Return the mean over the classes of the AUC of each against the rest, from logits [image, class]."""
    scores = tf.nn.softmax(logits).numpy()
    return float(np.mean([roc_auc_score(labels == index, scores[:, index]) for index in np.unique(labels)]))


def changes(answers: Mapping[str, Answers], reference: str, examples: Artifact) -> list[dict[str, str]]:
    """Return the rows of a table: by how much each model's balanced accuracy differs from that of a reference.

    Differences are paired by image; their 95 % intervals are those of
    `dermrobust.components.measure.comparisons.comparisons_table`, which resamples groups of images.

    Args:
        answers: Of each model, on the same images and at the same budgets.
        reference: Name of the model that the others are compared with.
        examples: Artifact of the examples.
    """
    spec = ExamplesSpec.read(examples)
    task, count = spec.task, spec.counts[Split.VALIDATION]
    columns = first_records(shard_uris(examples, spec, Split.VALIDATION), count, task).columns
    names = (IMAGE_ID,) if task.group_key is None else (IMAGE_ID, task.group_key)
    groups = clusters(pa.table({column(name): columns[name] for name in names}), task).view(np.uint64)
    of_reference = answers[reference]
    outcomes = {
        (name, 0.0): Outcomes(of_reference.labels, groups, {model: each.right[name] for model, each in answers.items()})
        for name in of_reference.right
    }
    found = {
        (row["model"], row["attack"]): f"{row['change']:+.3f} [{row['lower']:+.3f}, {row['upper']:+.3f}]"
        for row in comparisons_table(outcomes, list(answers), reference, task).to_pylist()
        if row["metric"] == "balanced_accuracy"
    }
    others = [model for model in answers if model != reference]
    return [{"model": model} | {name: found[model, name] for name in of_reference.right} for model in others]


def table(rows: list[dict[str, str]]) -> list[str]:
    """Return the lines of a Markdown table; all rows have the same keys."""
    lines = [f"| {' | '.join(rows[0])} |", "|---" * len(rows[0]) + "|"]
    return lines + [f"| {' | '.join(row.values())} |" for row in rows]


def written(figures: Figures) -> dict[str, str]:
    """Return figures for a table."""
    return {name: f"{value:.3f}" for name, value in figures.items()}
