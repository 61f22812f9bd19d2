"""Auto-PGD: the schedule, the losses and the images of the paper (Croce & Hein 2020, arXiv 2003.01690)."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.counting import Evaluations, counting
from dermrobust.attacks import losses
from dermrobust.attacks.apgd import APGDCE, APGDDLR, APGDTargeted
from dermrobust.attacks.apgd_schedule import checkpoints
from dermrobust.attacks.apgd_step import auto_pgd
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.auto import Auto
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.randomness import on_the_sphere
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Images, Norm, ThreatModel
from tests.attacks.conftest import Victim, seeds_of
from tests.small_networks import CLASS_COUNT, linear_target

BUDGETS = {Norm.LINF: ThreatModel(8), Norm.L2: ThreatModel(90, Norm.L2)}
every_norm = pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])

Floats = npt.NDArray[np.float32]


def published_windows(steps: int) -> list[tuple[int, int]]:
    """(iteration, window) of each checkpoint, as in the authors' code: a counter that is compared with the window."""
    window, shortest, shrink = max(int(0.22 * steps), 1), max(int(0.06 * steps), 1), max(int(0.03 * steps), 1)
    found, counter = [], 0
    for iteration in range(1, steps + 1):
        counter += 1
        if counter == window:
            found.append((iteration, window))
            counter, window = 0, max(window - shrink, shortest)
    return found


@given(st.integers(1, 1000))
def test_progress_is_looked_at_where_the_published_code_does(steps: int) -> None:
    lengths = checkpoints(steps)

    assert lengths.shape == (steps + 1,)
    assert [(int(at), int(lengths[at])) for at in np.flatnonzero(lengths)] == published_windows(steps)


def test_of_100_steps_the_checkpoints_are_those_of_the_paper() -> None:
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    expected = [math.ceil(round(share * 100, 6)) for share in shares if 0 < share <= 1]

    assert np.flatnonzero(checkpoints(100)).tolist() == expected == [22, 41, 57, 70, 80, 87, 93, 99]


class Reference:
    """Algorithm 1 of the paper in NumPy, one image at a time."""

    def __init__(self, problem: Problem, steps: int) -> None:
        self.problem, self.steps = problem, steps
        self.threat = problem.threat

    def loss_and_gradient(self, image: Floats, index: int) -> tuple[float, Floats]:
        images = tf.constant(image[None])
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = self.problem.target.logits(self.problem.target.weights, images)
            loss = -tf.nn.log_softmax(logits)[0, int(self.problem.labels[index])]
        return float(loss), tape.gradient(loss, images).numpy()[0]

    def project(self, image: Floats, clean: Floats) -> Floats:
        shift, radius = image - clean, self.threat.radius
        if self.threat.norm is Norm.LINF:
            shift = np.clip(shift, -radius, radius)
        else:
            shift = shift * min(1.0, radius / max(float(np.linalg.norm(shift)), 1e-12))
        return np.clip(clean + shift, 0, 1).astype(np.float32)

    def direction(self, gradient: Floats) -> Floats:
        return np.sign(gradient) if self.threat.norm is Norm.LINF else gradient / np.linalg.norm(gradient)

    def run(self, index: int, start: Floats) -> tuple[Floats, float, int]:
        """Return the best image, its loss, and how often the step was halved."""
        clean, step_size, halvings = self.problem.images[index], 2 * self.threat.radius, 0
        previous = current = best = start
        value, gradient = self.loss_and_gradient(current, index)
        best_value, best_gradient, values = value, gradient, [value]
        halved, checked_value, windows = True, value, dict(published_windows(self.steps))
        for iteration in range(1, self.steps + 1):
            stepped = self.project(current + step_size * self.direction(gradient), clean)
            share = 1.0 if iteration == 1 else 0.75
            moved = self.project(current + share * (stepped - current) + (1 - share) * (current - previous), clean)
            previous, current = current, moved
            value, gradient = self.loss_and_gradient(current, index)
            values.append(value)
            if value > best_value:
                best, best_value, best_gradient = current, value, gradient
            if window := windows.get(iteration):
                rises = sum(values[at] > values[at - 1] for at in range(iteration - window + 1, iteration + 1))
                halve = rises <= 0.75 * window or (not halved and checked_value >= best_value)
                if halve:
                    step_size, current, gradient, halvings = step_size / 2, best, best_gradient, halvings + 1
                halved, checked_value = halve, best_value
        return best, best_value, halvings


@every_norm
@pytest.mark.parametrize("steps", [1, 14, 30])
def test_auto_pgd_is_the_algorithm_of_the_paper(norm: Norm, steps: int, few: Victim) -> None:
    problem = few.take(slice(6)).problem(BUDGETS[norm])
    reference, starts = Reference(problem, steps), on_the_sphere(problem)
    expected = [reference.run(index, starts[index]) for index in range(len(starts))]

    found = auto_pgd(problem, losses.cross_entropy, steps)

    values = [reference.loss_and_gradient(image, index)[0] for index, image in enumerate(found)]
    # Sums of gradients depend on the number of threads; a step along a small gradient enlarges the difference.
    np.testing.assert_allclose(values, [value for _, value, _ in expected], rtol=1e-3)
    np.testing.assert_allclose(found, [image for image, _, _ in expected], atol=1e-4)
    if steps == 30:
        assert sum(halvings for _, _, halvings in expected) >= len(expected)  # the comparison covers halving


