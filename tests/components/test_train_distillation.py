"""Training from the trained baseline: its weights, and its predictions as a teacher's."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from dermrobust.components.artifacts import Artifact
from dermrobust.components.model_files import METRICS, load_network
from dermrobust.components.train.component import TrainParams
from dermrobust.components.train.distillation import Teacher
from dermrobust.components.train.step import compiled_step
from dermrobust.models.objectives.cross_entropy import CrossEntropy
from dermrobust.models.objectives.losses import cross_entropy, weighted_mean
from dermrobust.models.objectives.pgd import PGDTraining
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.graph import build_graph
from tests.components.conftest import Make
from tests.components.trainings import changed, network_bytes
from tests.models.robust_training import images_and_labels, seed_of, untrained
from tests.small_networks import CLASS_COUNT

SHARES = st.floats(0.01, 1)
EQUAL = np.ones(CLASS_COUNT, np.float32)


def logits(seed: int, count: int = 16) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 2, (count, CLASS_COUNT)).astype(np.float32)


@given(share=SHARES, seed=st.integers(0, 99))
def test_a_softened_loss_is_the_weighted_mean_of_two_losses(share: float, seed: int) -> None:
    of_teacher, of_student = tf.constant(logits(seed)), tf.constant(logits(seed + 100))
    labels = tf.constant(np.random.default_rng(seed).integers(0, CLASS_COUNT, 16))
    images = keras.Input((CLASS_COUNT,))
    targets = Teacher(keras.Model(images, keras.layers.Identity()(images)), share).soften(of_teacher, labels)

    expected = (1 - share) * cross_entropy(labels, of_student) + share * cross_entropy(
        tf.nn.softmax(of_teacher), of_student
    )

    np.testing.assert_allclose(tf.reduce_sum(targets, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(cross_entropy(targets, of_student), expected, rtol=1e-4)


def test_certain_probabilities_are_labels() -> None:
    labels, losses = tf.constant(np.arange(16) % CLASS_COUNT), np.abs(logits(3)[:, 0])
    certain = tf.one_hot(labels, CLASS_COUNT)
    weights = tf.constant(np.linspace(0.5, 2, CLASS_COUNT, dtype=np.float32))

    np.testing.assert_allclose(cross_entropy(certain, logits(3)), cross_entropy(labels, logits(3)), rtol=1e-5)
    assert float(weighted_mean(losses, certain, weights)) == pytest.approx(
        float(weighted_mean(losses, labels, weights)), rel=1e-6
    )


@pytest.mark.parametrize("objective", [CrossEntropy(), PGDTraining(steps=1)], ids=lambda each: each.objective)
def test_a_student_learns_what_its_teacher_predicts(objective: Any) -> None:
    """The teacher answers one class always, whatever the labels are."""
    images = keras.Input((8, 8, 3))
    constant = keras.layers.Dense(CLASS_COUNT, kernel_initializer="zeros")
    teacher = keras.Model(images, constant(keras.layers.Flatten()(images)))
    constant.bias.assign(10.0 * np.eye(CLASS_COUNT)[1])
    student = untrained()
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(student.trainable_variables)
    step = compiled_step(student, objective, optimizer, EQUAL, teacher=Teacher(teacher, 1.0), xla=False)
    pixels, labels = images_and_labels(64)

    before = [variable.numpy() for variable in teacher.variables]
    for index in range(60):
        step(tf.constant(pixels), tf.constant(labels), tf.constant(0.0), seed_of(index))

    assert (np.argmax(student(pixels, training=False), axis=1) == 1).all()
    for variable, value in zip(teacher.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_training_goes_on_from_the_weights_of_the_baseline(
    model: Artifact, train_params: TrainParams, train_model: Make
) -> None:
    params = changed(train_params, initial_weights="baseline", epochs=1, learning_rate=1e-12, weight_decay=0.0)

    trained = train_model(params, "continued", baseline=(model,))

    old, new = (load_network(each.uri, each.digest) for each in (model, trained))
    for layer in zip(old.trainable_variables, new.trainable_variables, strict=True):
        np.testing.assert_allclose(*layer, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_distilled_model_is_another_and_reproducible(
    precision: str, model: Artifact, train_params: TrainParams, train_model: Make
) -> None:
    plain = changed(train_params, epochs=1, precision=precision)
    distilled = changed(plain, distillation=0.7)

    models = [
        train_model(distilled, f"distilled-{precision}-1", baseline=(model,)),
        train_model(distilled, f"distilled-{precision}-2", baseline=(model,)),
        train_model(plain, f"plain-{precision}"),
    ]

    first, second, other = (network_bytes(each) for each in models)
    assert first == second != other
    # The teacher is in the process still, and trains no further.
    assert network_bytes(model) == network_bytes(model)
    assert 0 <= models[0].read_json(METRICS)["validation_balanced_accuracy"] <= 1


CONFIG: dict[str, Any] = {
    "train": {"network": "resnet", "class_weighting": "none", "logit_adjustment": 1.0},
    "defences": {"robust": {"objective": "n_fgsm", "initial_weights": "baseline", "distillation": 0.5}},
}


def test_defences_read_the_baseline_where_they_need_it() -> None:
    config = {**CONFIG, "defences": {**CONFIG["defences"], "fast": {"objective": "fast"}}}
    nodes = {node.id: node for node in build_graph(PipelineConfig.model_validate(config))}

    assert [output.node for output in nodes["train[robust]"].inputs["baseline"]] == ["train[vanilla]"]
    assert nodes["train[fast]"].inputs["baseline"] == nodes["train[vanilla]"].inputs["baseline"] == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"distillation": 0.5}}, "train: initial_weights and distillation refer to this model itself"),
        ({"train": {"initial_weights": "baseline"}}, "refer to this model itself"),
        (
            {"defences": {"a": {"network": "small_resnet", "initial_weights": "baseline"}}},
            r"defences\.a: initial_weights",
        ),
        (
            {"defences": {"a": {"distillation": 0.5, "logit_adjustment": 0.5}}},
            r"defences\.a: with distillation, logit_",
        ),
        ({"defences": {"a": {"distillation": 0.5, "class_sampling": "sqrt"}}}, "class_sampling must be that of train"),
        ({"augment": {"train": {"distillation": 0.5, "class_sampling": "sqrt"}}}, r"augment\.train: with distillation"),
        ({"defences": {"a": {"distillation": 0.5, "objective": "mart"}}}, "this objective is defined for labels only"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PipelineConfig.model_validate({**CONFIG, **changes})
