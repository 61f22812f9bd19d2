"""Attacks that a claim of robustness must withstand beyond those of the evaluation.

They follow the checklist of Carlini et al. (2019, arXiv 1902.06705).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dermrobust.attacks.apgd import APGDCE
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.cleverhans.spsa import SPSA
from dermrobust.attacks.kinds import WHITE_BOX, Kind, named
from dermrobust.attacks.noise import Noise
from dermrobust.attacks.sparse_rs import SparseRS
from dermrobust.attacks.square import Square
from dermrobust.attacks.threat import Norm, ThreatModel
from dermrobust.components.adversarial_shard import Crafting
from dermrobust.components.evaluation.params import ProbeParams, transfer_probe
from dermrobust.components.evaluation.probes import LARGE, MORE_RESTARTS, MORE_STEPS

_LARGE_LEVELS = 64.0
"""A quarter of the range: under such a budget no image can be recognized."""
_LARGE_SHARE = 0.5
"""Share of the pixels of a large L0 budget; the attacker chooses them and their colors."""


@dataclass(frozen=True)
class Probe:
    """An attack on images that withstood the evaluation.

    Attributes:
        name: kind of the probe.
        crafting: the attack and its budget.
        against: names of the evaluated attacks that an image must have withstood to be tried.
        images: number of images of the split that are tried, at most.
        source: model that the examples were crafted on already; None: they are crafted on the model itself.
    """

    name: str
    crafting: Crafting
    against: tuple[str, ...]
    images: int
    source: str | None = None


def planned_probes(params: ProbeParams, model: str, values: int) -> Iterator[Probe]:
    """Yield all probes of a model, in the order of the results.

    Args:
        params: parameters of the component.
        model: fingerprint of the model.
        values: number of values of an image: height * width * 3.
    """
    images = params.images
    white_box = tuple(named(params.attacks, *WHITE_BOX))
    # A black box is evaluated without white-box attacks; then what withstood all attacks is tried.
    against = white_box or tuple(params.attacks)

    def crafting(name: str, attack: Attack, threat: ThreatModel) -> Crafting:
        return Crafting(name, attack, threat, params.batch_size, params.seed, model, stop_at_success=True)

    for threat in params.epsilons:
        for name, attack in params.attacks.items():
            stronger = attack.stronger()
            # An attack has converged if neither more steps nor another random start break any further image.
            if attack.kind is Kind.ITERATIVE and stronger is not None:
                yield Probe(MORE_STEPS, crafting(name, stronger, threat), against, images)
                again = dataclasses.replace(crafting(name, attack, threat), seed=params.seed + 1)
                yield Probe(MORE_RESTARTS, again, against, images)
        # Attacks without gradients that break more images than gradient attacks show that gradients are masked
        # (Athalye et al. 2018, arXiv 1802.00420).
        others: dict[str, Attack] = {"noise": Noise(draws=params.noise_draws)}
        if params.queries:
            searches = (Square(queries=params.queries), SparseRS(queries=params.queries))
            others |= {search.name: search for search in searches if threat.norm in search.norms}
        for name, attack in others.items():
            yield Probe(str(attack.kind), crafting(name, attack, threat), against, images)
        for source in params.transferred:
            name, attack = transfer_probe(source, threat.norm)
            yield Probe(str(Kind.TRANSFER), crafting(name, attack, threat), against, images, source)
        if threat.norm is Norm.LINF and params.spsa_images:
            spsa = crafting("spsa", SPSA(steps=20, samples=64), threat)
            yield Probe(str(Kind.BLACK_BOX), spsa, against, params.spsa_images)
    budget = large_budget(params.epsilons[0].norm, values)
    # A model without gradients is evaluated only with attacks that need none. Under L1 there is none but noise.
    queries = max(1, params.queries)
    for large in (PGD(steps=20), APGDCE(steps=20), Square(queries=queries), SparseRS(queries=queries)):
        if budget.norm in large.norms and (white_box or not large.needs_gradients):
            yield Probe(LARGE, crafting(large.name, large, budget), (), images)
            break


def large_budget(norm: Norm, values: int) -> ThreatModel:
    """Return a budget under which no image is recognizable: a quarter of the range in each of an image's values.

    For L0 it is half of the pixels.
    """
    if norm is Norm.L0:
        return ThreatModel(max(1, int(_LARGE_SHARE * values / 3)), norm)
    longer = {Norm.LINF: 1.0, Norm.L2: float(np.sqrt(values)), Norm.L1: values}[norm]
    return ThreatModel(_LARGE_LEVELS * longer, norm)
