"""Test-time augmentation: validation figures of a model on the eight flips and rotations of each image.

    python -m benchmarks.views --config configs/ham10000_clean.json [--root DIR] [--models NAME … | --file model.keras]

All eight views show the same lesion, so their figures differ by chance alone: the epoch that was kept was chosen on the
first of them. Below stand the mean of the views, and the figures of logits that are averaged over them.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from benchmarks.measure import machine
from benchmarks.trained import trained_models
from benchmarks.validation import Figures, macro_auc, table, written
from dermrobust.attacks.errors import UserError
from dermrobust.components.artifacts import Artifact
from dermrobust.components.examples import ExamplesSpec, Split, parse_pixels, shard_uris
from dermrobust.components.model_files import load_network
from dermrobust.components.train.validation import batch_size
from dermrobust.models import classifier
from dermrobust.models.balanced_accuracy import mean_recall
from dermrobust.models.pixels import to_network_input
from dermrobust.pipeline.config_files import load_config

VIEWS = 8
"""Symmetries of a square."""


def views(images: tf.Tensor) -> Iterator[tf.Tensor]:
    """Yield square images [batch, side, side, 3] as they are, then in their other flips and rotations by 90 degrees."""
    for turned in (images, tf.transpose(images, (0, 2, 1, 3))):
        for flipped in (turned, tf.reverse(turned, [1])):
            yield from (flipped, tf.reverse(flipped, [2]))


def logits_of_views(network: keras.Model, examples: Artifact) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the logits [view, image, class] of the validation images, and their labels [image].

    Raises:
        UserError: the images are not square, so that a rotated one has another shape.
    """
    height, width = network.input_shape[1:3]
    if height != width:
        raise UserError(f"images of {height} x {width} pixels cannot be rotated by 90 degrees; choose square ones")
    files = shard_uris(examples, ExamplesSpec.read(examples), Split.VALIDATION)
    batches = tf.data.TFRecordDataset(files).map(parse_pixels(height, width)).batch(batch_size(height, width))

    @tf.function(reduce_retracing=True)
    def logits(pixels: tf.Tensor) -> tf.Tensor:
        return tf.stack([network(view, training=False) for view in views(to_network_input(pixels))])

    found = [(logits(pixels).numpy(), labels.numpy()) for pixels, labels in batches]
    return np.concatenate([each for each, _ in found], axis=1), np.concatenate([labels for _, labels in found])


def figures(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Figures:
    """Return accuracy, balanced accuracy and macro AUC of logits [image, class]."""
    right, size = logits.argmax(axis=1) == labels, logits.shape[1]
    hits, counts = np.bincount(labels[right], minlength=size), np.bincount(labels, minlength=size)
    return {
        "accuracy": float(right.mean()),
        "balanced accuracy": mean_recall(hits, counts),
        "macro AUC": macro_auc(logits, labels),
    }


def rows(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> dict[str, Figures]:
    """Return the figures of the first view, the range and mean of those of all views, and those of averaged logits."""
    each = [figures(view, labels) for view in logits]
    over: dict[str, Callable[[list[float]], float]] = {
        "least of the views": min,
        "mean of the views": statistics.fmean,
        "greatest of the views": max,
    }
    combined = {name: {key: of([row[key] for row in each]) for key in each[0]} for name, of in over.items()}
    return {"as it is": each[0], **combined, "averaged logits": figures(logits.mean(axis=0), labels)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="whose models are measured")
    parser.add_argument("--root", help="folder of artifacts and ledger; else that of the config")
    parser.add_argument("--models", nargs="+", help="names of models; else all of the config")
    parser.add_argument("--file", type=Path, help="a .keras file, on the images of the config, instead of its models")
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config)
        if options.root:
            config = config.model_copy(update={"root": options.root})
        examples, models = trained_models(config, [] if options.file else options.models or config.model_names())
        networks = {name: load_network(model.uri, model.digest) for name, model in models.items()}
        if options.file:
            networks[options.file.stem] = classifier.load_network(options.file)
        found = {name: rows(*logits_of_views(network, examples)) for name, network in networks.items()}
    except UserError as error:
        parser.error(str(error))
    print(f"{machine()}; validation split\n")
    lines = [
        {"model": name, "view": view} | written(values) for name, each in found.items() for view, values in each.items()
    ]
    print("\n".join(table(lines)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
