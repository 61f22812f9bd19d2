"""Foreign Keras networks become one graph from images in [0, 1] to exactly the logits that they had."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from dermrobust.attacks.engine import to_images
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.logits import logits_of
from dermrobust.models.classifier import attack_target, load_network, save_network
from dermrobust.models.folding import is_graph_of_layers
from dermrobust.models.foreign.declared import declared_input
from dermrobust.models.foreign.networks import adopted_network, opened, read_network
from dermrobust.models.foreign.outputs import kind_of
from dermrobust.models.foreign.spec import IMAGENET, InputFormat, OutputKind
from tests.foreign_models import BYTES, SIGNED, SIZE, UNIT, in_dense, learned, taking, with_softmax
from tests.small_networks import CLASS_COUNT, colored_images

IMAGES = to_images(colored_images(12, SIZE, seed=5)[0])


def classifier(*before: Any, head: Any) -> keras.Model:
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), *before, layers.AveragePooling2D(4), layers.Flatten(), head])


def saved(network: keras.Model, path: Path) -> Path:
    network.save(path)
    return path


def adopted(network: keras.Model, image_format: InputFormat) -> keras.Model:
    found = opened(network, SIZE)
    kind = found.kind or kind_of(np.asarray(network(image_format.scaled(tf.constant(IMAGES)), training=False)))
    return adopted_network(found.network, image_format, kind)


@pytest.mark.parametrize("head", [with_softmax, in_dense, lambda x: ops.softmax(learned()(x)), lambda x: learned()(x)])
@pytest.mark.parametrize("image_format", [UNIT, BYTES, SIGNED, IMAGENET], ids=str)
def test_the_logits_are_those_before_the_softmax(
    image_format: InputFormat, head: Callable[[Any], Any], tmp_path: Path
) -> None:
    save_network(adopted(taking(image_format, head), image_format), tmp_path / "model.keras")

    network = load_network(tmp_path / "model.keras")

    expected = learned()(IMAGES, training=False)
    np.testing.assert_allclose(network(IMAGES, training=False), expected, atol=2e-3)
    assert network.layers[-1].get_config().get("activation") in (None, "linear")


def test_what_attacks_see_of_it_is_the_same_network() -> None:
    network = adopted(taking(BYTES), BYTES)

    logits = logits_of(attack_target(network), IMAGES, 4)

    np.testing.assert_allclose(logits, learned()(IMAGES, training=False), atol=2e-3)


def test_networks_inside_are_unpacked_so_that_they_can_be_folded() -> None:
    inside = keras.Sequential([layers.RandomFlip(), learned(), layers.Dropout(0.5, name="more"), layers.Softmax()])
    inside.build((None, SIZE, SIZE, 3))

    network = adopted(inside, UNIT)

    assert is_graph_of_layers(network)
    np.testing.assert_allclose(network(IMAGES, training=False), learned()(IMAGES, training=False), atol=1e-5)


def test_networks_inside_whose_layers_share_a_name_stay_where_they_are() -> None:
    images = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(3, 1, name="conv")(images)
    logits = keras.Model(images, learned()(x))
    network = keras.Model(images, layers.Softmax()(logits.output))

    np.testing.assert_allclose(
        adopted(network, UNIT)(IMAGES, training=False), logits(IMAGES, training=False), atol=1e-4
    )


@pytest.mark.parametrize("head", [layers.Dense(1, activation="sigmoid"), layers.Dense(1)])
def test_one_output_tells_two_classes(head: layers.Layer) -> None:
    network = classifier(head=head)
    raw = np.asarray(network(IMAGES, training=False))

    probabilities = np.asarray(tf.nn.softmax(adopted(network, UNIT)(IMAGES, training=False)))

    expected = raw if head.activation is keras.activations.sigmoid else 1 / (1 + np.exp(-raw))
    np.testing.assert_allclose(probabilities[:, 1:], expected, atol=1e-5)


def test_probabilities_without_a_softmax_that_could_be_taken_off_become_logarithms() -> None:
    network = classifier(head=layers.Dense(CLASS_COUNT))
    powers = ops.square(network.outputs[0])
    shares = keras.Model(network.inputs, powers / ops.sum(powers, axis=-1, keepdims=True))
    raw = np.asarray(shares(IMAGES, training=False))

    assert opened(shares, SIZE).kind is None
    assert kind_of(raw) is OutputKind.PROBABILITIES
    np.testing.assert_allclose(tf.nn.softmax(adopted(shares, UNIT)(IMAGES)), raw, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Rescaling(1 / 255), BYTES),
        (layers.Rescaling(1 / 127.5, offset=-1), BYTES),
        (layers.Rescaling(2.0, offset=-1), UNIT),
        (layers.Rescaling(127.5, offset=127.5), SIGNED),
        (layers.Rescaling([1 / 127.5] * 3, offset=[-1.0] * 3), BYTES),
        (layers.Rescaling(255.0, offset=[-123.0, -117.0, -104.0]), None),
        (layers.Rescaling([1.0, 2.0, 1.0]), None),
        (layers.Normalization(mean=[180.0, 140.0, 130.0], variance=[900.0] * 3), BYTES),
        (layers.Normalization(mean=[0.2, 0.2, 0.2], variance=[0.1] * 3), None),
        (layers.Conv2D(3, 1), None),
    ],
)
def test_the_first_layer_may_tell_what_the_network_takes(layer: layers.Layer, expected: InputFormat | None) -> None:
    inside = keras.Sequential([keras.Input((SIZE, SIZE, 3)), layer])
    network = classifier(layers.RandomFlip(), inside, head=layers.Dense(3))

    hint = opened(network, SIZE).hint

    assert (hint and hint[0]) == expected
    assert hint is None or layer.name in hint[1]


def test_the_same_network_is_saved_as_the_same_bytes(tmp_path: Path) -> None:
    source = saved(classifier(head=layers.Dense(1, activation="sigmoid")), tmp_path / "source.keras")

    for name in ("one.keras", "two.keras"):
        save_network(adopted(read_network(source), BYTES), tmp_path / name)

    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()


def test_a_file_says_what_it_takes_without_being_loaded(tmp_path: Path) -> None:
    assert declared_input(saved(learned(), tmp_path / "functional.keras")) == (None, SIZE, SIZE, 3)
    sequential = classifier(head=layers.Dense(2))
    assert declared_input(saved(sequential, tmp_path / "sequential.keras")) == (None, SIZE, SIZE, 3)
    (tmp_path / "junk.keras").write_bytes(b"junk")
    assert declared_input(tmp_path / "junk.keras") is None


@pytest.mark.parametrize("declared", [(12, 20, 3), (None, 20, 3), (None, None, 3)])
def test_rectangular_images_are_taken(declared: tuple[int | None, ...]) -> None:
    head = [layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax")]
    network = keras.Sequential([keras.Input(declared), layers.Conv2D(4, 3), *head])
    images = np.random.default_rng(0).random((5, 12, 20, 3), dtype=np.float32)

    found = opened(network, (12, 20))

    logits = attack_target(adopted_network(found.network, UNIT, OutputKind.LOGITS))
    expected = network(images, training=False)
    np.testing.assert_allclose(tf.nn.softmax(logits_of(logits, images, 4)), expected, atol=1e-5)


def two_inputs() -> keras.Model:
    images, age = keras.Input((SIZE, SIZE, 3)), keras.Input((1,))
    return keras.Model([images, age], layers.Dense(3)(layers.Concatenate()([layers.Flatten()(images), age])))


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (two_inputs, "2 inputs and 1 outputs"),
        (lambda: keras.Sequential([keras.Input((SIZE, SIZE, 1)), layers.Flatten(), layers.Dense(3)]), "color images"),
        (lambda: keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(3)]), "8 x 8 pixels, which"),
        (
            lambda: keras.Sequential([keras.Input((SIZE, 8, 3)), layers.Flatten(), layers.Dense(3)]),
            "16 x 8 pixels, which",
        ),
        (lambda: keras.Sequential([keras.Input((SIZE, SIZE, 3)), layers.Conv2D(3, 1)]), "returns .None, 16, 16, 3."),
        (
            lambda: keras.Sequential(
                [keras.Input((SIZE, SIZE, 3), dtype="uint8"), layers.Rescaling(1 / 255), layers.Flatten()]
            ),
            "takes uint8, through which no gradient passes",
        ),
    ],
)
def test_networks_that_do_not_classify_color_images_are_refused(network: Callable[[], keras.Model], told: str) -> None:
    with pytest.raises(UserError, match=told):
        opened(network(), SIZE)


def test_a_file_that_would_unpack_to_far_more_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        with archive.open("model.weights.h5", "w") as member:
            for _ in range(100):
                member.write(bytes(2**20))
    assert path.stat().st_size < 2**20

    for read in (read_network, declared_input):
        with pytest.raises(UserError, match="would unpack to 100 MiB"):
            read(path)
