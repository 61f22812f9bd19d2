"""Images need not be square, and large ones do not need more memory."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from dermrobust.attacks import engine
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.cleverhans.bim import BIM
from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.engine import attack_images, attack_pixels, to_images
from dermrobust.attacks.noise import Noise
from dermrobust.attacks.problem import Labels, Problem
from dermrobust.attacks.square_step import sides
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Images, Norm, Pixels, ThreatModel
from tests.attacks.attack_table import TABLE, every_case
from tests.attacks.conftest import SURROGATE, seeds_of

HEIGHT, WIDTH = SHAPE = (24, 40)
BUDGETS = {Norm.LINF: ThreatModel(16), Norm.L2: ThreatModel(200, Norm.L2)}
BUDGETS |= {Norm.L1: ThreatModel.parse("l1:200"), Norm.L0: ThreatModel(200, Norm.L0)}
CLASSES = 5
NOT_BREAKING = ("noise", "transfer")


def logits(weights: Any, images: Any) -> Any:
    """Linear in the image, so that every pixel matters and its gradient is known."""
    return tf.tensordot(images - 0.5, weights[0], axes=3)


def rectangular(shape: tuple[int, int] = SHAPE) -> tuple[Target, Pixels, Labels]:
    """A classifier of rectangular images, and images with the labels that it gives them."""
    random = np.random.default_rng(0)
    first, second = (tf.constant(random.normal(0, 0.05, (*shape, 3, CLASSES)), tf.float32) for _ in range(2))
    target = Target(logits, (first,), surrogates={SURROGATE: Target(logits, (second,))})
    pixels = random.integers(0, 256, (6, *shape, 3), np.uint8)
    return target, pixels, predicted(target, pixels)


def predicted(target: Target, pixels: Pixels) -> Labels:
    return np.asarray(target.logits(target.weights, pixels.astype(np.float32) / 255)).argmax(axis=1)


@every_case
def test_every_attack_takes_images_that_are_not_square(name: str, norm: Norm) -> None:
    target, pixels, labels = rectangular()
    attack, threat = TABLE[name].attack, BUDGETS[norm]

    found = attack_pixels(attack, target, pixels, labels, seeds_of(len(labels)), threat=threat, batch_size=4)

    assert found.shape == pixels.shape
    assert threat.contains(found, pixels).all()
    changed = (found != pixels).any(axis=(0, 3))
    for rows in np.array_split(changed, 4):
        for part in np.array_split(rows, 4, axis=1):
            assert part.any(), "a part of the images is out of the attack's reach"
    if name not in NOT_BREAKING:
        assert (predicted(target, found) != labels).any()


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
@pytest.mark.parametrize("attack", [FGSM(), BIM(steps=3)], ids=lambda attack: attack.name)
def test_height_and_width_have_the_same_role(attack: Attack, norm: Norm) -> None:
    target, pixels, labels = rectangular()
    turned = Target(logits, (tf.transpose(target.weights[0], [1, 0, 2, 3]),))
    images = to_images(pixels)
    seeds = seeds_of(len(labels))

    found = attack_images(attack, target, images, labels, seeds, threat=BUDGETS[norm])
    other = attack_images(attack, turned, images.transpose(0, 2, 1, 3).copy(), labels, seeds, threat=BUDGETS[norm])

    np.testing.assert_allclose(found, other.transpose(0, 2, 1, 3), atol=1e-5)


@pytest.mark.parametrize("shape", [(512, 512), (512, 300), (300, 512), (24, 40), (2, 9), (1, 9)])
def test_squares_fit_into_the_shorter_side(shape: tuple[int, int]) -> None:
    found = sides((*shape, 3), 500, 0.8)

    assert found.min() >= 1
    assert found.max() <= max(min(shape) - 1, 1)


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_an_image_of_512_pixels_stays_in_its_budget(norm: Norm) -> None:
    target, pixels, labels = rectangular((512, 384))
    threat = ThreatModel(4) if norm is Norm.LINF else ThreatModel.parse("l2:2")

    found = attack_pixels(
        BIM(steps=2), target, pixels[:2], labels[:2], seeds_of(2), threat=threat, batch_size=2, stop_at_success=True
    )

    assert threat.contains(found, pixels[:2]).all()
    assert (predicted(target, found) != labels[:2]).all()


class Recording(Noise):
    """Noise that remembers how many images it got at once."""

    seen: list[int]

    def perturb(self, problem: Problem) -> Images:
        self.seen.append(len(problem.images))
        return super().perturb(problem)


@pytest.mark.parametrize(
    ("limit", "blocks"),
    [(2**28, [6]), (4 * HEIGHT * WIDTH * 3 * 4, [4, 2]), (4 * HEIGHT * WIDTH * 3 * 4 - 1, [2, 2, 2]), (1, [2, 2, 2])],
)
def test_large_images_are_attacked_a_few_at_a_time(
    limit: int, blocks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    target, pixels, labels = rectangular()
    monkeypatch.setattr(engine, "_BYTES_AT_ONCE", limit)
    images = to_images(pixels)
    stored, unrounded = Recording(seen=[]), Recording(seen=[])

    found = attack_pixels(stored, target, pixels, labels, seeds_of(6), threat=ThreatModel(4), batch_size=2)
    attack_images(unrounded, target, images, labels, seeds_of(6), threat=ThreatModel(4), batch_size=2)

    assert stored.seen == unrounded.seen == blocks
    whole = attack_pixels(Noise(), target, pixels, labels, seeds_of(6), threat=ThreatModel(4), batch_size=6)
    np.testing.assert_array_equal(found, whole)
