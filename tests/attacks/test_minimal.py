"""Robust radii: one search tells at every budget what an attack at that budget tells."""

import numpy as np
import pytest

from dermrobust.attacks.apgd import APGDCE
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.ensemble import Ensemble
from dermrobust.attacks.fab import FABTargeted
from dermrobust.attacks.minimal import Minimal
from dermrobust.attacks.noise import Noise
from dermrobust.attacks.threat import Norm, ThreatModel
from tests.attacks.conftest import Victim

LARGEST = ThreatModel(12)
ATTACK = APGDCE(steps=15)


def test_the_curve_is_that_of_independent_attacks_at_each_budget(victim: Victim) -> None:
    found = victim.attacked_pixels(Minimal(steps=15, confirmed_by=ATTACK), LARGEST, batch_size=32)

    distance = LARGEST.distance(found.astype(np.float32), victim.pixels.astype(np.float32))
    assert (distance == np.round(distance)).all()  # whole levels
    # What is stored holds: every image within the budget is misclassified as it is stored.
    radius = np.where(victim.robust(found), np.inf, distance)
    for epsilon in (2, 4, 7, 10):
        alone = victim.robust(victim.attacked_pixels(ATTACK, ThreatModel(epsilon), batch_size=32, stop_at_success=True))
        # FAB finds some that this short attack does not.
        assert not (~alone & (radius > epsilon)).any()
        assert (radius > epsilon).mean() >= alone.mean() - 0.05
    assert 2 < np.median(radius) < 10


@pytest.mark.parametrize("attack", [Noise(), ATTACK], ids=lambda attack: attack.name)
def test_a_stronger_attack_to_confirm_never_leaves_a_larger_radius(attack: Attack, few: Victim) -> None:
    threat = ThreatModel(250, Norm.L2)

    def radii(confirmed_by: Attack) -> np.ndarray:
        found = few.attacked_images(Minimal(steps=4, targets=1, confirmed_by=confirmed_by), threat)
        return np.where(few.robust(found), np.inf, threat.distance(found, few.images))

    both = radii(Ensemble(members=(attack, FABTargeted(steps=20, targets=2))))

    assert (both <= radii(attack) * 1.05).all()


def test_it_is_made_stronger_with_the_attack_that_confirms() -> None:
    assert Minimal(steps=5, confirmed_by=ATTACK).stronger() == Minimal(steps=10, confirmed_by=APGDCE(steps=30))
    assert Minimal(steps=5, confirmed_by=Noise()).stronger() == Minimal(steps=10, confirmed_by=Noise())
