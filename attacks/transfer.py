"""Transfer: adversarial examples that were crafted on another model."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny, field_validator

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import Images


class Transfer(Attack):
    """The images that an attack makes on another model, handed to this one.

    It knows nothing of the model under attack: robustness against it alone is no robustness (Athalye et al. 2018,
    arXiv 1802.00420). Beside an attack through the model's own gradients it tells how much of a static defence is left.
    """

    iterative: ClassVar[bool] = True

    attack: Literal["transfer"] = "transfer"
    source: str = Field("vanilla", min_length=1, description="The model that the examples are crafted on.")
    crafted_with: SerializeAsAny[Attack] = Field(
        default_factory=lambda: PGD(steps=20), description="The attack on that model, with its parameters."
    )

    @field_validator("crafted_with", mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        from dermrobust.attacks.registry import read_attack

        return read_attack(value)

    @property
    def sources(self) -> frozenset[str]:
        """See `Attack.sources`."""
        return self.crafted_with.sources | {self.source}

    @property
    def parts(self) -> tuple[Attack, ...]:
        """See `Attack.parts`."""
        return (self.crafted_with,)

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`; the whole budget is used, since the source errs earlier than the target.

        Raises:
            UserError: there is no model of that name.
        """
        if self.source not in problem.target.surrogates:
            known = ", ".join(problem.target.surrogates) or "none"
            raise UserError(f"transfer: there is no model '{self.source}' to craft on; given: {known}")
        source = problem.target.surrogates[self.source]
        return self.crafted_with.perturb(dataclasses.replace(problem, target=source, stop_at_success=False))
