"""Every network that a config can name: from images in [0, 1] to logits, the same for the same seed."""

from typing import Any

import keras
import numpy as np
import pytest
from pydantic import TypeAdapter

from dermrobust.models.image_size import InputShape
from dermrobust.models.networks.network import HEAD, Network
from dermrobust.models.networks.selection import AnyNetwork
from dermrobust.models.registry import NETWORKS

CLASS_COUNT = 7
SHAPES = ((16, 16, 3), (20, 20, 3), (12, 20, 3))  # the later ones leave odd sizes on the way down
# Others need files; see test_pretrained.py and test_own_networks.py.
RANDOM: dict[str, dict[str, Any]] = {
    "cnn": {},
    "small_resnet": {},
    "resnet": {},
    "thin_resnet50": {"weights": None},
    "efficientnet_lite": {"weights": None, "batch_normalization": "trained"},
    "keras_application": {"weights": None, "application": "MobileNetV2"},
}
READER: TypeAdapter[Network] = TypeAdapter(AnyNetwork)
every_network = pytest.mark.parametrize("name", RANDOM)


def build(name: str, shape: InputShape = SHAPES[0], seed: int = 0) -> keras.Model:
    network = READER.validate_python({"network": name, **RANDOM[name]}).build(shape, CLASS_COUNT, seed)
    assert network.layers[-1].name == HEAD
    return network


def weights_differ(one: keras.Model, two: keras.Model) -> bool:
    return any((a != b).any() for a, b in zip(one.get_weights(), two.get_weights(), strict=True))


@every_network
@pytest.mark.parametrize("shape", SHAPES)
def test_a_network_turns_images_into_logits(name: str, shape: InputShape) -> None:
    network = build(name, shape)
    images = np.random.default_rng(0).random((32, *shape), dtype=np.float32)

    logits = np.asarray(network(images, training=False))

    assert network.input_shape == (None, *shape)
    assert logits.shape == (32, CLASS_COUNT)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert logits.min() < 0  # probabilities would be positive
    assert not np.allclose(logits.sum(axis=1), 1, atol=1e-3)  # and add up to 1


@every_network
def test_weights_come_from_the_seed_alone(name: str) -> None:
    first = build(name)
    keras.utils.set_random_seed(1234)
    np.random.default_rng().random()

    assert not weights_differ(first, build(name))
    assert weights_differ(first, build(name, seed=1))


@every_network
def test_a_second_network_has_the_architecture_of_the_first(name: str) -> None:
    """Compiled attacks are shared by architecture; names that Keras counts up would part them."""
    assert build(name).to_json() == build(name, seed=0).to_json()


@every_network
def test_networks_of_other_seeds_share_their_compiled_attacks(name: str) -> None:
    assert build(name).to_json() == build(name, seed=1).to_json()


@every_network
def test_initial_weights_do_not_depend_on_the_image_size(name: str) -> None:
    assert not weights_differ(build(name, SHAPES[0]), build(name, SHAPES[-1]))


@every_network
def test_every_variable_moves_in_training_or_is_a_statistic(name: str) -> None:
    network = build(name)

    assert network.trainable_variables
    assert network.count_params() > 1000


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="there is no network 'vgg'; there are: cnn, small_resnet, resnet"):
        NETWORKS.check("vgg")


def test_networks_of_all_registered_names_are_tested() -> None:
    registered = {name for name, target in NETWORKS.entries.items() if target.startswith("dermrobust.")}
    assert {*RANDOM, "keras_file"} == registered
