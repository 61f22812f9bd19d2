"""Validation: invalid inputs are refused before any work, and invalid outputs of an attack are errors."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from dermrobust.attacks.apgd import APGDCE, APGDDLR, APGDTargeted
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.auto import Auto
from dermrobust.attacks.cleverhans.carlini_wagner import CarliniWagnerL2
from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.cleverhans.mim import MIM
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.cleverhans.spsa import SPSA
from dermrobust.attacks.engine import attack_images, attack_pixels, fit_universal
from dermrobust.attacks.ensemble import Ensemble
from dermrobust.attacks.errors import AttackError, UserError
from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.noise import Noise
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.square import Square
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Bounds, Images, Norm, ThreatModel
from dermrobust.attacks.transfer import Transfer
from dermrobust.attacks.universal import Universal
from tests.attacks.conftest import SURROGATE, Victim, seeds_of
from tests.small_networks import counting_images, linear_target

BUDGET = ThreatModel(4)
IMAGES = np.random.default_rng(0).random((6, 4, 4, 3), dtype=np.float32)
PIXELS = np.rint(IMAGES * 255).astype(np.uint8)
LABELS = np.arange(6) % 3
SEEDS = seeds_of(6)


@dataclasses.dataclass
class Given:
    """What `attack_images` is given; `work` tells how many images the model was shown."""

    attack: Attack = dataclasses.field(default_factory=FGSM)
    target: Target = dataclasses.field(default_factory=lambda: linear_target(3))
    images: Any = dataclasses.field(default_factory=lambda: IMAGES)
    labels: Any = dataclasses.field(default_factory=lambda: LABELS)
    seeds: Any = dataclasses.field(default_factory=lambda: SEEDS)
    threat: ThreatModel = BUDGET
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def run(self, door: Callable[..., Any] = attack_images) -> tuple[str, int]:
        """Return the message, and how many images the model was shown before."""
        target, work = counting_images(self.target)
        with pytest.raises(UserError) as caught:
            door(self.attack, target, self.images, self.labels, self.seeds, threat=self.threat, **self.options)
        return str(caught.value), work()


def test_what_is_right_passes() -> None:
    given = (LABELS, SEEDS)
    assert attack_images(FGSM(), linear_target(3), IMAGES, *given, threat=BUDGET).shape == IMAGES.shape
    assert attack_pixels(FGSM(), linear_target(3), PIXELS, *given, threat=BUDGET).shape == PIXELS.shape


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Given(images=IMAGES[:0], labels=LABELS[:0], seeds=SEEDS[:0]), ["no images", "empty"]),
        (Given(images=IMAGES * 255), ["[0, 1]", "divided by 255"]),
        (Given(images=IMAGES - 1), ["[0, 1]"]),
        (Given(images=IMAGES - 2, threat=ThreatModel(4, bounds=Bounds(-1, 1))), ["[-1, 1]"]),
        (Given(images=np.where(IMAGES > 0.9, np.float32(math.nan), IMAGES)), ["image 0", "not finite"]),
        (Given(images=np.where(IMAGES > 0.9, np.float32(math.inf), IMAGES)), ["not finite"]),
        (Given(images=IMAGES[0]), ["[count, height, width, 3]", "[4, 4, 3]"]),
        (Given(images=IMAGES[..., :1]), ["[count, height, width, 3]", "[6, 4, 4, 1]"]),
        (Given(images=IMAGES.astype(np.float64)), ["float32", "float64"]),
        (Given(labels=LABELS[:5]), ["one label", "6 images", "labels [5]"]),
        (Given(labels=np.eye(3)[LABELS]), ["one label", "labels [6, 3]"]),
        (Given(labels=LABELS.astype(np.float32)), ["int64", "float32"]),
        (Given(labels=LABELS.astype(np.int32)), ["int64", "int32"]),
        (Given(seeds=SEEDS[:2]), ["one seed", "seeds [2]"]),
        (Given(seeds=SEEDS.astype(np.int64)), ["uint64", "int64"]),
        (Given(options={"batch_size": 0}), ["batch_size is 0"]),
        (Given(threat=ThreatModel(1800, Norm.L2)), ["l2:1800/255", "longer"]),
        (Given(attack=CarliniWagnerL2()), ["cw_l2", "l2 only", "not for linf"]),
        (Given(attack=Square(), threat=ThreatModel(4, Norm.L2)), ["square", "linf only", "not for l2"]),
        (Given(attack=SPSA(), threat=ThreatModel(4, Norm.L2)), ["spsa", "linf only"]),
        (Given(attack=Ensemble(members=(FGSM(), Square())), threat=ThreatModel(4, Norm.L2)), ["square", "linf only"]),
        (Given(attack=Transfer(crafted_with=Square()), threat=ThreatModel(4, Norm.L2)), ["square", "linf only"]),
        (Given(attack=Ensemble(members=(Ensemble(members=(CarliniWagnerL2(),)),))), ["cw_l2", "l2 only"]),
        (Given(attack=Ensemble(members=(FGSM(goal=1),))), ["ensemble", "fgsm", "1"]),
        (Given(attack=Transfer(crafted_with=PGD(goal="least_likely"))), ["transfer", "pgd", "least_likely"]),
    ],
    ids=lambda value: "-".join(value)[:50] if isinstance(value, list) else "",
)
def test_what_cannot_be_attacked_is_refused_before_any_work(given: Given, words: list[str]) -> None:
    message, work = given.run()

    for word in words:
        assert word in message
    assert work == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Given(images=PIXELS[:0], labels=LABELS[:0], seeds=SEEDS[:0]), ["no images"]),
        (Given(images=IMAGES), ["uint8", "float32"]),
        (Given(images=PIXELS, threat=ThreatModel(0.5)), ["less than one level"]),
        (Given(images=PIXELS, labels=LABELS[:5]), ["one label", "6 images"]),
        (Given(images=PIXELS[..., 0]), ["[count, height, width, 3]"]),
        (Given(images=PIXELS, options={"batch_size": 0}), ["batch_size is 0"]),
        (Given(images=PIXELS, attack=CarliniWagnerL2()), ["l2 only"]),
    ],
    ids=lambda value: "-".join(value)[:50] if isinstance(value, list) else "",
)
@pytest.mark.parametrize("door", [attack_pixels, fit_universal])
def test_stored_images_are_validated_too(given: Given, words: list[str], door: Callable[..., Any]) -> None:
    if door is fit_universal:
        if isinstance(given.attack, CarliniWagnerL2):
            pytest.skip("another attack")
        given = dataclasses.replace(given, attack=Universal())
    message, work = given.run(door)

    for word in words:
        assert word in message
    assert work == 0


def test_labels_for_other_images_are_noticed_however_many_batches_there_are() -> None:
    images = np.repeat(PIXELS, 8, axis=0)
    more = np.repeat(LABELS, 9)

    message, work = Given(images=images, labels=more, seeds=seeds_of(len(more)), options={"batch_size": 3}).run(
        attack_pixels
    )

    assert "48 images, labels [54]" in message
    assert work == 0


def softmax(target: Target) -> Target:
    return dataclasses.replace(target, logits=lambda weights, images: tf.nn.softmax(target.logits(weights, images)))


def undefined_on(target: Target, where: Callable[[Any], Any]) -> Target:
    """The same classifier, whose logits are NaN for some images: a function [batch, …] -> bool [batch]."""

    def logits(weights: Any, images: Any) -> Any:
        values = target.logits(weights, images)
        return tf.where(where(images)[:, None], math.nan, values)

    return Target(logits, target.weights)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Given(labels=LABELS + 1), ["labels must be 0 to 2", "3 classes", "1 to 3"]),
        (Given(labels=LABELS - 1), ["labels must be 0 to 2", "-1 to 1"]),
        (Given(attack=FGSM(goal=3)), ["fgsm", "goal 3", "0 to 2"]),
        (Given(attack=APGDTargeted(targets=5), target=linear_target(4)), ["targets is 5", "only 3"]),
        (Given(attack=Auto(targets=3)), ["auto", "targets is 3", "only 2"]),
        (Given(attack=APGDDLR(), target=linear_target(2), labels=LABELS % 2), ["needs 3 classes", "apgd_ce"]),
        (Given(attack=Ensemble(members=(FGSM(), APGDTargeted()))), ["apgd_t", "needs 4 classes"]),
        (Given(target=softmax(linear_target(3))), ["probabilities", "softmax"]),
        (Given(target=undefined_on(linear_target(3), lambda x: x[:, 0, 0, 0] > 0)), ["image 0", "logits", "finite"]),
    ],
    ids=["label", "negative label", "goal", "targets", "auto targets", "ratio", "part", "softmax", "nan"],
)
def test_what_only_the_model_can_tell_takes_a_look_at_the_images(given: Given, words: list[str]) -> None:
    message, work = dataclasses.replace(given, options={"batch_size": 6}).run()

    for word in words:
        assert word in message
    assert work == 6


def test_one_image_of_a_model_with_a_softmax_is_enough_to_tell() -> None:
    given = Given(target=softmax(linear_target(3)), images=IMAGES[:1], labels=LABELS[:1], seeds=SEEDS[:1])

    assert "probabilities" in given.run()[0]


@pytest.mark.parametrize("shift", [0.0, 0.2])
def test_small_logits_are_not_taken_for_probabilities(shift: float) -> None:
    small = linear_target(3)

    def logits(weights: Any, images: Any) -> Any:
        return small.logits(weights, images) * 0.001 + shift

    found = attack_images(FGSM(), Target(logits, small.weights), IMAGES, LABELS, SEEDS, threat=BUDGET)

    assert found.shape == IMAGES.shape


class Broken(Attack):
    """Adds the same number to every value."""

    kind: ClassVar[Kind] = Kind.NOISE

    norms: ClassVar[tuple[Norm, ...]] = tuple(Norm)

    shift: float

    def perturb(self, problem: Problem) -> Images:
        return problem.images + np.float32(self.shift)


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize(
    ("shift", "message"),
    [(math.nan, "not finite"), (math.inf, "not finite"), (5 / 255, "left its budget"), (-5 / 255, "left its budget")],
)
@pytest.mark.parametrize("stop", [False, True])
def test_an_attack_that_breaks_its_promise_is_an_error_and_not_clipped(
    norm: Norm, shift: float, message: str, stop: bool
) -> None:
    pixels = np.full((3, 4, 4, 3), 128, np.uint8)
    images, seeds = (pixels / 255).astype(np.float32), SEEDS[:3]
    target = linear_target(3)
    labels = np.asarray(target.logits(target.weights, images)).argmax(axis=1)
    options: dict[str, Any] = {"threat": ThreatModel(4, norm), "stop_at_success": stop}

    with pytest.raises(AttackError, match=message):
        attack_images(Broken(shift=shift), target, images, labels, seeds, **options)
    with pytest.raises(AttackError, match=message):
        attack_pixels(Broken(shift=shift), target, pixels, labels, seeds, **options)


def test_an_attack_that_leaves_the_range_of_images_is_an_error() -> None:
    white = np.ones((3, 4, 4, 3), np.float32)

    with pytest.raises(AttackError, match=r"range \[0, 1\]"):
        attack_images(Broken(shift=1 / 255), linear_target(3), white, LABELS[:3], SEEDS[:3], threat=BUDGET)


@pytest.mark.parametrize(
    ("attack", "norm"),
    [
        (PGD(steps=5), Norm.LINF),
        (PGD(steps=5, restarts=2), Norm.L2),
        (MIM(steps=5), Norm.LINF),
        (APGDCE(steps=5), Norm.L2),
        (Square(queries=5), Norm.LINF),
        (SPSA(steps=2, samples=4), Norm.LINF),
        (CarliniWagnerL2(steps=5, binary_search_steps=2), Norm.L2),
        (Ensemble(members=(Noise(),)), Norm.LINF),
        (Noise(draws=2), Norm.L2),
    ],
    ids=lambda value: value.name if isinstance(value, Attack) else str(value),
)
def test_logits_that_become_nan_under_attack_are_an_error_not_a_robust_model(attack: Attack, norm: Norm) -> None:
    """A comparison with NaN is false: an image would be taken for one that no attack can break."""
    clean = np.repeat(IMAGES[:1] / np.float32(2) + np.float32(0.25), 4, axis=0)
    target = undefined_on(linear_target(3), lambda x: tf.reduce_max(tf.abs(x - clean[:1]), axis=[1, 2, 3]) > 1e-4)
    linear = linear_target(3)
    labels = np.asarray(linear.logits(linear.weights, clean)).argmax(axis=1)

    with pytest.raises(AttackError, match=r"NaN or infinite under attack|not finite"):
        attack_images(attack, target, clean, labels, SEEDS[:4], threat=ThreatModel(40, norm), batch_size=4)


def test_a_transfer_needs_its_surrogate(few: Victim) -> None:
    with pytest.raises(UserError, match=f"no model 'vanilla'.*given: {SURROGATE}"):
        few.attacked_pixels(Transfer(), BUDGET)
    alone = dataclasses.replace(few, target=dataclasses.replace(few.target, surrogates={}))
    with pytest.raises(UserError, match="given: none"):
        alone.attacked_pixels(Transfer(), BUDGET)


def test_images_of_many_batches_come_back_in_their_places(few: Victim) -> None:
    """Only so many images are held as floats at a time."""
    count = 16 * 2 + 5  # a batch of two images: more than one block
    index = np.arange(count) % len(few.labels)
    found = few.take(index).attacked_pixels(FGSM(), BUDGET, batch_size=2)

    np.testing.assert_array_equal(found, few.attacked_pixels(FGSM(), BUDGET, batch_size=32)[index])
    images: npt.NDArray[np.float32] = few.take(index).attacked_images(FGSM(), BUDGET, batch_size=2)
    np.testing.assert_allclose(images, few.attacked_images(FGSM(), BUDGET, batch_size=32)[index], atol=1e-6)
