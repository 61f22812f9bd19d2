"""Suites: attacks that belong together, by one name."""

from __future__ import annotations

from collections.abc import Mapping

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.auto import Auto
from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.cleverhans.mim import MIM
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.noise import Noise

SUITES: Mapping[str, Mapping[str, Attack]] = {
    "paper": {"fgsm": FGSM(), "pgd": PGD(steps=20)},
    "standard": {"noise": Noise(), "fgsm": FGSM(), "pgd": PGD(steps=20, restarts=3), "mim": MIM(steps=20)},
    "auto": {"auto": Auto()},
}
"""Each suite as attacks by the name that they have in results."""