@every_norm
def test_the_start_uses_the_whole_budget(norm: Norm) -> None:
    images = np.full((4, 8, 8, 3), 0.5, np.float32)
    threat = BUDGETS[norm]
    problem = Problem(linear_target(image_size=8), images, np.zeros(4, np.int64), threat, seeds_of(4))

    np.testing.assert_allclose(threat.distance(on_the_sphere(problem), images), threat.radius, rtol=1e-5)


def test_an_evaluation_that_no_step_follows_has_no_gradient(few: Victim) -> None:
    def evaluations(victim: Victim, *, stop: bool) -> Evaluations:
        target, counted = counting(victim.target)
        problem = victim.problem(BUDGETS[Norm.LINF], batch_size=16, stop_at_success=stop)
        auto_pgd(dataclasses.replace(problem, target=target), losses.cross_entropy, 3)
        return counted()

    wrong = dataclasses.replace(few, labels=(few.predicted(few.pixels) + 1) % CLASS_COUNT)
    one_right = dataclasses.replace(wrong, labels=np.concatenate([few.predicted(few.pixels[:1]), wrong.labels[1:]]))

    assert evaluations(few, stop=False) == Evaluations(forward=4 * 16, gradients=3 * 16)
    assert evaluations(wrong, stop=True) == Evaluations(forward=16, gradients=0)
    assert evaluations(one_right, stop=True).gradients >= 16  # one image that goes on needs it


def test_more_steps_never_end_below_the_start(few: Victim) -> None:
    problem = few.problem(BUDGETS[Norm.LINF])
    reference = Reference(problem, 1)

    def values(images: Images) -> list[float]:
        return [reference.loss_and_gradient(image, index)[0] for index, image in enumerate(images)]

    start = values(on_the_sphere(problem))
    assert (np.array(values(auto_pgd(problem, losses.cross_entropy, 12))) >= np.array(start) - 1e-5).all()


# Losses.

logit_rows = st.lists(
    st.lists(st.floats(-20, 20, width=32), min_size=5, max_size=5, unique=True), min_size=1, max_size=4
).map(lambda rows: np.array(rows, np.float32))


def evaluated(loss: losses.LossFn, logits: Floats, labels: list[int], goals: list[int]) -> Floats:
    return np.asarray(loss(tf.constant(logits), tf.constant(labels, tf.int64), tf.constant(goals, tf.int64)))


def by_hand(loss: Callable[[list[float], int, int], float], logits: Floats, label: int, goal: int) -> list[float]:
    return [loss([float(value) for value in row], label, goal) for row in logits]


def dlr(row: list[float], label: int, goal: int) -> float:
    ordered = sorted(row, reverse=True)
    wrong = max(value for index, value in enumerate(row) if index != label)
    return -(row[label] - wrong) / (ordered[0] - ordered[2] + 1e-12)


def targeted_dlr(row: list[float], label: int, goal: int) -> float:
    ordered = sorted(row, reverse=True)
    return -(row[label] - row[goal]) / (ordered[0] - 0.5 * (ordered[2] + ordered[3]) + 1e-12)


def cross_entropy(row: list[float], label: int, goal: int) -> float:
    return -math.log(math.exp(row[label] - max(row)) / sum(math.exp(value - max(row)) for value in row))


@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        (losses.difference_of_logits_ratio, dlr),
        (losses.targeted_difference_of_logits_ratio, targeted_dlr),
        (losses.cross_entropy, cross_entropy),
        (losses.targeted_cross_entropy, lambda row, label, goal: -cross_entropy(row, goal, goal)),
        (losses.margin, lambda row, label, goal: max(row[:label] + row[label + 1 :]) - row[label]),
    ],
    ids=["dlr", "targeted_dlr", "cross_entropy", "targeted_cross_entropy", "margin"],
)
@given(logits=logit_rows, label=st.integers(0, 4), shift=st.integers(1, 4))
def test_a_loss_is_its_formula(
    loss: losses.LossFn, formula: Callable[[list[float], int, int], float], logits: Floats, label: int, shift: int
) -> None:
    goal = (label + shift) % 5

    found = evaluated(loss, logits, [label] * len(logits), [goal] * len(logits))

    np.testing.assert_allclose(found, by_hand(formula, logits, label, goal), rtol=2e-3, atol=1e-4)


def test_the_ratio_does_not_change_when_all_logits_are_scaled() -> None:
    """What it is for: cross-entropy and its gradient vanish for a model that is sure of itself."""
    logits = np.array([[5.0, 1.0, -2.0, 0.5, 3.0]], np.float32)

    for loss in (losses.difference_of_logits_ratio, losses.targeted_difference_of_logits_ratio):
        np.testing.assert_allclose(
            evaluated(loss, logits * 1000, [0], [1]), evaluated(loss, logits, [0], [1]), rtol=1e-4
        )


