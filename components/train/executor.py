"""Executor of train."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras

from dermrobust.components import model_files, storage
from dermrobust.components.adversarial_spec import AdversarialSpec
from dermrobust.components.adversarial_spec import shard_uris as adversarial_uris
from dermrobust.components.artifacts import LOGS, Artifact
from dermrobust.components.component import Context
from dermrobust.components.examples import ExamplesSpec, Split, shard_uris
from dermrobust.components.train.augmentation import AUGMENTATIONS
from dermrobust.components.train.checkpoint import TrainingState
from dermrobust.components.train.class_balance import balanced_weights, sampling_rates
from dermrobust.components.train.component import TrainParams
from dermrobust.components.train.data import TrainingData
from dermrobust.components.train.loop import Training, train
from dermrobust.components.train.robust_validation import RobustCheck, robust_validator
from dermrobust.components.train.stopping import Stop, score_name, stopped_by
from dermrobust.components.train.validation import validator
from dermrobust.components.train.work_folder import local_work
from dermrobust.models.classifier import compute_deterministically, save_network
from dermrobust.models.networks.network import NetworkFn
from dermrobust.models.objectives.adversarial import AdversarialObjective
from dermrobust.models.registry import NETWORKS


def run(context: Context) -> None:
    """Train a network on clean and, where given, adversarial examples; write it with its history and figures."""
    params = context.params
    assert isinstance(params, TrainParams)
    examples = context.input("examples")
    spec = ExamplesSpec.read(examples)
    keras.utils.set_random_seed(params.seed)
    compute_deterministically()
    build: NetworkFn = NETWORKS.resolve(params.network)
    network = build(spec.preprocessing.input_shape, len(spec.class_names), params.seed)
    data = _training_data(params, examples, spec, context.inputs["adversarial"])
    weights = balanced_weights(spec.class_counts[Split.TRAIN], params.class_sampling, params.class_weighting)
    output = context.outputs["model"]
    with local_work(context.work_folder) as work, tempfile.TemporaryDirectory() as folder:
        training = Training(
            network=network,
            data=data,
            validate=_validator(network, params, examples, spec),
            class_weights=weights,
            work=work,
            tell=lambda line: context.progress.line(f"train: {line}"),
        )
        with context.progress.task("train", params.epochs * data.steps, "steps") as task:
            state = train(training, params, task)
        result = Path(folder)
        save_network(network, result / model_files.NETWORK)
        reason = stopped_by(state, params)
        _write_figures(result, spec, state, reason, data.count)
        storage.upload(result, output)
        storage.upload(work.path / LOGS, storage.join(output, LOGS))
    _tell(context, params, state, reason)


def _training_data(
    params: TrainParams, examples: Artifact, spec: ExamplesSpec, adversarial: tuple[Artifact, ...]
) -> TrainingData:
    files, count = shard_uris(examples, spec, Split.TRAIN), spec.counts[Split.TRAIN]
    for artifact in adversarial:
        crafted = AdversarialSpec.read(artifact)
        files += adversarial_uris(artifact, crafted)
        count += crafted.count
    # Adversarial examples show the same images, so their classes have the same shares.
    counts = spec.class_counts[Split.TRAIN]
    return TrainingData(
        files=files,
        count=count,
        height=spec.preprocessing.height,
        width=spec.preprocessing.width,
        batch_size=min(params.batch_size, count),
        shuffle_buffer=params.shuffle_buffer,
        seed=params.seed,
        augmentation=AUGMENTATIONS[params.augmentation],
        sampling_rates=None if params.class_sampling == "none" else sampling_rates(counts, params.class_sampling),
    )


def _validator(
    network: keras.Model, params: TrainParams, examples: Artifact, spec: ExamplesSpec
) -> Callable[[], dict[str, float]]:
    """Return a function that evaluates the network, under attack too where the objective is adversarial."""
    files, classes = shard_uris(examples, spec, Split.VALIDATION), len(spec.class_names)
    clean = validator(network, files, classes)
    if not isinstance(params.objective, AdversarialObjective):
        return clean
    available = spec.counts[Split.VALIDATION]
    check = RobustCheck(
        threat=params.objective.epsilon,
        steps=params.validation_steps,
        image_count=min(params.validation_images or available, available),
    )
    robust = robust_validator(network, files, classes, check)
    return lambda: {**clean(), **robust()}


def _tell(context: Context, params: TrainParams, state: TrainingState, reason: Stop | None) -> None:
    figure = score_name(params).replace("_", " ")
    if reason is Stop.OVERFITTING:
        best, last = (
            state.history[epoch - 1]["validation_robust_accuracy"] for epoch in (state.best_epoch, state.epoch)
        )
        context.progress.line(
            f"train: stopped in epoch {state.epoch}: robust accuracy fell from {best:.3f} to {last:.3f} "
            f"(catastrophic overfitting); epoch {state.best_epoch} is kept"
        )
    context.progress.line(f"train: {figure} {state.best_score:.3f} in epoch {state.best_epoch} of {state.epoch}")


def _write_figures(
    folder: Path, spec: ExamplesSpec, state: TrainingState, reason: Stop | None, image_count: int
) -> None:
    model_spec = model_files.ModelSpec(class_names=spec.class_names, preprocessing=spec.preprocessing)
    best = state.history[state.best_epoch - 1]
    figures = {**best, "epochs": state.epoch, "training_images": image_count, "stopped_by": reason}
    (folder / model_files.SPEC).write_text(model_spec.model_dump_json(indent=1))
    (folder / model_files.HISTORY).write_text(json.dumps(state.history, indent=1))
    (folder / model_files.METRICS).write_text(json.dumps(figures, indent=1))
