"""How often images of each class are drawn, and what they then weigh."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermrobust.components.artifacts import Artifact
from dermrobust.components.examples import ExamplesSpec, Split, shard_uris
from dermrobust.components.model_files import HISTORY
from dermrobust.components.train import augmentation
from dermrobust.components.train.class_balance import balanced_weights, sampling_rates
from dermrobust.components.train.component import TRAIN, TrainParams
from dermrobust.components.train.data import TrainingData
from tests.components.conftest import IMAGE_SIZE, Workshop
from tests.components.trainings import changed

POWERS = {"none": 1.0, "sqrt": 0.5, "inverse": 0.0}
samplings = st.sampled_from(["none", "sqrt", "inverse"])
counts_of_classes = st.lists(st.integers(1, 10_000), min_size=1, max_size=8)


def data_of(
    examples: Artifact, sampling: str, *, copies: int = 1, buffer: int = 1000, batch_size: int = 16
) -> TrainingData:
    spec = ExamplesSpec.read(examples)
    return TrainingData(
        files=shard_uris(examples, spec, Split.TRAIN) * copies,
        count=spec.counts[Split.TRAIN] * copies,
        height=IMAGE_SIZE,
        width=IMAGE_SIZE,
        batch_size=batch_size,
        shuffle_buffer=buffer,
        seed=3,
        augmentation=augmentation.none,
        sampling_rates=None if sampling == "none" else sampling_rates(spec.class_counts[Split.TRAIN], sampling),
    )


def drawn(data: TrainingData, epochs: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Labels in the order in which training meets them: [epochs * images]."""
    return np.concatenate([labels for epoch in range(epochs) for _, labels in data.epoch(epoch).as_numpy_iterator()])


@pytest.mark.parametrize(
    ("sampling", "copies", "buffer"),
    [
        ("none", 1, 1000),
        ("sqrt", 1, 1000),
        ("inverse", 1, 1000),
        ("inverse", 2, 20),  # as if adversarial examples were added; and with less memory than images
    ],
)
def test_classes_get_their_share(sampling: str, copies: int, buffer: int, examples: Artifact) -> None:
    counts = np.asarray(ExamplesSpec.read(examples).class_counts[Split.TRAIN], float)
    expected = counts ** POWERS[sampling] * (counts > 0)
    data = data_of(examples, sampling, copies=copies, buffer=buffer)

    labels = drawn(data, 5)

    assert len(labels) == 5 * data.steps * data.batch_size
    shares = np.bincount(labels, minlength=len(counts)) / len(labels)
    np.testing.assert_allclose(shares, expected / expected.sum(), atol=0.03)


def test_an_epoch_is_as_long_as_without_sampling(examples: Artifact) -> None:
    """Although what is drawn may fall a few images short of it."""
    plain, sampled = (data_of(examples, sampling, batch_size=1) for sampling in ("none", "inverse"))

    for epoch in range(3):
        assert sum(1 for _ in sampled.epoch(epoch)) == sampled.steps == plain.steps


def test_draws_depend_on_seed_and_epoch_alone(examples: Artifact) -> None:
    def images(epoch: int) -> list[bytes]:
        return [batch.tobytes() for batch, _ in data_of(examples, "sqrt").epoch(epoch).as_numpy_iterator()]

    assert images(1) == images(1)
    assert Counter(images(1)) != Counter(images(2))


def test_images_of_a_class_are_drawn_evenly(examples: Artifact) -> None:
    counts = ExamplesSpec.read(examples).class_counts[Split.TRAIN]
    rates = sampling_rates(counts, "inverse")
    seen: dict[bytes, int] = Counter()
    labels_of: dict[bytes, int] = {}
    for images, labels in data_of(examples, "inverse").epoch(0).as_numpy_iterator():
        for image, label in zip(images, labels, strict=True):
            seen[image.tobytes()] += 1
            labels_of[image.tobytes()] = int(label)

    # The last few images of an epoch may come from a second pass.
    usual = sum(abs(seen[image] - rates[labels_of[image]]) <= 1.001 for image in seen)
    assert usual >= 0.9 * len(seen)


@given(counts_of_classes, samplings)
def test_rates_keep_the_length_of_an_epoch(counts: list[int], sampling: str) -> None:
    rates = sampling_rates(counts, sampling)

    assert np.average(rates, weights=counts) == pytest.approx(1, rel=1e-5)
    drawn_images = rates * counts
    expected = np.asarray(counts, float) ** POWERS[sampling]
    np.testing.assert_allclose(drawn_images / drawn_images.sum(), expected / expected.sum(), rtol=1e-4)


@given(counts_of_classes, samplings, samplings)
def test_weights_follow_what_is_drawn(counts: list[int], sampling: str, weighting: str) -> None:
    weights = balanced_weights(counts, sampling, weighting)

    drawn_images = sampling_rates(counts, sampling) * np.asarray(counts)
    assert np.average(weights, weights=drawn_images) == pytest.approx(1, rel=1e-4)


def test_what_sampling_evened_out_is_not_weighted_again() -> None:
    np.testing.assert_allclose(balanced_weights([10, 1000], "inverse", "sqrt"), [1, 1], rtol=1e-5)
    weights = balanced_weights([10, 1000], "sqrt", "inverse")
    assert weights[0] / weights[1] == pytest.approx(10, rel=1e-4)


def test_training_with_sampling_is_another_but_reproducible(
    workshop: Workshop, examples: Artifact, train_params: TrainParams, model: Artifact
) -> None:
    params = changed(train_params, class_sampling="sqrt", epochs=2)

    one, two = (
        workshop.make(TRAIN, params, name, examples=examples, adversarial=())["model"] for name in ("drawn1", "drawn2")
    )

    assert one.digest == two.digest
    assert one.read_json(HISTORY)[0] != model.read_json(HISTORY)[0]
