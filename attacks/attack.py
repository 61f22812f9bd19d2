"""What every attack is: a named set of parameters that turns images into adversarial ones."""

from __future__ import annotations

import abc
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from attacks.problem import Labels, Problem, Seeds
from attacks.threat import Images, Norm

__all__ = ["Attack", "Goal", "Labels", "Seeds", "TargetedAttack"]

Goal = Annotated[int, Field(ge=0)] | Literal["least_likely"] | None


class Attack(BaseModel, abc.ABC):
    """An attack; its fields are its parameters.

    Attributes:
        norms: the threat models that the algorithm is defined for.
        iterative: it takes more than one step.
        black_box: it sees the classifier's answers, not its gradients.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF, Norm.L2)
    iterative: ClassVar[bool] = False
    black_box: ClassVar[bool] = False

    @property
    def sources(self) -> frozenset[str]:
        """The names of other models that the attack is crafted on; see `Target.surrogates`."""
        return frozenset()

    @property
    def parts(self) -> tuple[Attack, ...]:
        """The attacks that this one runs: they must be defined for its problems, and have no goal of their own."""
        return ()

    @abc.abstractmethod
    def perturb(self, problem: Problem) -> Images:
        """Return adversarial images: float32 [count, height, width, 3], inside the threat model of the clean ones.

        Call it through `attacks.engine`, which checks what goes in and what comes out.
        """


class TargetedAttack(Attack):
    """An attack whose algorithm can also lead to a class that the attacker chooses."""

    goal: Goal = Field(
        None,
        description="What images are to be taken for: a class index, or 'least_likely' (the class with the smallest "
        "logit on the clean image); null: anything but the true class. Images of that class are left as they are.",
    )
