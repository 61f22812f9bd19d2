"""Training of pretrained and unbalanced: logit adjustment, learning rates by layer, precision, determinism."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.python.framework.config import is_op_determinism_enabled

from dermrobust.attacks.errors import UserError
from dermrobust.components.artifacts import Artifact
from dermrobust.components.examples import ExamplesSpec, Split, shard_uris
from dermrobust.components.model_files import METRICS, load_network
from dermrobust.components.train.component import TRAIN, TrainParams
from dermrobust.components.train.logit_adjustment import adjusted, logit_offsets
from dermrobust.components.train.optimizers import SplitOptimizer, built_optimizer, schedule
from dermrobust.components.train.precision import in_precision, round_kernels
from dermrobust.components.train.validation import validator
from dermrobust.models.networks.network import HEAD
from tests.components.conftest import Make
from tests.components.trainings import Steps, changed, network_bytes
from tests.small_networks import CLASS_COUNT, tiny_network

SHAPE = (16, 16, 3)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A pretrained network as a config selects it."""
    path = tmp_path_factory.mktemp("own") / "own.keras"
    tiny_network(SHAPE, 5, 1).save(path)
    return {"network": "keras_file", "path": str(path)}


@given(st.lists(st.integers(1, 10_000), min_size=2, max_size=8), st.sampled_from(["none", "sqrt", "inverse"]))
def test_offsets_are_log_frequencies_of_the_drawn_images(counts: list[int], sampling: str) -> None:
    offsets = logit_offsets(counts, sampling, 1.0)

    assert offsets is not None
    assert np.exp(offsets.astype(np.float64)).sum() == pytest.approx(1, rel=1e-5)
    doubled = logit_offsets(counts, sampling, 2.0)
    assert doubled is not None
    np.testing.assert_allclose(doubled, np.float32(2) * offsets, rtol=1e-5)
    if sampling == "inverse":
        np.testing.assert_allclose(offsets, -np.log(len(counts)), rtol=1e-4)
    if sampling == "none":
        np.testing.assert_allclose(np.exp(offsets), np.asarray(counts) / np.sum(counts), rtol=1e-4)


def test_without_a_factor_there_are_no_offsets() -> None:
    network = tiny_network(SHAPE, CLASS_COUNT, 0)

    assert logit_offsets([1, 2], "none", 0.0) is None
    assert adjusted(network, None) is network


def test_an_adjusted_network_shifts_the_logits_and_shares_the_variables() -> None:
    network, offsets = tiny_network(SHAPE, 3, 0), np.array([-1, 0, 2], np.float32)
    images = np.random.default_rng(0).random((4, *SHAPE), np.float32)

    shifted = adjusted(network, offsets)

    np.testing.assert_allclose(shifted(images), network(images) + offsets, rtol=1e-6)
    assert [id(one) for one in shifted.variables] == [id(one) for one in network.variables]


def test_logit_adjustment_moves_predictions_to_rare_classes(
    train_params: TrainParams, train_model: Make, examples: Artifact
) -> None:
    plain, balanced = (
        load_network(model.uri, model.digest)
        for model in (
            train_model(changed(train_params, class_weighting="none"), "unbalanced"),
            train_model(changed(train_params, class_weighting="none", logit_adjustment=2.0), "balanced"),
        )
    )
    counts = np.asarray(examples.read_json("examples.json")["class_counts"]["train"])
    noise = np.random.default_rng(0).random((256, *plain.input_shape[1:]), np.float32)
    rare = counts <= np.median(counts)

    shares = [
        np.asarray(tf.nn.softmax(each(noise, training=False)))[:, rare].sum(axis=1).mean() for each in (plain, balanced)
    ]

    assert shares[1] > shares[0] + 0.1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"logit_adjustment": 1.0}, "logit_adjustment: set class_weighting to 'none'"),
        ({"head_epochs": 1}, "head_epochs and backbone_learning_rate are for pretrained networks"),
        ({"backbone_learning_rate": 0.1}, "head_epochs and backbone_learning_rate are for pretrained networks"),
        ({"network": "thin_resnet50", "head_epochs": 20}, "head_epochs: 20 must be fewer than the 20 epochs"),
    ],
)
def test_contradictions_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainParams.model_validate(values)


def test_the_backbone_learns_at_its_own_rate(own: dict[str, Any]) -> None:
    params = TrainParams.model_validate(
        {"network": own, "epochs": 4, "warmup_epochs": 1, "backbone_learning_rate": 0.1, "head_epochs": 1}
    )
    network = params.network.build(SHAPE, CLASS_COUNT, 0)

    optimizer = built_optimizer(network, params, 10)

    assert isinstance(optimizer, SplitOptimizer)
    (head, of_head), (backbone, of_backbone) = optimizer.parts
    assert [variable.path for variable in of_head] == [f"{HEAD}/kernel", f"{HEAD}/bias"]
    assert len(of_head) + len(of_backbone) == len(network.trainable_variables)
    rates = {step: float(backbone._learning_rate(step)) for step in (0, 9, 10, 20, 39)}
    assert rates[0] == rates[9] == rates[10] == 0
    # The rise of one epoch begins after the epochs of the head, and the decay ends with training.
    assert rates[20] == pytest.approx(0.1 * params.learning_rate)
    assert 0 < rates[39] < 0.05 * rates[20]
    assert float(head._learning_rate(10)) == pytest.approx(params.learning_rate)


