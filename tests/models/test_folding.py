"""Folded networks have the logits of the networks that they come from, and the classifier itself decides."""

from collections.abc import Callable

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from keras import layers

from dermrobust.attacks.apgd import APGDCE
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.engine import attack_pixels, record_seeds, to_images
from dermrobust.attacks.logits import compiled_logits
from dermrobust.attacks.target import Precision, Target
from dermrobust.attacks.threat import ThreatModel
from dermrobust.models.classifier import attack_target
from dermrobust.models.folding import FoldedNormalization, foldable_pairs, folded_network, is_graph_of_layers
from tests.small_networks import colored_images, trained_network

SIZE = 8
Body = Callable[[keras.KerasTensor], keras.KerasTensor]
IMAGES = np.random.default_rng(0).random((5, SIZE, SIZE, 3), dtype=np.float32)


def network(body: Body) -> keras.Model:
    """A graph of layers from images to three logits, with random weights and statistics."""
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Flatten()(body(inputs))
    return randomized(keras.Model(inputs, layers.Dense(3, name="logits")(x)))


def randomized(model: keras.Model, seed: int = 0) -> keras.Model:
    """Batch normalisation that was never trained does nothing: give it, and all else, random values."""
    random = np.random.default_rng(seed)
    for variable in model.weights:
        scale = random.uniform(0.5, 2.0, variable.shape) if "variance" in variable.path else None
        variable.assign(random.normal(0, 0.5, variable.shape) if scale is None else scale)
    return model


def logits(target: Target, images: npt.NDArray[np.float32] = IMAGES) -> npt.NDArray[np.float32]:
    return np.asarray(compiled_logits(target.logits)(target.weights, tf.constant(images)))


def expected(model: keras.Model) -> npt.NDArray[np.float32]:
    return np.asarray(model(IMAGES, training=False))


def assert_same_logits(model: keras.Model) -> None:
    np.testing.assert_allclose(logits(attack_target(model)), expected(model), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(logits(attack_target(model, folding=False)), expected(model), rtol=1e-5, atol=1e-5)


def conv(name: str = "conv", **options: object) -> layers.Conv2D:
    return layers.Conv2D(4, 3, padding="same", name=name, **options)


FOLDED: dict[str, Body] = {
    "conv": lambda x: layers.BatchNormalization(name="bn")(conv()(x)),
    "conv without bias": lambda x: layers.BatchNormalization(name="bn")(conv(use_bias=False)(x)),
    "without scale": lambda x: layers.BatchNormalization(name="bn", scale=False)(conv()(x)),
    "without center": lambda x: layers.BatchNormalization(name="bn", center=False)(conv()(x)),
    "without either or bias": lambda x: layers.BatchNormalization(name="bn", scale=False, center=False)(
        conv(use_bias=False)(x)
    ),
    "large epsilon": lambda x: layers.BatchNormalization(name="bn", epsilon=0.5)(conv()(x)),
    "last axis by its number": lambda x: layers.BatchNormalization(name="bn", axis=3)(conv()(x)),
    "strides and groups": lambda x: layers.BatchNormalization(name="bn")(
        layers.Conv2D(6, 3, strides=2, groups=3, name="conv")(x)
    ),
    "followed by a residual": lambda x: _residual(x),
    "depthwise": lambda x: layers.BatchNormalization(name="bn")(layers.DepthwiseConv2D(3, name="conv")(x)),
    "depthwise with several filters": lambda x: layers.BatchNormalization(name="bn")(
        layers.DepthwiseConv2D(3, strides=2, depth_multiplier=3, use_bias=False, name="conv")(x)
    ),
    "dense": lambda x: layers.BatchNormalization(name="bn")(layers.Dense(5, name="conv")(layers.Flatten()(x))),
    "dense on every pixel": lambda x: layers.BatchNormalization(name="bn")(layers.Dense(5, name="conv")(x)),
    "normalised images": lambda x: layers.BatchNormalization(name="bn")(conv()(layers.Rescaling(2.0, -1.0)(x))),
}


def _residual(x: keras.KerasTensor) -> keras.KerasTensor:
    normal = layers.BatchNormalization(name="bn")(conv()(x))
    return layers.Add()([normal, layers.ReLU()(normal)])


@pytest.mark.parametrize("body", FOLDED.values(), ids=FOLDED)
def test_a_normalisation_after_a_linear_layer_is_folded_into_it(body: Body) -> None:
    model = network(body)

    assert foldable_pairs(model) == {"conv": "bn"}
    assert_same_logits(model)


def _twice(x: keras.KerasTensor) -> keras.KerasTensor:
    shared = conv()
    normal = layers.BatchNormalization(name="bn")(shared(x))
    return layers.Concatenate()([normal, shared(layers.ReLU()(x))])


def _seen_elsewhere(x: keras.KerasTensor) -> keras.KerasTensor:
    plain = conv()(x)
    return layers.Concatenate()([layers.BatchNormalization(name="bn")(plain), plain])


def _shared_normalisation(x: keras.KerasTensor) -> keras.KerasTensor:
    shared = layers.BatchNormalization(name="bn")
    return layers.Concatenate()([shared(conv("one")(x)), shared(conv("two")(x))])


NOT_FOLDED: dict[str, Body] = {
    "before the convolution": lambda x: conv()(layers.BatchNormalization()(x)),
    "after an activation": lambda x: layers.BatchNormalization()(layers.ReLU()(conv()(x))),
    "activation in the convolution": lambda x: layers.BatchNormalization()(conv(activation="relu")(x)),
    "convolution used twice": _twice,
    "convolution seen elsewhere": _seen_elsewhere,
    "normalisation used twice": _shared_normalisation,
    "over another axis": lambda x: layers.BatchNormalization(axis=1)(conv()(x)),
    "depthwise with activation": lambda x: layers.BatchNormalization()(layers.DepthwiseConv2D(3, activation="relu")(x)),
    "another normalisation": lambda x: layers.LayerNormalization()(conv()(x)),
}


@pytest.mark.parametrize("body", NOT_FOLDED.values(), ids=NOT_FOLDED)
def test_where_folding_would_change_the_logits_nothing_is_folded(body: Body) -> None:
    model = network(body)

    assert foldable_pairs(model) == {}
    assert_same_logits(model)


def test_a_network_inside_a_network_is_left_as_it_is() -> None:
    inner = keras.Sequential([keras.Input((SIZE, SIZE, 3)), conv(), layers.BatchNormalization()])
    model = network(lambda x: inner(x))

    assert not is_graph_of_layers(model)
    assert foldable_pairs(model) == {}
    assert_same_logits(model)


def test_a_sequential_network_keeps_its_logits() -> None:
    model = keras.Sequential(
        [keras.Input((SIZE, SIZE, 3)), conv(), layers.BatchNormalization(), layers.Flatten(), layers.Dense(3)]
    )

    assert_same_logits(randomized(model))


def test_layers_that_are_frozen_keep_their_logits() -> None:
    model = network(lambda x: layers.BatchNormalization(name="bn")(conv()(layers.Dropout(0.5)(x))))
    for layer in model.layers[:3]:
        layer.trainable = False
    assert_same_logits(model)

    model.trainable = False
    assert_same_logits(model)


def test_several_pairs_are_each_folded() -> None:
    model = network(
        lambda x: layers.BatchNormalization(name="b2")(
            conv("c2")(layers.ReLU()(layers.BatchNormalization(name="b1")(conv("c1", use_bias=False)(x))))
        )
    )

    assert foldable_pairs(model) == {"c1": "b1", "c2": "b2"}
    assert_same_logits(model)
    folded = folded_network(model, foldable_pairs(model))
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in folded.layers)
    assert sum(isinstance(layer, FoldedNormalization) for layer in folded.layers) == 2


