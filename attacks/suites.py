"""Suites: attacks that belong together, by one name."""

from __future__ import annotations

from collections.abc import Mapping

from attacks.attack import Attack
from attacks.auto import Auto
from attacks.cleverhans.fgsm import FGSM
from attacks.cleverhans.mim import MIM
from attacks.cleverhans.pgd import PGD
from attacks.noise import Noise

SUITES: Mapping[str, Mapping[str, Attack]] = {
    "paper": {"fgsm": FGSM(), "pgd": PGD(steps=20)},
    "standard": {"noise": Noise(), "fgsm": FGSM(), "pgd": PGD(steps=20, restarts=3), "mim": MIM(steps=20)},
    "auto": {"auto": Auto()},
}
"""Each suite as attacks by the name that they have in results."""
