"""The models that benchmarks attack: an undefended and a hardened one, trained by the pipeline itself.

On HAM10000 where HAM10000_DIR is set, else on drawn images. They are kept below a root, so a second run finds them.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks.measure import dermrobust, measure
from dermrobust.attacks.engine import to_images
from dermrobust.attacks.logits import logits_of
from dermrobust.components.artifacts import Artifact, ArtifactType
from dermrobust.components.examples import ExamplesSpec, Split, first_records, shard_uris
from dermrobust.components.model_files import NETWORK
from dermrobust.models.classifier import attack_target, load_network

EPSILON = 4
"""Budget in 1/255 under which all are attacked, and for which the hardened model is trained."""
_NETWORKS = {28: "small_resnet", 64: "resnet"}
_EPOCHS = {28: (8, 10), 64: (5, 6)}
"""Of the undefended and of the hardened model: enough to be worth attacking."""


@dataclass(frozen=True)
class Victim:
    """A trained network and test images.

    Attributes:
        name: 'undefended' or 'hardened'.
        network: from images in [0, 1] to logits.
        images: float32 [count, size, size, 3].
        labels: int64 [count].
        right: bool [count], which images the network classifies correctly.
    """

    name: str
    network: keras.Model
    images: np.ndarray[Any, np.dtype[np.float32]]
    labels: np.ndarray[Any, np.dtype[np.int64]]
    right: np.ndarray[Any, np.dtype[np.bool_]]

    def robust_accuracy(self, adversarial: np.ndarray[Any, Any]) -> float:
        """Return the share of the first images that are classified correctly, both clean and as attacked."""
        count = len(adversarial)
        predicted = _predicted(self.network, np.asarray(adversarial, np.float32))
        return float((self.right[:count] & (predicted == self.labels[:count])).mean())


def victims(size: int, count: int, *, quick: bool, root: Path) -> Iterator[Victim]:
    """Train (or find) the models for an image size and yield them with so many test images."""
    outputs = _train(size, quick, root)
    examples = outputs["preprocess"]["examples"]
    spec = ExamplesSpec.read(examples)
    batch = first_records(shard_uris(examples, spec, Split.TEST), count, spec.task)
    images = to_images(batch.pixels)
    for name, node in (("undefended", "train[vanilla]"), ("hardened", "train[fast]")):
        network = load_network(Path(outputs[node]["model"].path(NETWORK)))
        yield Victim(name, network, images, batch.labels, _predicted(network, images) == batch.labels)


def _predicted(network: keras.Model, images: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.asarray(logits_of(attack_target(network, folding=False), images, 128).argmax(axis=1))


def _train(size: int, quick: bool, root: Path) -> dict[str, dict[str, Artifact]]:
    real = os.environ.get("HAM10000_DIR", "")
    drawn = {"dataset": "synthetic", "count": 4000}
    ingest = {"dataset": "ham10000", "path": real} if real else {"dataset": drawn}
    objective = {"objective": "fast", "epsilon": EPSILON, "epsilon_warmup_epochs": 2}
    undefended, hardened = (2, 3) if quick else _EPOCHS[size]
    config = {
        "description": "Models for benchmarks.",
        "root": str((root / str(size)).resolve()),
        "ingest": ingest,
        "preprocess": {"image_size": size},
        "train": {"network": _NETWORKS[size], "epochs": undefended, "weight_averaging": 0.98, "xla": False},
        "defences": {"fast": {"objective": objective, "epochs": hardened}},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.json")
        path.write_text(json.dumps(config))
        printed = measure(dermrobust("run", "--to", "train", "--config", str(path), "--json")).output
    # Only where they lie is asked of them here.
    return {
        node["node"]: {name: Artifact(ArtifactType.MODEL, "", "", uri) for name, uri in node["outputs"].items()}
        for node in json.loads(printed)["nodes"]
    }
