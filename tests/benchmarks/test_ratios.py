"""Speed, guarded as ratios within one run and far from what is measured: a time would say more of the machine."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import peers, training_steps
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.engine import attack_images, to_images
from dermrobust.attacks.ensemble import Ensemble
from dermrobust.attacks.problem import Labels
from dermrobust.attacks.threat import Images, ThreatModel
from dermrobust.models.classifier import attack_target
from dermrobust.models.networks.small_resnet import SmallResNet
from tests.small_networks import CLASS_COUNT, colored_images

SIZE, STEPS = 28, 20
THREAT = ThreatModel(24)
"""Enough to take an image from one class to another: it breaks the network, as attacks break undefended ones."""
pytestmark = [pytest.mark.slow, pytest.mark.timing]


@dataclass(frozen=True, repr=False)
class Case:
    network: keras.Model
    images: Images
    labels: Labels

    def attacked(self, attack: Attack, *, stop: bool) -> Images:
        seeds = np.arange(len(self.labels), dtype=np.uint64)
        target = attack_target(self.network)
        return attack_images(
            attack, target, self.images, self.labels, seeds, threat=THREAT, batch_size=64, stop_at_success=stop
        )

    def robust_accuracy(self, images: Images) -> float:
        return float((self.network.predict(images, verbose=0).argmax(axis=1) == self.labels).mean())


@pytest.fixture(scope="module")
def case() -> Case:
    pixels, labels = colored_images(256, SIZE)
    network = SmallResNet().build((SIZE, SIZE, 3), CLASS_COUNT, 0)
    network.compile(keras.optimizers.Adam(2e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit(to_images(pixels), labels, batch_size=32, epochs=6, verbose=0)
    # The moving averages of so short a training lag behind the weights.
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5
    network.optimizer.learning_rate = 0.0
    network.fit(to_images(pixels), labels, batch_size=64, epochs=2, verbose=0)
    return Case(network, to_images(pixels[:192]), labels[:192])


def seconds(call: Callable[[], object], runs: int = 3) -> float:
    """Median; the first call is not counted."""
    call()
    taken = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def median_of(benchmark: BenchmarkFixture, call: Callable[[], object]) -> float:
    benchmark.pedantic(call, rounds=3, warmup_rounds=1)
    assert benchmark.stats is not None
    return float(benchmark.stats.stats.median)


CASCADE = Ensemble(members=(FGSM(), PGD(steps=STEPS)))


def test_a_robust_accuracy_is_found_several_times_faster_than_by_cleverhans(
    case: Case, benchmark: BenchmarkFixture
) -> None:
    peer = peers.cleverhans(case.network, THREAT.radius, STEPS)

    ours = median_of(benchmark, lambda: case.attacked(CASCADE, stop=True))

    assert seconds(lambda: peer(case.images, case.labels)) / ours > 2
    found = case.attacked(CASCADE, stop=True)
    assert case.robust_accuracy(found) <= case.robust_accuracy(peer(case.images, case.labels))


@pytest.mark.parametrize("name", ["art", "foolbox"])
def test_a_robust_accuracy_is_found_many_times_faster_than_by_other_libraries(
    case: Case, benchmark: BenchmarkFixture, name: str
) -> None:
    pytest.importorskip({"art": "art", "foolbox": "foolbox"}[name], reason="pip install '.[benchmarks]'")
    radius = THREAT.radius
    peer = {
        "art": lambda: peers.art("pgd", case.network, CLASS_COUNT, radius, STEPS),
        "foolbox": lambda: peers.foolbox("pgd", case.network, radius, STEPS),
    }[name]()

    ours = median_of(benchmark, lambda: case.attacked(CASCADE, stop=True))

    assert seconds(lambda: peer(case.images, case.labels), runs=1) / ours > 5


def test_an_attack_is_little_slower_than_its_gradients(case: Case, benchmark: BenchmarkFixture) -> None:
    target = attack_target(case.network)

    @tf.function
    def gradient(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = target.logits(target.weights, images)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        return tape.gradient(loss, images)

    def floor() -> None:
        for start in range(0, len(case.images), 64):
            images, labels = (tf.constant(values[start : start + 64]) for values in (case.images, case.labels))
            for _ in range(STEPS):
                found = gradient(images, labels)
            found.numpy()

    ours = median_of(benchmark, lambda: case.attacked(PGD(steps=STEPS), stop=False))

    assert seconds(floor) / ours > 0.6


def test_a_step_of_fast_adversarial_training_costs_about_two_clean_ones(benchmark: BenchmarkFixture) -> None:
    rows = benchmark.pedantic(lambda: list(training_steps.rows(SIZE, 1, ("clean", "fast", "pgd-5"))), rounds=1)

    cost = {row["objective"]: row["ratio"] for row in rows}
    assert cost["fast"] < 3
    assert cost["pgd-5"] < 5 + 2.5
    assert all(row["input_share"] < 0.5 for row in rows)
