"""Table of all attacks with fast parameters; the tests that all attacks share go through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dermrobust.attacks.apgd import APGDCE, APGDDLR, APGDTargeted
from dermrobust.attacks.attack import Attack, TargetedAttack
from dermrobust.attacks.auto import Auto
from dermrobust.attacks.auto_rand import AutoRand
from dermrobust.attacks.auto_screened import AutoScreened
from dermrobust.attacks.autoattack import AutoPlus, AutoStandard
from dermrobust.attacks.cleverhans.bim import BIM
from dermrobust.attacks.cleverhans.carlini_wagner import CarliniWagnerL2
from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.cleverhans.mim import MIM
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.cleverhans.spsa import SPSA
from dermrobust.attacks.ead import EAD
from dermrobust.attacks.ensemble import Ensemble
from dermrobust.attacks.escalated import Escalated
from dermrobust.attacks.fab import FAB, FABTargeted
from dermrobust.attacks.hop_skip_jump import HopSkipJump
from dermrobust.attacks.minimal import Minimal
from dermrobust.attacks.noise import Noise
from dermrobust.attacks.sparse_rs import SparseRS
from dermrobust.attacks.square import Square
from dermrobust.attacks.threat import Norm, ThreatModel
from dermrobust.attacks.transfer import Transfer
from dermrobust.attacks.universal import Universal
from tests.attacks.conftest import SURROGATE


@dataclass(frozen=True)
class Entry:
    """An attack and what tests expect of it.

    Attributes:
        attack: attack with fast parameters.
        breaks: least fraction of images that it makes the tiny network err on; 0 for a control.
        images: number of images in a test.
        alone: whether the result of an image depends on that image alone.
        leads: least fraction of images that reach a goal under a wide budget.
    """

    attack: Attack
    breaks: float = 0.6
    images: int = 24
    alone: bool = True
    leads: float = 0.5


TABLE = {
    "fgsm": Entry(FGSM(), leads=0.15),
    "bim": Entry(BIM(steps=5)),
    "pgd": Entry(PGD(steps=5, restarts=2)),
    "mim": Entry(MIM(steps=5)),
    "cw_l2": Entry(CarliniWagnerL2(steps=30, binary_search_steps=4, learning_rate=0.1)),
    "spsa": Entry(SPSA(steps=10, samples=32, learning_rate=0.05), images=5),
    "apgd_ce": Entry(APGDCE(steps=10, restarts=2)),
    "apgd_dlr": Entry(APGDDLR(steps=10)),
    "apgd_t": Entry(APGDTargeted(steps=8, targets=2)),
    "square": Entry(Square(queries=200), breaks=0.3, leads=0.1),
    "sparse_rs": Entry(SparseRS(queries=100), breaks=0.5, leads=0.15),
    "fab": Entry(FAB(steps=5)),
    "fab_t": Entry(FABTargeted(steps=5, targets=2)),
    "ead": Entry(EAD(steps=30, binary_search_steps=4, learning_rate=0.05, initial_const=0.1, beta=0.005)),
    "hop_skip_jump": Entry(HopSkipJump(queries=1200, initial_samples=50), breaks=0.3, images=8),
    "auto": Entry(Auto(steps=5, targets=2, queries=20)),
    "auto_screened": Entry(AutoScreened(steps=5, targets=2, queries=20, screening_steps=3, screening_queries=5)),
    "auto_standard": Entry(AutoStandard(steps=3, queries=10)),
    "auto_plus": Entry(AutoPlus(steps=2, queries=10), images=8),
    "auto_rand": Entry(AutoRand(steps=5, draws=1, evaluations=1)),
    "escalated": Entry(Escalated(steps=5, restarts=1, draws=1, samples=0, queries=0, evaluations=1)),
    "minimal": Entry(Minimal(steps=3, targets=1, confirmed_by=APGDCE(steps=4))),
    "ensemble": Entry(Ensemble(members=(Noise(), FGSM(), BIM(steps=3)))),
    "universal": Entry(Universal(passes=3), breaks=0.25, alone=False, leads=0.3),
    "noise": Entry(Noise(draws=2), breaks=0),
    "transfer": Entry(Transfer(source=SURROGATE, crafted_with=BIM(steps=5)), breaks=0),
}
BUDGETS = {
    Norm.LINF: ThreatModel.parse("linf:16/255"),
    Norm.L2: ThreatModel.parse("l2:0.6"),
    Norm.L1: ThreatModel.parse("l1:4"),
    Norm.L0: ThreatModel.parse("l0:6"),
}
WIDE_BUDGETS = {
    Norm.LINF: ThreatModel.parse("linf:48/255"),
    Norm.L2: ThreatModel.parse("l2:2"),
    Norm.L1: ThreatModel.parse("l1:12"),
    Norm.L0: ThreatModel.parse("l0:16"),
}
TARGETED = [name for name, entry in TABLE.items() if isinstance(entry.attack, TargetedAttack)]
# Under L1 the others take the same step as these.
UNDER_L1 = ("apgd_ce", "auto", "ead", "noise")
CASES = [
    (name, norm)
    for name, entry in TABLE.items()
    for norm in entry.attack.norms
    if norm is not Norm.L1 or name in UNDER_L1
]

every_attack = pytest.mark.parametrize("name", TABLE)
every_case = pytest.mark.parametrize(("name", "norm"), CASES, ids=[f"{name}-{norm}" for name, norm in CASES])
"""Every attack under every norm that it declares."""


def lengths(shift: npt.NDArray[Any], norm: Norm) -> npt.NDArray[Any]:
    """The norm of perturbations [batch, height, width, 3]; for L0 the number of pixels that change."""
    if norm is Norm.L0:
        return np.asarray((shift != 0).any(axis=-1).sum(axis=(1, 2)))
    return np.asarray(np.linalg.norm(shift.reshape(len(shift), -1), norm.order, axis=1))
