"""Fast gradient sign method."""

from __future__ import annotations

from typing import Literal

from attacks.attack import Attack, Labels, Seeds
from attacks.target import Target
from attacks.threat import Images, ThreatModel


class FGSM(Attack):
    """One step of the size of the budget along the gradient's sign (Goodfellow et al. 2015, arXiv 1412.6572)."""

    attack: Literal["fgsm"] = "fgsm"

    def perturb(self, target: Target, images: Images, labels: Labels, threat: ThreatModel, seeds: Seeds) -> Images:
        """See `Attack.perturb`; deterministic, so the seeds are not used."""
        from attacks.cleverhans.gradient_step import gradient_steps

        del seeds
        radius = threat.radius
        return gradient_steps(target, images, images, labels, radius=radius, step_size=radius, steps=1)
