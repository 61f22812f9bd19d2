"""Universal perturbations and transferred examples."""

import dataclasses

import numpy as np
import pytest

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.cleverhans.bim import BIM
from dermrobust.attacks.engine import fit_universal
from dermrobust.attacks.noise import Noise
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Images, Norm, Pixels, ThreatModel
from dermrobust.attacks.transfer import Transfer
from dermrobust.attacks.universal import FixedPerturbation, Universal
from tests.attacks.conftest import SURROGATE, Victim
from tests.small_networks import linear_target

BUDGETS = {Norm.LINF: ThreatModel(16), Norm.L2: ThreatModel(160, Norm.L2)}
every_norm = pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])


def fitted(victim: Victim, threat: ThreatModel, attack: Universal | None = None) -> FixedPerturbation:
    return fit_universal(
        attack or Universal(passes=3),
        victim.target,
        victim.pixels,
        victim.labels,
        victim.seeds,
        threat=threat,
        batch_size=32,
    )


@every_norm
def test_all_images_are_moved_by_the_same_perturbation(norm: Norm, victim: Victim) -> None:
    found = victim.attacked_images(Universal(passes=2), BUDGETS[norm], batch_size=32)

    shift = found.astype(np.float64) - victim.images
    inside = (found > 0) & (found < 1)
    spread = np.where(inside, shift, np.nan)
    assert np.nanmax(np.nanmax(spread, axis=0) - np.nanmin(spread, axis=0)) < 1e-6
    assert np.abs(shift).max() > 0


@every_norm
def test_the_perturbation_itself_is_in_the_budget(norm: Norm, victim: Victim) -> None:
    fixed = fitted(victim.take(slice(48)), BUDGETS[norm])

    assert fixed.perturbation.shape == victim.images.shape[1:]
    assert fixed.perturbation.dtype == np.float32
    assert np.linalg.norm(fixed.perturbation.ravel(), norm.order) <= BUDGETS[norm].radius + 1e-6


@every_norm
def test_it_misleads_more_images_than_noise_does_also_those_that_it_was_not_found_on(
    norm: Norm, victim: Victim
) -> None:
    fixed, others = fitted(victim.take(slice(64)), BUDGETS[norm]), victim.take(slice(64, None))

    def errors(attack: Attack) -> float:
        return float(1 - others.robust(others.attacked_pixels(attack, BUDGETS[norm], batch_size=32)).mean())

    assert errors(fixed) > errors(Noise()) + 0.15


def test_it_is_found_with_the_same_bytes_again(few: Victim) -> None:
    first, again = (fitted(few, BUDGETS[Norm.LINF]) for _ in range(2))

    np.testing.assert_array_equal(first.perturbation, again.perturbation)


def test_it_leads_to_a_goal(victim: Victim) -> None:
    others = victim.take(np.flatnonzero(victim.labels != 3))
    fixed = fitted(others, ThreatModel(40), Universal(passes=3, goal=3))

    predicted = others.predicted(others.attacked_pixels(fixed, ThreatModel(40), batch_size=32))

    assert (predicted == 3).mean() > 0.5


def test_the_best_pass_is_kept_and_enough_is_enough(few: Victim) -> None:
    def error_rate(passes: int, success_rate: float = 1.0) -> float:
        fixed = fitted(few, BUDGETS[Norm.LINF], Universal(passes=passes, success_rate=success_rate))
        return float(1 - few.robust(few.attacked_pixels(fixed, BUDGETS[Norm.LINF])).mean())

    assert error_rate(6) >= error_rate(1)
    assert error_rate(1, 0.05) == error_rate(6, 0.05)  # nothing is gained after the first pass that is enough


def perturbed(attack: Attack, victim: Victim, threat: ThreatModel, **changes: object) -> Images:
    return attack.perturb(victim.problem(threat, **changes))


@every_norm
@pytest.mark.parametrize("stop", [False, True])
def test_transferred_images_are_those_that_the_other_model_is_attacked_with(
    norm: Norm, stop: bool, few: Victim
) -> None:
    inner = BIM(steps=4)
    other = few.target.surrogates[SURROGATE]
    expected = inner.perturb(dataclasses.replace(few.problem(BUDGETS[norm]), target=other))

    found = perturbed(Transfer(source=SURROGATE, crafted_with=inner), few, BUDGETS[norm], stop_at_success=stop)

    np.testing.assert_array_equal(found, expected)
    assert (found != perturbed(inner, few, BUDGETS[norm])).any()


def test_the_model_under_attack_does_not_change_what_is_transferred(few: Victim) -> None:
    unrelated = linear_target(7, image_size=8)
    others = dataclasses.replace(
        few, target=Target(unrelated.logits, unrelated.weights, surrogates=few.target.surrogates)
    )
    attack = Transfer(source=SURROGATE, crafted_with=BIM(steps=3))

    def stored(victim: Victim) -> Pixels:
        return victim.attacked_pixels(attack, BUDGETS[Norm.LINF], batch_size=16)

    np.testing.assert_array_equal(stored(few), stored(others))
