"""Executor of train."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dermrobust.attacks.errors import UserError
from dermrobust.components import model_files, storage
from dermrobust.components.adversarial_spec import AdversarialSpec
from dermrobust.components.adversarial_spec import shard_uris as adversarial_uris
from dermrobust.components.artifacts import LOGS, Artifact
from dermrobust.components.component import Context
from dermrobust.components.examples import ExamplesSpec, Split, shard_uris
from dermrobust.components.train.augmentation import AUGMENTATIONS
from dermrobust.components.train.checkpoint import TrainingState, assign
from dermrobust.components.train.class_balance import balanced_weights, sampling_rates
from dermrobust.components.train.component import TrainParams
from dermrobust.components.train.data import TrainingData
from dermrobust.components.train.logit_adjustment import logit_offsets
from dermrobust.components.train.loop import Training, train
from dermrobust.components.train.precision import in_precision, round_kernels
from dermrobust.components.train.robust_validation import RobustCheck, robust_validator
from dermrobust.components.train.stopping import Stop, score_name, stopped_by
from dermrobust.components.train.validation import validator
from dermrobust.components.train.work_folder import WorkFolder, local_work
from dermrobust.models.classifier import save_network
from dermrobust.models.devices import compute_nondeterministically, prepare_devices
from dermrobust.models.objectives.adversarial import AdversarialObjective


def run(context: Context) -> None:
    """Train a network on clean and, where given, adversarial examples; write it with its history and figures."""
    params = context.params
    assert isinstance(params, TrainParams)
    examples = context.input("examples")
    spec = ExamplesSpec.read(examples)
    data = _training_data(params, examples, spec, context.inputs["adversarial"])
    output = context.outputs["model"]
    with local_work(context.work_folder) as work, tempfile.TemporaryDirectory() as folder:
        train_once = functools.partial(_train, context, params, examples, spec, data, work)
        try:
            network, state, deterministic = _deterministic_if_possible(train_once, context.progress.line)
        except tf.errors.ResourceExhaustedError as error:
            raise UserError(
                f"train: the device has too little memory for batches of {params.batch_size} images; choose a smaller "
                "train.batch_size (finished epochs are kept)"
            ) from error
        result = Path(folder)
        save_network(network, result / model_files.NETWORK)
        reason = stopped_by(state, params)
        _write_figures(result, spec, state, reason, data.count, deterministic)
        storage.upload(result, output)
        storage.upload(work.path / LOGS, storage.join(output, LOGS))
    _tell(context, params, state, reason)


def _deterministic_if_possible(
    train_once: Callable[[], tuple[keras.Model, TrainingState]], tell: Callable[[str], None]
) -> tuple[keras.Model, TrainingState, bool]:
    """Return a trained network, the state of its training, and whether the same seed gives the same bytes."""
    prepare_devices()
    try:
        return *train_once(), True
    except tf.errors.UnimplementedError as error:
        # Raised by the first step, so nothing is lost. Other operations that are not implemented raise it again.
        if "determin" not in str(error).lower():
            raise
        _, _, reason = error.message.rpartition("\n")
    compute_nondeterministically()
    tell(
        "train: an operation of this network has no deterministic gradient here; training goes on without it, so the "
        f"same seed may give another model ({reason[:200]})"
    )
    return *train_once(), False


def _train(
    context: Context,
    params: TrainParams,
    examples: Artifact,
    spec: ExamplesSpec,
    data: TrainingData,
    work: WorkFolder,
) -> tuple[keras.Model, TrainingState]:
    keras.utils.set_random_seed(params.seed)
    network = params.network.build(spec.preprocessing.input_shape, len(spec.class_names), params.seed)
    baseline = _baseline(context)
    if baseline is not None and params.initial_weights == "baseline":
        assign(network.variables, [variable.value for variable in baseline.variables])
    counts = spec.class_counts[Split.TRAIN]
    trainable = in_precision(network, params.precision)
    validate = _validator(network, params, examples, spec)

    def copy_weights() -> None:
        if trainable is not network:
            assign(network.variables, [variable.value for variable in trainable.variables])

    def validate_in_float32() -> dict[str, float]:
        copy_weights()
        return validate()

    training = Training(
        network=trainable,
        data=data,
        validate=validate_in_float32,
        class_weights=balanced_weights(counts, params.class_sampling, params.class_weighting),
        work=work,
        tell=lambda line: context.progress.line(f"train: {line}"),
        logit_offsets=logit_offsets(counts, params.class_sampling, params.logit_adjustment),
        class_budgets=_class_budgets(params, spec),
        teacher=in_precision(baseline, params.precision) if baseline is not None and params.distillation else None,
    )
    with context.progress.task("train", params.epochs * data.steps, "steps") as task:
        state = train(training, params, task)
    copy_weights()
    round_kernels(network, params.saved_precision)
    return network, state


def _baseline(context: Context) -> keras.Model | None:
    """Return the trained baseline, of which nothing is trained further; None if the training does not read it."""
    artifacts = context.inputs["baseline"]
    if not artifacts:
        return None
    (artifact,) = artifacts
    return model_files.load_network(artifact.uri, artifact.digest)


def _class_budgets(params: TrainParams, spec: ExamplesSpec) -> np.ndarray[Any, np.dtype[np.float32]] | None:
    """Return the factor of the budget of each class, float32 [class_count]; None: no class has one of its own.

    Raises:
        UserError: a class does not exist.
    """
    if unknown := sorted(params.class_budgets.keys() - set(spec.class_names)):
        raise UserError(f"class_budgets: '{unknown[0]}' is no class; these are: {', '.join(spec.class_names)}")
    if not params.class_budgets:
        return None
    return np.array([params.class_budgets.get(name, 1.0) for name in spec.class_names], np.float32)


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
    folder: Path,
    spec: ExamplesSpec,
    state: TrainingState,
    reason: Stop | None,
    image_count: int,
    deterministic: bool,
) -> None:
    model_spec = model_files.ModelSpec(class_names=spec.class_names, preprocessing=spec.preprocessing)
    best = state.history[state.best_epoch - 1]
    figures = {**best, "epochs": state.epoch, "training_images": image_count, "stopped_by": reason}
    figures["deterministic"] = deterministic
    (folder / model_files.SPEC).write_text(model_spec.model_dump_json(indent=1))
    (folder / model_files.HISTORY).write_text(json.dumps(state.history, indent=1))
    (folder / model_files.METRICS).write_text(json.dumps(figures, indent=1))
