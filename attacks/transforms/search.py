"""Base class of searches over the parameters of a transformation."""

from __future__ import annotations

import abc

from pydantic import BaseModel, ConfigDict

from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.transforms.problem import Best, TransformProblem


class Search(BaseModel, abc.ABC):
    """A search; its fields are its parameters, and `kind` is declared as a class variable."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    @abc.abstractmethod
    def kind(self) -> Kind:
        """`ITERATIVE` for a search that follows gradients, `NOISE` for a control."""

    @property
    def name(self) -> str:
        """Name by which a config selects the search."""
        return str(getattr(self, "search", type(self).__name__))

    @abc.abstractmethod
    def improve(self, problem: TransformProblem, best: Best) -> None:
        """Offer images to `best` until none stands, or the search is at its end.

        Call it through `dermrobust.attacks.transforms.engine`, which validates inputs and outputs.
        """
