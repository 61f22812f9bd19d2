"""Networks of `.keras` files, trained further."""

from pathlib import Path

import keras
import numpy as np
import pytest

from dermrobust.attacks.errors import UserError
from dermrobust.models.networks.keras_file import KerasFile
from dermrobust.models.networks.network import HEAD
from tests.small_networks import tiny_network


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "own.keras"
    images = keras.Input((None, None, 3), name="pictures")
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(images)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    keras.Model(images, keras.layers.Dense(5, activation="softmax", name="classes")(x)).save(path)
    return path


def test_it_keeps_all_weights_but_those_of_the_new_head(file: Path) -> None:
    source, network = keras.models.load_model(file), KerasFile(path=str(file)).build((16, 24, 3), 7, 0)
    images = np.random.default_rng(0).random((2, 16, 24, 3), np.float32)

    assert network.input_shape == (None, 16, 24, 3)
    assert network.output_shape == (None, 7)
    assert network.layers[-1].name == HEAD
    np.testing.assert_array_equal(network.get_layer("conv").kernel, source.get_layer("conv").kernel)
    features = keras.Model(network.inputs, network.get_layer(HEAD).input)(images)
    np.testing.assert_allclose(features, keras.Model(source.inputs, source.layers[-1].input)(images), rtol=1e-5)


def test_a_kept_head_computes_what_the_file_does_before_its_softmax(file: Path) -> None:
    source, network = keras.models.load_model(file), KerasFile(path=str(file), head="kept").build((16, 24, 3), 5, 0)
    images = np.random.default_rng(0).random((2, 16, 24, 3), np.float32)

    assert network.layers[-1].name == HEAD
    np.testing.assert_allclose(keras.ops.softmax(network(images)), source(images), rtol=1e-4)


def test_a_head_of_other_classes_cannot_be_kept(file: Path) -> None:
    with pytest.raises(UserError, match=r"has 5 outputs, the data have 7 classes; set head to 'new'"):
        KerasFile(path=str(file), head="kept").build((16, 24, 3), 7, 0)


def test_images_are_brought_to_the_format_of_the_network(file: Path) -> None:
    network = KerasFile(path=str(file), input_format={"range": "0..255"}).build((8, 8, 3), 7, 0)
    source = keras.models.load_model(file)
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)

    features = keras.Model(network.inputs, network.get_layer(HEAD).input)(images)

    expected = keras.Model(source.inputs, source.layers[-1].input)(images * 255)
    np.testing.assert_allclose(features, expected, rtol=1e-5)


def test_its_digest_is_that_of_the_file(file: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.keras"
    moved.write_bytes(file.read_bytes())
    other = tmp_path / "other.keras"
    tiny_network((8, 8, 3), 5, 1).save(other)

    digests = [KerasFile(path=str(path)).weights_digest() for path in (file, moved, other)]

    assert digests[0] == digests[1] != digests[2]


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UserError, match=r"'gone\.keras' cannot be read"):
        KerasFile(path="gone.keras").weights_digest()


def test_a_network_without_a_dense_layer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pooled.keras"
    images = keras.Input((8, 8, 3))
    keras.Model(images, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(7, 3)(images))).save(path)

    with pytest.raises(UserError, match="is no dense layer"):
        KerasFile(path=str(path)).build((8, 8, 3), 7, 0)
