"""Several attacks as one: what does worst on an image counts."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny, field_validator

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.restarts import worst_of
from dermrobust.attacks.threat import Images


class Ensemble(Attack):
    """Per-example worst case over its members; cheap ones first, since each is run only on what still stands.

    (Where the attack is to make the most of the budget, every member is run on every image.)
    """

    iterative: ClassVar[bool] = True

    attack: Literal["ensemble"] = "ensemble"
    members: tuple[SerializeAsAny[Attack], ...] = Field(
        min_length=1, description="Attacks in the order in which they are run, or the name of a suite."
    )

    @field_validator("members", mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        from dermrobust.attacks.registry import read_attack, read_suite

        listed = list(read_suite(value).values()) if isinstance(value, str) else value
        return [read_attack(member) for member in listed] if isinstance(listed, list | tuple) else listed

    @property
    def sources(self) -> frozenset[str]:
        """See `Attack.sources`."""
        return frozenset().union(*(member.sources for member in self.members))

    @property
    def parts(self) -> tuple[Attack, ...]:
        """See `Attack.parts`."""
        return self.members

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
        return worst_of(problem, [member.perturb for member in self.members])
