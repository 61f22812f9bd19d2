"""What every attack is: a named set of parameters that turns images into adversarial ones."""

from __future__ import annotations

import abc
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import Images, Norm, ThreatModel

Goal = Annotated[int, Field(ge=0)] | Literal["least_likely"] | None


class Attack(BaseModel, abc.ABC):
    """An attack; its fields are its parameters.

    Attributes:
        norms: the threat models that the algorithm is defined for.
        iterative: it takes more than one step.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF, Norm.L2)
    iterative: ClassVar[bool] = False

    @property
    def sources(self) -> frozenset[str]:
        """The names of other models that the attack is crafted on; see `Target.surrogates`."""
        return frozenset()

    @property
    def parts(self) -> tuple[Attack, ...]:
        """The attacks that this one runs: they must be defined for its problems, and have no goal of their own."""
        return ()

    @property
    def name(self) -> str:
        """The name by which a config calls the attack."""
        return str(getattr(self, "attack", type(self).__name__))

    def check_threat(self, threat: ThreatModel) -> None:
        """Refuse a threat model that the algorithm, or one that it runs, is not defined for.

        Raises:
            UserError: which, and what it is defined for.
        """
        if threat.norm not in self.norms:
            raise UserError(f"{self.name} is defined for {', '.join(self.norms)} only, not for {threat.norm}")
        for part in self.parts:
            if isinstance(part, TargetedAttack) and part.goal is not None:
                raise UserError(f"{self.name} leads to no goal, but its {part.name} has one: {part.goal}")
            part.check_threat(threat)

    def check_classes(self, count: int) -> None:
        """Refuse a model that has too few classes for the attack's parameters.

        Raises:
            UserError: what does not fit.
        """
        for part in self.parts:
            part.check_classes(count)

    @abc.abstractmethod
    def perturb(self, problem: Problem) -> Images:
        """Return adversarial images: float32 [count, height, width, 3], inside the threat model of the clean ones.

        Call it through `dermrobust.attacks.engine`, which checks what goes in and what comes out.
        """


class TargetedAttack(Attack):
    """An attack whose algorithm can also lead to a class that the attacker chooses."""

    goal: Goal = Field(
        None,
        description="What images are to be taken for: a class index, or 'least_likely' (the class with the smallest "
        "logit on the clean image); null: anything but the true class. Images of that class are left as they are.",
    )

    def check_classes(self, count: int) -> None:
        """See `Attack.check_classes`."""
        if isinstance(self.goal, int) and self.goal >= count:
            raise UserError(f"{self.name}: goal {self.goal} is no class; the model has {count} (0 to {count - 1})")
        super().check_classes(count)
