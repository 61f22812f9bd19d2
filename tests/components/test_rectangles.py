"""Images that are not square: preprocessed, trained on, attacked."""

import numpy as np
import pytest
import tensorflow as tf

from dermrobust.components.adversarial_spec import AdversarialSpec, shard_uris
from dermrobust.components.artifacts import Artifact
from dermrobust.components.augment.component import AUGMENT, AugmentParams
from dermrobust.components.examples import ExamplesSpec, Split, read_images
from dermrobust.components.examples import shard_uris as example_uris
from dermrobust.components.model_files import METRICS, ModelSpec, load_network
from dermrobust.components.preprocess.component import PREPROCESS, PreprocessParams
from dermrobust.components.train import augmentation
from dermrobust.components.train.component import TRAIN, TrainParams
from dermrobust.components.train.validation import batch_size
from tests.components.conftest import Workshop
from tests.components.trainings import changed

HEIGHT, WIDTH = 12, 20


@pytest.fixture(scope="module")
def rectangles(workshop: Workshop, dataset: Artifact) -> Artifact:
    params = PreprocessParams(image_size=(HEIGHT, WIDTH))
    return workshop.make(PREPROCESS, params, "rectangles", dataset=dataset)["examples"]


@pytest.fixture(scope="module")
def rectangular_model(workshop: Workshop, rectangles: Artifact, train_params: TrainParams) -> Artifact:
    params = changed(train_params, epochs=2, objective="fast", augmentation="strong", validation_images=8)
    return workshop.make(TRAIN, params, "rectangular", examples=rectangles, adversarial=())["model"]


def test_a_network_is_trained_on_them(rectangular_model: Artifact) -> None:
    network = load_network(rectangular_model.uri, rectangular_model.digest)

    assert network.input_shape == (None, HEIGHT, WIDTH, 3)
    assert ModelSpec.read(rectangular_model).preprocessing.image_size == (HEIGHT, WIDTH)
    assert 0 <= rectangular_model.read_json(METRICS)["validation_robust_accuracy"] <= 1


def test_adversarial_examples_keep_their_shape_and_budget(
    workshop: Workshop, rectangles: Artifact, rectangular_model: Artifact
) -> None:
    made = workshop.make(AUGMENT, AugmentParams(), "rectangular", examples=rectangles, model=rectangular_model)

    crafted = made["adversarial"]
    (adversarial_uri,) = shard_uris(crafted, AdversarialSpec.read(crafted))
    (clean_uri,) = example_uris(rectangles, ExamplesSpec.read(rectangles), Split.TRAIN)
    moved, clean = (read_images(uri)[1].astype(int) for uri in (adversarial_uri, clean_uri))
    assert moved.shape == clean.shape == (len(clean), HEIGHT, WIDTH, 3)
    assert np.abs(moved - clean).max() == 4


def test_fewer_large_images_are_validated_at_a_time() -> None:
    assert [batch_size(*size) for size in ((32, 32), (128, 128), (256, 128), (512, 512), (1024, 1024))] == [
        256,
        256,
        128,
        16,
        4,
    ]


@pytest.mark.parametrize("name", augmentation.AUGMENTATIONS)
def test_every_augmentation_keeps_height_and_width(name: str) -> None:
    images = tf.random.stateless_uniform((40, HEIGHT, WIDTH, 3), (0, 0))

    changed_images = augmentation.AUGMENTATIONS[name](images, tf.constant([0, 1], tf.int64))

    assert changed_images.shape == images.shape


def test_flips_give_a_rectangle_four_orientations_and_a_square_eight() -> None:
    for image, expected in ((np.arange(24).reshape(4, 6), 4), (np.arange(16).reshape(4, 4), 8)):
        images = tf.constant(np.repeat(image[None, ..., None], 200, axis=0), tf.float32)

        flipped = augmentation.flips(images, tf.constant([0, 1], tf.int64)).numpy()

        found = {each.tobytes() for each in flipped}
        assert len(found) == expected
        assert all((np.sort(each, axis=None) == np.sort(image, axis=None)).all() for each in flipped)


def test_a_strong_augmentation_turns_a_rectangle_about_its_center() -> None:
    """A disk around the center stays there, but for shift and zoom."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    disk = (rows - (HEIGHT - 1) / 2) ** 2 + (columns - (WIDTH - 1) / 2) ** 2 < 16
    images = tf.constant(np.repeat(disk[None, ..., None], 200, axis=0), tf.float32)

    turned = augmentation._change_geometry(images, tf.constant([0, 1], tf.int64)).numpy()[..., 0]

    weights = turned / turned.sum(axis=(1, 2), keepdims=True)
    assert abs((weights * rows).sum(axis=(1, 2)).mean() - (HEIGHT - 1) / 2) < 0.2
    assert abs((weights * columns).sum(axis=(1, 2)).mean() - (WIDTH - 1) / 2) < 0.3
