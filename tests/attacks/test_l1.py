"""L1: the projection onto ball and bounds, and Auto-PGD (Croce & Hein 2021, arXiv 2103.01208)."""

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from dermrobust.attacks import losses
from dermrobust.attacks.apgd import APGDCE
from dermrobust.attacks.apgd_l1_step import l1_auto_pgd
from dermrobust.attacks.apgd_schedule import l1_stages
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.cleverhans.bim import BIM
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.l1_ball import projected_l1
from dermrobust.attacks.minimal import Minimal
from dermrobust.attacks.noise import Noise
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.randomness import generator
from dermrobust.attacks.threat import Norm, ThreatModel
from tests.attacks.conftest import Victim
from tests.small_networks import linear_target

SHAPE = (3, 5, 4, 3)
Floats = npt.NDArray[np.float64]

projected = tf.function(projected_l1)


def nearest(point: Floats, clean: Floats, radius: float, lower: float, upper: float) -> Floats:
    """The nearest image of ball and bounds, one image, by bisection of the Lagrange multiplier of the ball."""

    def at(multiplier: float) -> Floats:
        change = point - clean
        shrunk = np.sign(change) * np.maximum(np.abs(change) - multiplier, 0)
        return np.asarray(np.clip(clean + shrunk, lower, upper))

    low, high = 0.0, float(np.abs(point - clean).max())
    if np.abs(at(0) - clean).sum() <= radius:
        return at(0)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.abs(at(middle) - clean).sum() > radius else (low, middle)
    return at(high)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**31 - 1),
    radius=st.floats(0.0625, 40.0, width=32),
    scale=st.sampled_from([0.01, 0.3, 1.0, 30.0]),
    extreme=st.booleans(),
    bounds=st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)]),
)
def test_the_projection_is_the_nearest_point_of_ball_and_bounds(
    seed: int, radius: float, scale: float, extreme: bool, bounds: tuple[float, float]
) -> None:
    random, (lower, upper) = np.random.default_rng(seed), bounds
    width = upper - lower
    clean = random.random(SHAPE)
    clean = lower + width * (np.rint(clean) if extreme else clean)  # black and white: half of all changes lead out
    clean, radius = clean.astype(np.float32), radius * width
    point = (clean + random.laplace(0, scale * width, SHAPE)).astype(np.float32)
    arguments = [tf.constant(value, tf.float32) for value in (clean, radius, lower, upper)]

    found = projected(point, *arguments).numpy()

    assert found.min() >= lower
    assert found.max() <= upper
    assert np.abs(found - clean).sum(axis=(1, 2, 3)).max() <= radius * (1 + 1e-5)
    expected = [
        nearest(one.astype(np.float64), center.astype(np.float64), radius, lower, upper)
        for one, center in zip(point, clean, strict=True)
    ]
    # A threshold of the size of the largest change is exact to its last digit.
    np.testing.assert_allclose(found, expected, atol=3e-6 * max(width, radius, float(np.abs(point - clean).max())))
    np.testing.assert_allclose(projected(found, *arguments).numpy(), found, atol=1e-6 * width)


def test_an_image_is_projected_alike_whatever_the_others_of_its_batch_are() -> None:
    random = np.random.default_rng(0)
    clean = random.random((8, *SHAPE[1:])).astype(np.float32)
    point = (clean + random.normal(0, [[[[0.01]]], [[[3.0]]]] * 4, clean.shape)).astype(np.float32)
    constants = [tf.constant(value) for value in (2.0, 0.0, 1.0)]

    together = projected(point, clean, *constants).numpy()

    for index in range(8):
        one = slice(index, index + 1)
        np.testing.assert_array_equal(projected(point[one], clean[one], *constants).numpy(), together[one])


@given(st.integers(1, 1000))
def test_the_stages_take_all_steps_and_end_in_the_budget(steps: int) -> None:
    stages = l1_stages(steps)

    assert (~stages.begins).sum() == steps
    assert stages.radii[-1] == 1
    assert (np.diff(stages.radii) <= 0).all()
    np.testing.assert_array_equal(np.flatnonzero(stages.begins)[1:], np.flatnonzero(np.diff(stages.radii)) + 1)
    assert not (stages.begins & stages.checks).any()


def test_of_100_steps_the_stages_are_those_of_the_paper() -> None:
    radii, begins, _ = l1_stages(100)

    assert [int((~begins & (radii == radius)).sum()) for radius in (3, 2, 1)] == [30, 30, 40]


