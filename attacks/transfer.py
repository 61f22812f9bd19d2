"""Transfer attack."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from pydantic import Field

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.selection import AnyAttack
from dermrobust.attacks.threat import Images, Norm


class Transfer(Attack):
    """Adversarial examples crafted on another model.

    They use nothing of the model under attack, so accuracy under transfer alone is no evidence of robustness (Athalye
    et al. 2018, arXiv 1802.00420). Next to a white-box attack they show how much a static defense still protects.
    """

    kind: ClassVar[Kind] = Kind.TRANSFER

    attack: Literal["transfer"] = "transfer"
    source: str = Field("vanilla", min_length=1, description="Name of the model that examples are crafted on.")
    crafted_with: AnyAttack = Field(
        default_factory=lambda: PGD(steps=20), description="Attack on that model, with its parameters."
    )

    @property
    def norms(self) -> tuple[Norm, ...]:
        """See `Attack.norms`; those of the attack that crafts the examples."""
        return self.crafted_with.norms

    @property
    def sources(self) -> frozenset[str]:
        """See `Attack.sources`."""
        return self.crafted_with.sources | {self.source}

    @property
    def parts(self) -> tuple[Attack, ...]:
        """See `Attack.parts`."""
        return (self.crafted_with,)

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`.

        Raises:
            UserError: there is no model of that name.
        """
        if self.source not in problem.target.surrogates:
            known = ", ".join(problem.target.surrogates) or "none"
            raise UserError(f"transfer: there is no model '{self.source}' to craft on; given: {known}")
        source = problem.target.surrogates[self.source]
        # The whole budget is used: the source errs before the target does, so stopping there would transfer less.
        return self.crafted_with.perturb(dataclasses.replace(problem, target=source, stop_at_success=False))
