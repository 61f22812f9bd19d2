"""Images that objectives craft: inside the budget, stronger than chance, cheap, and without a trace in the network."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from dermrobust.attacks.threat import Norm, ThreatModel
from dermrobust.models.objectives.adversarial import AdversarialObjective, IterativeObjective
from dermrobust.models.objectives.crafting import Ball
from dermrobust.models.objectives.cross_entropy import CrossEntropy
from dermrobust.models.objectives.fast import STEP, Fast
from dermrobust.models.objectives.mart import Mart
from dermrobust.models.objectives.mixed import Mixed
from dermrobust.models.objectives.n_fgsm import NFGSM
from dermrobust.models.objectives.pgd import PGDTraining
from dermrobust.models.objectives.trades import Trades
from tests.models.robust_training import craft, images_and_labels, seed_of, untrained
from tests.small_networks import CLASS_COUNT, colored_images, mean_loss, trained_network

ADVERSARIAL = (Fast, PGDTraining, Mixed, Trades, Mart)
ITERATIVE = (PGDTraining, Mixed, Trades, Mart)
every_objective = pytest.mark.parametrize("kind", ADVERSARIAL)
every_norm = pytest.mark.parametrize("threat", [ThreatModel(8), ThreatModel(100, Norm.L2)], ids=str)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return trained_network(*colored_images(96))


@every_objective
@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
@settings(max_examples=15)
@given(radius=st.floats(0, 1.5, width=32), seed=st.integers(0, 2**31 - 1), extreme=st.booleans())
def test_crafted_images_stay_in_the_budget(
    kind: type[AdversarialObjective], norm: Norm, network: keras.Model, radius: float, seed: int, extreme: bool
) -> None:
    images, labels = images_and_labels(9)
    if extreme:
        images = np.rint(images)  # black and white: half of all directions lead out of [0, 1]
    threat = ThreatModel(8, norm)

    crafted = craft(kind(epsilon=threat), network, images, labels, radius, seed)

    assert crafted.shape == images.shape
    assert crafted.dtype == np.float32
    assert crafted.min() >= 0
    assert crafted.max() <= 1
    assert threat.distance(crafted, images).max() <= radius + 1e-5 * max(1.0, radius)


@every_objective
@every_norm
def test_no_budget_gives_the_clean_images(
    kind: type[AdversarialObjective], threat: ThreatModel, network: keras.Model
) -> None:
    images, labels = images_and_labels(8)

    np.testing.assert_array_equal(craft(kind(epsilon=threat), network, images, labels, 0.0), images)


def test_standard_training_sees_the_clean_images(network: keras.Model) -> None:
    images, labels = images_and_labels(8)

    np.testing.assert_array_equal(craft(CrossEntropy(), network, images, labels, 0.1), images)


@every_objective
@every_norm
def test_crafted_images_raise_the_loss_more_than_noise(
    kind: type[AdversarialObjective], threat: ThreatModel, network: keras.Model
) -> None:
    images, labels = images_and_labels(64)
    ball = Ball(tf.constant(images), tf.constant(threat.radius, tf.float32), threat.norm.order)
    noise = np.asarray(ball.random_point(seed_of(0)))

    crafted = craft(kind(epsilon=threat), network, images, labels, threat.radius)

    assert mean_loss(network, crafted, labels) > 2 * mean_loss(network, noise, labels)


@every_norm
def test_more_steps_raise_it_further(threat: ThreatModel, network: keras.Model) -> None:
    images, labels = images_and_labels(64)

    losses = [
        mean_loss(
            network, craft(PGDTraining(epsilon=threat, steps=steps), network, images, labels, threat.radius), labels
        )
        for steps in (1, 20)
    ]

    assert losses[1] > losses[0]


def test_trades_moves_the_prediction_whatever_the_label(network: keras.Model) -> None:
    images, labels = images_and_labels(16)
    others = (labels + 1) % CLASS_COUNT

    for kind, same in ((Trades, True), (PGDTraining, False)):
        one, two = (craft(kind(), network, images, given, 0.03) for given in (labels, others))
        assert (one == two).all() == same


def test_mixed_is_fgsm_for_the_first_half_and_pgd_for_the_second(network: keras.Model) -> None:
    images, labels = images_and_labels(9)

    crafted = craft(Mixed(), network, images, labels, 0.02)

    from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method

    expected = fast_gradient_method(
        lambda given: network(given, training=False),
        tf.constant(images[:4]),
        0.02,
        np.inf,
        clip_min=0.0,
        clip_max=1.0,
        y=tf.constant(labels[:4]),
    )
    np.testing.assert_allclose(crafted[:4], expected, atol=1e-6)
    np.testing.assert_array_equal(crafted[4:], craft(PGDTraining(), network, images[4:], labels[4:], 0.02))


def test_fast_takes_one_step_of_the_published_length(network: keras.Model) -> None:
    """From a start inside the budget: in its middle a step of 1.25 times the radius reaches the border everywhere."""
    images = np.full((4, 8, 8, 3), 0.5, np.float32)
    labels = np.arange(4)
    ball = Ball(tf.constant(images), tf.constant(0.1), np.inf)
    start = np.asarray(ball.random_point(seed_of(0))) - images

    moved = craft(Fast(), network, images, labels, 0.1) - images

    up, down = np.minimum(0.1, start + STEP * 0.1), np.maximum(-0.1, start - STEP * 0.1)
    assert (np.isclose(moved, up, atol=1e-6) | np.isclose(moved, down, atol=1e-6)).all()


@every_objective
def test_crafting_depends_on_its_seed_alone(kind: type[AdversarialObjective], network: keras.Model) -> None:
    images, labels = images_and_labels(8)

    first, again, other = (craft(kind(), network, images, labels, 0.02, seed) for seed in (5, 5, 6))

    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@every_norm
def test_random_starts_fill_the_budget(threat: ThreatModel) -> None:
    images = np.full((64, 8, 8, 3), 0.5, np.float32)
    ball = Ball(tf.constant(images), tf.constant(threat.radius, tf.float32), threat.norm.order)

    noise = np.asarray(ball.random_point(seed_of(0))) - images

    lengths = threat.distance(noise + images, images) / threat.radius
    assert lengths.max() <= 1 + 1e-5
    assert lengths.min() > 0.95  # in 192 dimensions nearly all of a ball's volume is near its surface
    assert abs(noise.mean()) < 0.05 * threat.radius


@pytest.mark.parametrize("kind", ITERATIVE)
def test_neither_graph_nor_tracing_grows_with_the_steps(
    kind: type[IterativeObjective], network: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []
    original = type(network).call

    def call(self: keras.Model, *arguments: Any, **options: Any) -> Any:
        calls.append(bool(options.get("training")))
        return original(self, *arguments, **options)

    monkeypatch.setattr(type(network), "call", call)
    sizes, traced = [], []
    for steps in (2, 50):
        calls.clear()
        sizes.append(nodes_of(kind(steps=steps), network))
        traced.append(len(calls))

    assert sizes[0] == sizes[1]
    assert traced[0] == traced[1] <= 3
    assert not any(calls)  # in inference mode


def nodes_of(objective: AdversarialObjective, network: keras.Model) -> int:
    images, labels = images_and_labels(8)
    graph = (
        tf.function(objective.craft, autograph=False)
        .get_concrete_function(
            network, tf.constant(images), tf.constant(labels), tf.constant(0.1), tf.constant([0, 0], tf.int32)
        )
        .graph.as_graph_def()
    )
    return len(graph.node) + sum(len(function.node_def) for function in graph.library.function)


@every_objective
def test_crafting_leaves_no_trace_in_the_network(kind: type[AdversarialObjective]) -> None:
    network = untrained()
    before = [variable.numpy() for variable in network.variables]
    images, labels = images_and_labels(8)

    craft(kind(), network, images, labels, 0.05)

    for variable, value in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@every_objective
def test_no_gradient_flows_through_crafting(kind: type[AdversarialObjective], network: keras.Model) -> None:
    images, labels = map(tf.constant, images_and_labels(8))

    @tf.function(autograph=False)
    def gradients() -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(kind().craft(network, images, labels, tf.constant(0.02), seed_of(0)))
        return [value for value in tape.gradient(total, [images, *network.trainable_variables]) if value is not None]

    assert gradients() == []


def test_n_fgsm_leaves_the_budget_by_its_noise_and_goes_one_step_along_the_gradient(network: keras.Model) -> None:
    images, labels = images_and_labels(32)
    images = np.float32(0.25) + images / np.float32(
        2
    )  # far from black and white, where clipping would hide the lengths

    moved = craft(NFGSM(), network, images, labels, 0.05) - images
    noise = craft(NFGSM(step=1e-6), network, images, labels, 0.05) - images

    assert 2.8 < np.abs(moved).max() / 0.05 <= 3 + 1e-4
    assert 1.9 < np.abs(noise).max() / 0.05 <= 2 + 1e-4
    np.testing.assert_allclose(np.abs(moved - noise), 0.05, atol=1e-4)
    assert mean_loss(network, images + moved, labels) > mean_loss(network, images + noise, labels)
