"""Gradient search over the parameters of a transformation."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.problem import Indices
from dermrobust.attacks.transforms.drawing import corners, drawn, nearest_corners
from dermrobust.attacks.transforms.problem import Best, Margins, TransformProblem
from dermrobust.attacks.transforms.search import Search
from dermrobust.attacks.transforms.transform import Content, Values

_TRAVEL = 2.5
"""Sum of the lengths of all steps as a share of each bound: more than across the box, whatever the number of steps."""
_LAST_STEP = 0.05
"""Length of the last step as a share of that of the first."""


class Adaptive(Search):
    """Projected sign-gradient ascent on the margin, from the worst of several random points.

    Gradients alone find poor rotations and translations (Engstrom et al. 2019, arXiv 1712.02779), so each start is one
    of the worst among random points of the box and its corners. Steps shrink geometrically. The content of a sticker
    is moved together with the parameters; its place stays that of the start.
    """

    kind: ClassVar[Kind] = Kind.ITERATIVE

    search: Literal["adaptive"] = "adaptive"
    screened: int = Field(64, ge=1, le=10_000, description="Random points from which the starts are chosen.")
    restarts: int = Field(4, ge=1, le=1000, description="Starts; the worst of the points, worst first.")
    steps: int = Field(15, ge=1, le=10_000, description="Gradient steps from each start.")

    def improve(self, problem: TransformProblem, best: Best) -> None:
        """See `Search.improve`."""
        order = self._screened(problem, best)
        for rank in range(min(self.restarts, self.screened)):
            places = best.standing()
            if not len(places):
                return
            self._ascend(problem, best, places, _point(problem, places, order[places, rank]))
            best.confirm()

    def _screened(self, problem: TransformProblem, best: Best) -> Indices:
        """Offer random points; return their numbers for each image, worst first: int64 [count, screened]."""
        from dermrobust.attacks.transforms.evaluating import losses_of

        found = np.full((len(problem.pixels), self.screened), -np.inf, np.float32)
        for number in range(self.screened):
            places = best.standing()
            if not len(places):
                break
            state = _point(problem, places, np.full(len(places), number))
            found[places, number] = losses_of(*best.inputs(places), state, problem.batch_size)
            best.offer(places, state, found[places, number])
        best.confirm()
        # Stable: between equal margins every platform takes the same start.
        return np.argsort(-found, axis=1, kind="stable")

    def _ascend(self, problem: TransformProblem, best: Best, places: Indices, state: tuple[Values, Content]) -> None:
        from dermrobust.attacks.transforms.evaluating import gradients_of, losses_of

        values, content = state
        bounds = problem.threat.transform.bounds(problem.threat.strength)
        lengths = np.geomspace(1, _LAST_STEP, self.steps)
        for length in (lengths * (_TRAVEL / lengths.sum())).astype(np.float32):
            loss, by_values, by_content = gradients_of(*best.inputs(places), (values, content), problem.batch_size)
            best.offer(places, (values, content), loss)
            going = _going(problem, loss)
            if not len(going):
                return
            # Signs, not lengths: parameters have different units, and a step then does not depend on the batch.
            values = np.clip(values[going] + length * bounds * np.sign(by_values[going]), -bounds, bounds)
            content = np.clip(content[going] + length * np.sign(by_content[going]), 0, 1)
            places = places[going]
        # The worst point of a box is often a corner, of which a path may end short in single parameters.
        for point in (values, nearest_corners(problem.threat, values)):
            loss = losses_of(*best.inputs(places), (point, content), problem.batch_size)
            best.offer(places, (point, content), loss)


def _going(problem: TransformProblem, margins: Margins) -> Indices:
    """Return the places of the images that are moved on."""
    return np.flatnonzero(margins <= 0) if problem.stop_at_success else np.arange(len(margins))


def _point(problem: TransformProblem, places: Indices, numbers: Indices) -> tuple[Values, Content]:
    """Return a starting point of each image by its number: points of the box, and every second one a corner."""
    values, content = drawn(problem.threat, problem.seeds[places], numbers, problem.pixels.shape[1:])
    ends = corners(problem.threat, problem.seeds[places], numbers // 2, values)
    return np.where((numbers % 2 == 1)[:, None], ends, values), content