class Reference:
    """The published algorithm in NumPy, one image at a time, on cross-entropy."""

    def __init__(self, problem: Problem, index: int) -> None:
        self.problem, self.index = problem, index
        self.clean = problem.images[index].astype(np.float64)

    def evaluated(self, image: Floats) -> tuple[float, Floats]:
        images = tf.constant(image[None], tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = self.problem.target.logits(self.problem.target.weights, images)
            loss = -tf.nn.log_softmax(logits)[0, int(self.problem.labels[self.index])]
        return float(loss), tape.gradient(loss, images).numpy()[0].astype(np.float64)

    def stage(self, start: Floats, radius: float, steps: int) -> tuple[Floats, float]:
        """Return the best image of a stage and its loss."""

        def changed(image: Floats) -> int:
            return int((image.astype(np.float32) != self.clean.astype(np.float32)).sum())

        def back(image: Floats) -> Floats:
            return nearest(image, self.clean, radius, 0.0, 1.0)

        current = best = back(start)
        best_value, gradient = self.evaluated(current)
        best_gradient, before, size = gradient, changed(best), radius
        kept = before / 1.5
        for step in range(1, steps + 1):
            sizes = np.sort(np.abs(gradient).ravel())
            limit = sizes[int(np.clip(sizes.size - kept, 0, sizes.size - 1))]
            signs = np.where(np.abs(gradient) >= limit, np.sign(gradient), 0)
            current = back(current + size * signs / np.abs(signs).sum())
            value, gradient = self.evaluated(current)
            if value > best_value:
                best, best_value, best_gradient = current, value, gradient
            if step % max(int(0.04 * steps), 1) == 0:
                now = changed(best)
                kept = now / 1.5
                if now / before < 0.95:
                    size, current, gradient = radius, best, best_gradient
                else:
                    size = max(size / 1.5, radius / 10)
                before = now
        return best, best_value

    def run(self, steps: int) -> float:
        """Return the largest loss in the budget."""
        noise = generator(self.problem.seeds[self.index]).standard_normal(self.clean.shape, dtype=np.float32)
        image, value, radius = self.clean + noise, 0.0, self.problem.threat.radius
        for factor, share in ((3, 0.3), (2, 0.3), (1, 0.4)):
            image, value = self.stage(image, factor * radius, round(share * steps))
        return value


def test_auto_pgd_is_the_published_algorithm(few: Victim) -> None:
    problem = few.take(slice(5)).problem(ThreatModel.parse("l1:2"))

    found = l1_auto_pgd(problem, losses.cross_entropy, 20)

    values = [Reference(problem, index).evaluated(image)[0] for index, image in enumerate(found)]
    expected = [Reference(problem, index).run(20) for index in range(5)]
    # Gradients of nearly the same size may change places in their order.
    np.testing.assert_allclose(values, expected, rtol=0.02)


def test_of_a_linear_classifier_it_finds_the_largest_loss() -> None:
    """There the values with the largest slopes go to a bound, until the budget is used up."""
    target = linear_target(class_count=2)
    images = np.full((1, 4, 4, 3), 0.5, np.float32)
    problem = Problem(target, images, np.zeros(1, np.int64), ThreatModel.parse("l1:3.2"), np.ones(1, np.uint64))
    slope = np.diff(target.weights[0].numpy(), axis=1).ravel()

    found = l1_auto_pgd(problem, losses.margin, 60)

    order = np.argsort(-np.abs(slope))
    best = 0.5 * np.abs(slope[order[:6]]).sum() + 0.2 * np.abs(slope[order[6]])
    assert float((found - images).ravel() @ slope) == pytest.approx(best, rel=0.02)


def test_it_breaks_what_random_changes_of_the_same_budget_leave_standing(victim: Victim) -> None:
    threat = ThreatModel.parse("l1:2")

    random, found = (
        victim.robust(victim.attacked_pixels(attack, threat, batch_size=96, stop_at_success=True)).mean()
        for attack in (Noise(draws=20), APGDCE(steps=20))
    )

    assert random > 0.9
    assert found < 0.3


@pytest.mark.parametrize("budget", ["l1:4", "l0:6"])
def test_of_the_random_control_the_whole_budget_is_left_in_8_bits(budget: str, few: Victim) -> None:
    threat = ThreatModel.parse(budget)

    stored = few.attacked_pixels(Noise(), threat, batch_size=16)

    used = threat.distance(stored.astype(np.float32), few.pixels.astype(np.float32))
    assert (used > 0.95 * threat.epsilon).all()


@pytest.mark.parametrize("attack", [PGD(), BIM(), Minimal()], ids=lambda attack: attack.name)
def test_attacks_that_are_not_defined_for_l1_say_so(attack: Attack, few: Victim) -> None:
    with pytest.raises(UserError, match=f"{attack.name} is defined for linf, l2 only, not for l1"):
        few.attacked_pixels(attack, ThreatModel(500, Norm.L1), batch_size=16)
