"""`auto_screened`: the outcome of `auto`, at a fraction of its evaluations, also where gradients are masked."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from dermrobust.attacks.auto import Auto
from dermrobust.attacks.auto_screened import AutoScreened
from dermrobust.attacks.square import Square
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Norm, ThreatModel
from dermrobust.models.classifier import attack_target
from tests.attacks.conftest import Victim, seeds_of
from tests.components.escalate.traps import AFTER, MASKING, faint_images, fragile
from tests.small_networks import counting_images

ATTACK = AutoScreened(steps=20, queries=300, screening_steps=5, screening_queries=100)
BUDGETS = (ThreatModel(8), ThreatModel(80, Norm.L2))


def robust(attack: Auto | AutoScreened, victim: Victim, threat: ThreatModel) -> list[bool]:
    return list(victim.robust(victim.attacked_images(attack, threat, batch_size=32)))


@pytest.mark.parametrize("threat", BUDGETS, ids=str)
def test_it_leaves_standing_what_auto_leaves_standing(threat: ThreatModel, victim: Victim) -> None:
    standing = robust(ATTACK, victim, threat)

    assert standing == robust(ATTACK.stronger(), victim, threat)
    assert 0.1 < np.mean(standing) < 0.9


def test_images_far_from_being_misclassified_are_not_attacked_at_full_length(victim: Victim) -> None:
    def evaluations(attack: Auto | AutoScreened) -> int:
        target, images = counting_images(victim.target)
        attack.perturb(dataclasses.replace(victim.problem(ThreatModel(2), batch_size=32), target=target))
        return images()

    assert evaluations(ATTACK) < evaluations(ATTACK.stronger()) / 2


@tf.custom_gradient
def turned(images: tf.Tensor) -> Any:
    """The images, with the gradient of other pixels."""
    return tf.identity(images), lambda upstream: tf.reverse(upstream, [1, 2])


def trapped(trap: str) -> Target:
    """The fragile network between layers that hide its gradients."""
    target = attack_target(fragile())
    layers = {**MASKING, **AFTER, "reversed": turned}
    before, after = (layers[trap] if trap in group else tf.identity for group in ((*MASKING, "reversed"), AFTER))

    def logits(weights: Any, images: Any) -> Any:
        return after(target.logits(weights, before(images)))

    return dataclasses.replace(target, logits=logits)


@pytest.mark.parametrize("trap", ["shattered", "inverted", "reversed", "scaled"])
def test_where_gradients_are_masked_it_leaves_no_more_standing_than_auto(trap: str) -> None:
    """The gradients of the short form are not taken for evidence."""
    pixels, labels = faint_images(48, seed=5)
    victim = Victim(fragile(), trapped(trap), pixels, labels, seeds_of(len(labels)))

    def standing(attack: Auto | AutoScreened) -> int:
        found = victim.attacked_images(attack, ThreatModel(8), batch_size=48)
        logits = np.asarray(victim.target.logits(victim.target.weights, tf.constant(found)))
        return int((logits.argmax(axis=1) == labels).sum())

    assert standing(ATTACK) <= standing(ATTACK.stronger())


def test_what_the_queries_break_stays_broken(victim: Victim, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the full form would not find it again."""
    threat = ThreatModel(16)
    stuck = Victim(victim.network, flat(victim.target), victim.pixels, victim.labels, victim.seeds)
    monkeypatch.setattr(Auto, "perturb", lambda self, problem: problem.images.copy())

    standing = robust(ATTACK, stuck, threat)

    searched = stuck.attacked_images(Square(queries=100), threat, batch_size=32, stop_at_success=True)
    assert standing == list(stuck.robust(searched))
    assert 0 < np.mean(standing) < 1


def flat(target: Target) -> Target:
    """A classifier whose gradients are zero."""
    return dataclasses.replace(target, logits=lambda weights, images: target.logits(weights, tf.stop_gradient(images)))


def test_the_attack_that_tells_whether_it_sufficed_is_the_full_form() -> None:
    assert ATTACK.stronger() == Auto(steps=20, queries=300)
    assert AutoScreened(targets=3).stronger() == Auto(targets=3)
