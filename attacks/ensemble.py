"""Ensemble of attacks."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.kinds import Kind, most_capable
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.restarts import worst_of
from dermrobust.attacks.selection import AnyAttack, read_suite
from dermrobust.attacks.threat import Images, Norm


class Ensemble(Attack):
    """Per-example worst case over several attacks.

    With `stop_at_success` each member runs only on the images that the members before it left standing, so cheap
    attacks come first. Otherwise every member runs on every image.
    """

    attack: Literal["ensemble"] = "ensemble"
    members: tuple[AnyAttack, ...] = Field(
        min_length=1, description="Attacks in the order in which they run, or the name of a suite."
    )

    @field_validator("members", mode="before")
    @classmethod
    def _members_of_suite(cls, value: Any) -> Any:
        return list(read_suite(value).values()) if isinstance(value, str) else value

    @property
    def kind(self) -> Kind:
        """See `Attack.kind`; that of the most capable member."""
        return most_capable(member.kind for member in self.members)

    @property
    def norms(self) -> tuple[Norm, ...]:
        """See `Attack.norms`; those that every member is defined for."""
        return tuple(norm for norm in Norm if all(norm in member.norms for member in self.members))

    @property
    def needs_gradients(self) -> bool:
        """See `Attack.needs_gradients`."""
        return any(member.needs_gradients for member in self.members)

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