def test_only_the_head_moves_in_its_epochs(own: dict[str, Any]) -> None:
    params = TrainParams.model_validate({"network": own, "epochs": 2, "warmup_epochs": 0, "head_epochs": 1})
    network = params.network.build(SHAPE, CLASS_COUNT, 0)
    optimizer = built_optimizer(network, params, 2)
    before = [variable.numpy() for variable in network.trainable_variables]

    moved = []
    for _ in range(3):
        gradients = [tf.ones(variable.shape) for variable in network.trainable_variables]
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        after = [variable.numpy() for variable in network.trainable_variables]
        moved.append([bool((old != new).any()) for old, new in zip(before, after, strict=True)])

    is_head = [variable.path.startswith(HEAD) for variable in network.trainable_variables]
    assert moved[0] == moved[1] == is_head
    assert all(moved[2])


def test_other_initial_weights_are_another_training(own: dict[str, Any], tmp_path: Path) -> None:
    moved, other = tmp_path / "moved.keras", tmp_path / "other.keras"
    moved.write_bytes(Path(own["path"]).read_bytes())
    tiny_network(SHAPE, 5, 2).save(other)
    networks = (own, {**own, "path": str(moved)}, {**own, "path": str(other)})

    digests = [TRAIN.external_digest(TrainParams.model_validate({"network": network})) for network in networks]

    assert digests[0] == digests[1] != digests[2]
    assert TRAIN.external_digest(TrainParams()) == ""


def test_without_rates_of_their_own_all_layers_have_one_optimizer() -> None:
    params = TrainParams()

    optimizer = built_optimizer(tiny_network(SHAPE, CLASS_COUNT, 0), params, 10)

    assert isinstance(optimizer, keras.optimizers.AdamW)


@pytest.mark.parametrize("rates", [{}, {"backbone_learning_rate": 0.1}])
def test_long_gradients_are_scaled_down_together(rates: dict[str, float], own: dict[str, Any]) -> None:
    """Adam's first moment after one step is a tenth of the gradient that it was given."""
    params = TrainParams.model_validate({"network": own, "gradient_clip": 2.0, "warmup_epochs": 0, **rates})
    network = params.network.build(SHAPE, CLASS_COUNT, 0)
    optimizer = built_optimizer(network, params, 10)
    variables = network.trainable_variables

    moments = []
    for length in (1000.0, 0.1):
        gradients = [tf.ones(variable.shape) for variable in variables]
        scale = length / float(tf.linalg.global_norm(gradients))
        before = _first_moments(optimizer)
        optimizer.apply_gradients(zip([scale * each for each in gradients], variables, strict=True))
        given = [10 * (new - 0.9 * old) for old, new in zip(before, _first_moments(optimizer), strict=True)]
        moments.append(float(tf.linalg.global_norm(given)))

    assert moments == pytest.approx([2.0, 0.1], rel=1e-3)


def _first_moments(optimizer: Any) -> list[Any]:
    parts = [part for part, _ in optimizer.parts] if isinstance(optimizer, SplitOptimizer) else [optimizer]
    return [moment.numpy() for part in parts for moment in part._momentums]


@given(st.integers(1, 12), st.integers(0, 5), st.integers(1, 40), st.data())
def test_the_learning_rate_is_that_of_keras(epochs: int, warmup_epochs: int, steps: int, data: st.DataObject) -> None:
    params = TrainParams(epochs=epochs, warmup_epochs=warmup_epochs, learning_rate=0.01)
    warmup, total = warmup_epochs * steps, epochs * steps
    reference = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else 0.01,
        decay_steps=max(1, total - warmup),
        warmup_target=0.01 if warmup else None,
        warmup_steps=warmup,
    )

    step = data.draw(st.integers(0, total + 2))

    assert float(schedule(params, steps)(step)) == pytest.approx(float(reference(step)), abs=1e-8)


def test_a_warm_up_as_long_as_training_leaves_a_schedule() -> None:
    params = TrainParams(epochs=1, warmup_epochs=5)

    assert np.isfinite(float(schedule(params, 10)(9)))


def test_in_bfloat16_inner_layers_compute_in_it_and_variables_stay_float32() -> None:
    network = tiny_network((32, 32, 3), CLASS_COUNT, 0)
    images = np.random.default_rng(0).random((4, 32, 32, 3), np.float32)

    mixed = in_precision(network, "bfloat16")

    assert {variable.dtype for variable in mixed.trainable_variables} == {"float32"}
    assert mixed.get_layer("bn").compute_dtype == "bfloat16"
    assert mixed.output.dtype == "float32"
    np.testing.assert_allclose(mixed(images), network(images), atol=0.05)
    assert (np.asarray(mixed(images)) != np.asarray(network(images))).any()