def test_the_weights_are_those_of_the_network_that_is_given() -> None:
    """One function for all networks of an architecture, the weights of each."""
    first = network(FOLDED["conv"])
    second = randomized(keras.models.model_from_json(first.to_json()), seed=7)
    targets = attack_target(first), attack_target(second)

    assert targets[0].logits is targets[1].logits
    for model, target in zip((first, second), targets, strict=True):
        np.testing.assert_allclose(logits(target), expected(model), rtol=1e-4, atol=1e-4)


def test_folding_does_not_touch_the_network() -> None:
    model = network(FOLDED["conv"])
    before = [np.array(variable) for variable in model.weights]

    attack_target(model)

    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)
    np.testing.assert_array_equal(expected(model), expected(model))


def test_gradients_are_those_of_the_network() -> None:
    model = network(lambda x: layers.ReLU()(FOLDED["conv"](x)))
    target = attack_target(model)

    def gradient(function: Callable[[tf.Tensor], tf.Tensor]) -> npt.NDArray[np.float32]:
        images = tf.constant(IMAGES)
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(tf.nn.log_softmax(function(images))[:, 0])
        return np.asarray(tape.gradient(total, images))

    np.testing.assert_allclose(
        gradient(lambda images: target.logits(target.weights, images)),
        gradient(lambda images: model(images, training=False)),
        rtol=1e-3,
        atol=1e-4,
    )


# Gradients in bfloat16.


def test_in_bfloat16_the_first_and_the_last_layer_stay_exact() -> None:
    model = network(
        lambda x: layers.ReLU(name="relu")(
            conv("c2")(layers.BatchNormalization(name="b1")(conv("c1", use_bias=False)(x)))
        )
    )

    folded = folded_network(model, foldable_pairs(model), "bfloat16")

    policies = {layer.name: layer.dtype_policy.name for layer in folded.layers}
    assert policies["c1"] == policies["logits"] == "float32"
    assert policies["c2"] == policies["relu"] == "mixed_bfloat16"
    assert all(variable.dtype == "float32" for variable in folded.weights)


def test_in_bfloat16_logits_are_near_and_the_network_itself_is_at_hand() -> None:
    model = network(lambda x: layers.ReLU()(conv("c2")(layers.ReLU()(FOLDED["conv"](x)))))
    target = attack_target(model, precision="bfloat16")
    near, exact = logits(target), expected(model)

    assert near.dtype == np.float32
    assert (near != exact).any()
    spread = exact.max(axis=1) - exact.min(axis=1)
    assert (np.abs(near - exact).max(axis=1) < target.slack * spread + 0.05).all()
    assert target.exact is not None
    np.testing.assert_allclose(logits(target.exact), exact, rtol=1e-4, atol=1e-4)
    assert attack_target(model).exact is None


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    return trained_network(*colored_images(64))


@pytest.mark.parametrize("attack", [PGD(steps=10), APGDCE(steps=10)], ids=lambda attack: attack.attack)
def test_attacks_in_bfloat16_break_as_many_images(attack: PGD | APGDCE, trained: keras.Model) -> None:
    pixels, labels = colored_images(64)
    seeds = record_seeds([str(index) for index in range(64)], attack="any", threat=ThreatModel(8), seed=0)

    def robust(precision: Precision) -> npt.NDArray[np.bool_]:
        target = attack_target(trained, precision=precision)
        stored = attack_pixels(
            attack, target, pixels, labels, seeds, threat=ThreatModel(8), batch_size=32, stop_at_success=True
        )
        return np.asarray(trained(to_images(stored), training=False)).argmax(axis=1) == labels

    assert abs(robust("bfloat16").mean() - robust("float32").mean()) <= 2 / 64
