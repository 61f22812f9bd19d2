"""The work of train."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from components import model_files, storage
from components.adversarial_spec import AdversarialSpec
from components.adversarial_spec import shard_uris as adversarial_uris
from components.artifacts import LOGS, Artifact
from components.component import Context
from components.examples import ExamplesSpec, Split, shard_uris
from components.train.augmentation import AUGMENTATIONS
from components.train.component import TrainParams
from components.train.data import TrainingData
from components.train.loop import Training, train
from components.train.validation import validator
from models.classifier import compute_deterministically, save_network
from models.registry import NETWORKS, OBJECTIVES, resolve


def run(context: Context) -> None:
    """Train a network on clean and, where given, adversarial examples; write it with its history and figures."""
    params = context.params
    assert isinstance(params, TrainParams)
    examples = context.input("examples")
    spec = ExamplesSpec.read(examples)
    keras.utils.set_random_seed(params.seed)
    compute_deterministically()
    size = spec.preprocessing.image_size
    network = resolve(params.network, NETWORKS)(size, len(spec.class_names), params.seed)
    data = _training_data(params, examples, spec, context.inputs["adversarial"])
    work = Path(context.work_folder)
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder)
        training = Training(
            network=network,
            objective=resolve(params.objective, OBJECTIVES),
            data=data,
            validate=validator(network, shard_uris(examples, spec, Split.VALIDATION), size, len(spec.class_names)),
            class_weights=class_weights(spec.class_counts[Split.TRAIN], params.class_weighting),
            logs=result / LOGS,
            checkpoint_file=work / "checkpoint.npz",
        )
        with context.progress.task("train", params.epochs * data.steps, "steps") as task:
            state = train(training, params, task)
        save_network(network, result / model_files.NETWORK)
        _write_figures(result, spec, state.history, state.best_epoch, data.count)
        storage.upload(result, context.outputs["model"])
    score = state.best_score
    context.progress.line(
        f"train: validation balanced accuracy {score:.3f} in epoch {state.best_epoch} of {state.epoch}"
    )


def _training_data(
    params: TrainParams, examples: Artifact, spec: ExamplesSpec, adversarial: tuple[Artifact, ...]
) -> TrainingData:
    files, count = shard_uris(examples, spec, Split.TRAIN), spec.counts[Split.TRAIN]
    for artifact in adversarial:
        crafted = AdversarialSpec.read(artifact)
        files += adversarial_uris(artifact, crafted)
        count += crafted.count
    return TrainingData(
        files=files,
        count=count,
        image_size=spec.preprocessing.image_size,
        batch_size=min(params.batch_size, count),
        shuffle_buffer=params.shuffle_buffer,
        seed=params.seed,
        augmentation=AUGMENTATIONS[params.augmentation],
    )


def class_weights(counts: list[int], weighting: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the weight of each class, scaled so that the mean over the images is 1.

    Args:
        counts: training images of each class.
        weighting: 'none', 'sqrt' (frequency to the power of -1/2) or 'inverse' (to the power of -1).
    """
    power = {"none": 0.0, "sqrt": 0.5, "inverse": 1.0}[weighting]
    images = np.maximum(np.asarray(counts, np.float64), 1.0)
    weights = images**-power
    return np.asarray(weights * images.sum() / (weights * images).sum(), np.float32)


def _write_figures(
    folder: Path, spec: ExamplesSpec, history: list[dict[str, float]], best_epoch: int, image_count: int
) -> None:
    model_spec = model_files.ModelSpec(class_names=spec.class_names, preprocessing=spec.preprocessing)
    figures = {**history[best_epoch - 1], "epochs": len(history), "training_images": image_count}
    (folder / model_files.SPEC).write_text(model_spec.model_dump_json(indent=1))
    (folder / model_files.HISTORY).write_text(json.dumps(history, indent=1))
    (folder / model_files.METRICS).write_text(json.dumps(figures, indent=1))