def test_a_model_trained_in_bfloat16_is_validated_and_saved_in_float32(
    train_params: TrainParams, train_model: Make, examples: Artifact
) -> None:
    model = train_model(changed(train_params, precision="bfloat16"), "mixed")

    network = load_network(model.uri, model.digest)
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    spec, stored = ExamplesSpec.read(examples), model.read_json(METRICS)
    figures = validator(network, shard_uris(examples, spec, Split.VALIDATION), CLASS_COUNT)()
    # The loss would differ in the third digit if the copy in bfloat16 had been validated.
    assert figures == pytest.approx({name: stored[f"validation_{name}"] for name in figures}, rel=1e-5)
    history = model.read_json("history.json")
    assert history[-1]["loss"] < history[0]["loss"]


def test_kernels_are_saved_in_the_precision_that_is_asked_for(train_params: TrainParams, train_model: Make) -> None:
    exact, rounded = (
        train_model(changed(train_params, epochs=1, saved_precision=precision), precision)
        for precision in ("float32", "bfloat16")
    )

    pairs = zip(*(load_network(model.uri, model.digest).trainable_variables for model in (exact, rounded)), strict=True)
    for before, after in pairs:
        bits = np.asarray(after).view(np.uint32)
        if len(before.shape) > 1:
            assert not (bits & 0xFFFF).any()
            np.testing.assert_allclose(after, before, rtol=2**-8)
        else:
            np.testing.assert_array_equal(after, before)


class Table(keras.layers.Layer):
    """Identity that holds a table of integers, as layers that look values up do."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.table = self.add_weight(shape=(2, 2), dtype="int32", initializer="zeros", trainable=False)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs


def test_tables_of_integers_are_not_rounded() -> None:
    network = keras.Sequential([keras.Input((2,)), table := Table(), dense := keras.layers.Dense(2)])
    values = np.asarray([[257, 511], [2**24 - 1, 2**30 + 1]], np.int32)  # none of which bfloat16 holds
    table.table.assign(values)
    kernel = dense.kernel.numpy()

    round_kernels(network, "bfloat16")

    np.testing.assert_array_equal(table.table.numpy(), values)
    assert (dense.kernel.numpy() != kernel).any()


def test_a_pretrained_network_is_trained_further(
    train_params: TrainParams, train_model: Make, own: dict[str, Any]
) -> None:
    params = changed(train_params, network=own, backbone_learning_rate=0.5, head_epochs=1)

    one, two = train_model(params, "further"), train_model(params, "further_again")

    assert network_bytes(one) == network_bytes(two)
    assert one.read_json(METRICS)["deterministic"] is True
    assert one.read_json("history.json")[-1]["loss"] < one.read_json("history.json")[0]["loss"]


@keras.saving.register_keras_serializable("tests")
class OnlyNondeterministic(keras.layers.Layer):
    """Identity whose gradient raises what TensorFlow raises on a GPU for an operation that has no deterministic kernel.

    On a CPU, TensorFlow 2.21 has deterministic kernels for every operation that was tried.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        @tf.custom_gradient
        def identity(x: tf.Tensor) -> Any:
            return x, gradient

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            if is_op_determinism_enabled():
                raise tf.errors.UnimplementedError(None, None, "A deterministic GPU implementation is not available.")
            return upstream

        return identity(inputs)


@keras.saving.register_keras_serializable("tests")
class WithoutMemory(keras.layers.Layer):
    """Identity for whose output there is no memory in training."""

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return inputs


def test_too_little_memory_asks_for_smaller_batches(
    train_params: TrainParams, train_model: Make, tmp_path: Path
) -> None:
    path, images = tmp_path / "large.keras", keras.Input(SHAPE, name="pictures")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.Conv2D(4, 3, name="conv")(images))
    keras.Model(images, keras.layers.Dense(5, name="classes")(WithoutMemory(name="large")(x))).save(path)
    params = changed(train_params, network={"network": "keras_file", "path": str(path)})

    with pytest.raises(UserError, match=rf"batches of {params.batch_size} images; choose a smaller train.batch_size"):
        train_model(params, "large")


def test_an_operation_without_a_deterministic_gradient_does_not_stop_training(
    train_params: TrainParams, train_model: Make, tmp_path: Path
) -> None:
    path, images = tmp_path / "odd.keras", keras.Input(SHAPE, name="pictures")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.Conv2D(4, 3, name="conv")(images))
    keras.Model(images, keras.layers.Dense(5, name="classes")(OnlyNondeterministic(name="odd")(x))).save(path)
    steps = Steps()
    params = changed(train_params, network={"network": "keras_file", "path": str(path)}, epochs=2)

    model = train_model(params, "nondeterministic", steps)

    assert model.read_json(METRICS)["deterministic"] is False
    assert model.read_json(METRICS)["epochs"] == 2
    assert sum("no deterministic gradient" in line for line in steps.lines) == 1
