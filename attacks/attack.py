"""Base classes of attacks."""

from __future__ import annotations

import abc
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import Images, Norm, ThreatModel

Goal = Annotated[int, Field(ge=0)] | Literal["least_likely"] | None


class Attack(BaseModel, abc.ABC):
    """An attack; its fields are its parameters.

    A subclass declares its traits as class variables (`kind: ClassVar[Kind] = Kind.ITERATIVE`). They are properties
    here because an attack that runs others derives its own from theirs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    @abc.abstractmethod
    def kind(self) -> Kind:
        """Kind of the attack; every attack declares it."""

    @property
    def norms(self) -> tuple[Norm, ...]:
        """Norms that the algorithm is defined for."""
        return (Norm.LINF, Norm.L2)

    @property
    def needs_gradients(self) -> bool:
        """Whether the attack differentiates the model under attack."""
        return self.kind in (Kind.ITERATIVE, Kind.SINGLE_STEP, Kind.UNIVERSAL)

    @property
    def sources(self) -> frozenset[str]:
        """Names of other models that examples are crafted on; see `Target.surrogates`."""
        return frozenset()

    @property
    def parts(self) -> tuple[Attack, ...]:
        """Attacks that this one runs. They must be defined for its problems and be untargeted."""
        return ()

    @property
    def repeats(self) -> int:
        """Number of evaluations of an image, most of which decide whether it is broken; 1 for deterministic models."""
        return max((part.repeats for part in self.parts), default=1)

    @property
    def name(self) -> str:
        """Name by which a config selects the attack."""
        return str(getattr(self, "attack", type(self).__name__))

    def stronger(self) -> Attack | None:
        """Return the attack with twice the gradient steps, or None if it has no number of steps to raise.

        An evaluation has converged if this attack breaks no image that the original leaves standing.
        """
        return None

    def check_threat(self, threat: ThreatModel) -> None:
        """Refuse a threat model that the attack, or a part of it, is not defined for.

        Raises:
            UserError: the norm is not supported, or a part is targeted.
        """
        # Parts first: a message about the member of an ensemble says more than one about the ensemble.
        for part in self.parts:
            if isinstance(part, TargetedAttack) and part.goal is not None:
                raise UserError(
                    f"{self.name} is untargeted, but member {part.name} sets a goal: {part.goal}; remove the goal"
                )
            part.check_threat(threat)
        if threat.norm not in self.norms:
            raise UserError(f"{self.name} is defined for {', '.join(self.norms)} only, not for {threat.norm}")

    def check_classes(self, count: int) -> None:
        """Refuse a model with too few classes for the attack's parameters.

        Raises:
            UserError: a parameter and the number of classes do not fit.
        """
        for part in self.parts:
            part.check_classes(count)

    @abc.abstractmethod
    def perturb(self, problem: Problem) -> Images:
        """Return adversarial images: float32 [count, height, width, 3], inside the threat model of the clean ones.

        Call it through `dermrobust.attacks.engine`, which validates inputs and outputs.
        """


class IterativeAttack(Attack):
    """An attack of many gradient steps."""

    kind: ClassVar[Kind] = Kind.ITERATIVE

    steps: int = Field(20, ge=1, le=10_000, description="Gradient steps.")

    def stronger(self) -> Self:
        """See `Attack.stronger`."""
        return self.model_copy(update={"steps": 2 * self.steps})


class TargetedAttack(Attack):
    """An attack that can also aim at a class chosen by the attacker."""

    goal: Goal = Field(
        None,
        description="Class that images are to be classified as: an index, or 'least_likely' (the class with the "
        "smallest logit on the clean image); null: any wrong class. Images of that class are left unchanged.",
    )

    def check_classes(self, count: int) -> None:
        """See `Attack.check_classes`."""
        if isinstance(self.goal, int) and self.goal >= count:
            raise UserError(f"{self.name}: goal {self.goal} is no class; the model has {count} (0 to {count - 1})")
        super().check_classes(count)