# What a model must have for a loss.


def problem_with(class_count: int, target: Target | None = None) -> Problem:
    images = np.random.default_rng(0).random((6, 4, 4, 3), dtype=np.float32)
    found = target or linear_target(class_count)
    labels = np.asarray(found.logits(found.weights, images)).argmax(axis=1)
    return Problem(found, images, labels, ThreatModel(400, Norm.L2), seeds_of(6))


@pytest.mark.parametrize(("attack", "class_count"), [(APGDDLR(steps=1), 2), (APGDTargeted(steps=1), 3)])
def test_too_few_classes_for_the_ratio_are_refused(attack: Attack, class_count: int) -> None:
    with pytest.raises(UserError, match=rf"needs {class_count + 1} classes, but the model has {class_count}.*apgd_ce"):
        attack.check_classes(class_count)

    attack.check_classes(class_count + 1)
    attack.perturb(problem_with(class_count + 1))


@pytest.mark.parametrize("attack", [APGDTargeted, Auto])
def test_more_targets_than_wrong_classes_are_refused(attack: type[APGDTargeted]) -> None:
    with pytest.raises(UserError, match="targets is 5, but of the model's 5 classes only 4"):
        attack(targets=5).check_classes(5)

    attack(targets=4).check_classes(5)


@pytest.mark.parametrize("class_count", [2, 3, 4])
def test_auto_and_cross_entropy_run_on_any_number_of_classes(class_count: int) -> None:
    problem = problem_with(class_count)

    for attack in (APGDCE(steps=4), Auto(steps=4, queries=4)):
        moved = attack.perturb(problem)
        predicted = np.asarray(problem.target.logits(problem.target.weights, moved)).argmax(axis=1)
        assert (predicted != problem.labels).all()


@pytest.mark.parametrize("class_count", [2, 3, 4])
def test_where_the_ratio_is_not_defined_auto_raises_the_margin(
    class_count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[losses.LossFn] = []

    def auto_pgd(problem: Problem, loss: losses.LossFn, steps: int) -> Images:
        used.append(loss)
        return problem.images.copy()

    monkeypatch.setattr("dermrobust.attacks.apgd_step.auto_pgd", auto_pgd)

    Auto(steps=4, targets=1, queries=0).perturb(problem_with(class_count))  # all images stand

    ratio = losses.targeted_difference_of_logits_ratio
    assert used == [losses.cross_entropy, losses.margin if class_count < 4 else ratio]


def test_targeted_apgd_aims_at_the_likeliest_wrong_classes_in_turn(
    few: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[npt.NDArray[np.int64]] = []

    def recorded(problem: Problem, loss: losses.LossFn, steps: int) -> Images:
        assert problem.goals is not None
        assert not problem.targeted  # any error counts
        seen.append(problem.goals)
        return problem.images

    monkeypatch.setattr("dermrobust.attacks.apgd_step.auto_pgd", recorded)
    APGDTargeted(steps=1, targets=3).perturb(few.problem(BUDGETS[Norm.LINF]))

    logits = few.logits(few.images)
    for rank, goals in enumerate(seen):
        order = [[c for c in np.argsort(-row) if c != label] for row, label in zip(logits, few.labels, strict=True)]
        assert goals.tolist() == [row[rank] for row in order]
    assert len(seen) == 3


def test_by_default_all_wrong_classes_are_aimed_at(few: Victim, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def auto_pgd(problem: Problem, *_: object) -> Images:
        calls.append(1)
        return problem.images

    monkeypatch.setattr("dermrobust.attacks.apgd_step.auto_pgd", auto_pgd)

    APGDTargeted(steps=1).perturb(few.problem(BUDGETS[Norm.LINF]))
    assert len(calls) == CLASS_COUNT - 1

    calls.clear()
    APGDTargeted(steps=1).perturb(problem_with(15))
    assert len(calls) == 9  # as published


@every_norm
@pytest.mark.parametrize("attack", [APGDCE(steps=12), APGDTargeted(steps=6, targets=2)], ids=["apgd_ce", "apgd_t"])
@pytest.mark.parametrize("stop", [True, False])
def test_images_at_different_steps_share_a_batch_without_a_trace(
    attack: Attack, norm: Norm, stop: bool, victim: Victim
) -> None:
    some = victim.take(slice(40))
    problem = some.problem(BUDGETS[norm], stop_at_success=stop)

    at_once = attack.perturb(dataclasses.replace(problem, batch_size=64))

    for batch_size in (3, 16):
        found = attack.perturb(dataclasses.replace(problem, batch_size=batch_size))
        np.testing.assert_allclose(found, at_once, atol=2e-5)  # a step of 1/255 is 200 times as long
    assert 0 < some.robust(at_once).mean() < 1  # some fall early, some never
