"""Random and grid search over the parameters of a transformation, as controls of the adaptive one."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.transforms.drawing import drawn
from dermrobust.attacks.transforms.problem import Best, TransformProblem
from dermrobust.attacks.transforms.search import Search


class RandomSearch(Search):
    """The worst of independent random points of the box."""

    kind: ClassVar[Kind] = Kind.NOISE

    search: Literal["random"] = "random"
    draws: int = Field(200, ge=1, le=100_000, description="Random points of an image; the worst one counts.")

    def improve(self, problem: TransformProblem, best: Best) -> None:
        """See `Search.improve`."""
        from dermrobust.attacks.transforms.evaluating import losses_of

        for number in range(self.draws):
            places = best.standing()
            if not len(places):
                break
            numbers = np.full(len(places), number)
            state = drawn(problem.threat, problem.seeds[places], numbers, problem.pixels.shape[1:])
            best.offer(places, state, losses_of(*best.inputs(places), state, problem.batch_size))
        best.confirm()


class GridSearch(Search):
    """The worst of the points of a fixed grid; see `Transform.grid`."""

    kind: ClassVar[Kind] = Kind.NOISE

    search: Literal["grid"] = "grid"
    points: int = Field(4, ge=2, le=1000, description="Points along each parameter, or each side of the image.")

    def improve(self, problem: TransformProblem, best: Best) -> None:
        """See `Search.improve`."""
        from dermrobust.attacks.transforms.evaluating import losses_of

        threat, shape = problem.threat, problem.pixels.shape[1:]
        bounds = threat.transform.bounds(threat.strength)
        for position, colour in threat.transform.grid(self.points):
            places = best.standing()
            if not len(places):
                break
            values = np.tile(np.asarray(position, np.float32) * bounds, (len(places), 1))
            content = np.zeros((len(places), 0), np.float32)
            if colour is not None:
                content = np.broadcast_to(np.asarray(colour, np.float32), (len(places), *shape)).copy()
            best.offer(
                places, (values, content), losses_of(*best.inputs(places), (values, content), problem.batch_size)
            )
        best.confirm()
