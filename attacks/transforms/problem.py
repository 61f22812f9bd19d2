"""Problem: the classifier, images and threat model that a search over transformations is given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dermrobust.attacks.problem import Indices, Labels, Seeds
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Bounds, Images, Pixels
from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.attacks.transforms.transform import Content, Values

Margins = npt.NDArray[np.float32]
"""float32 [count], the largest wrong logit minus that of the true class; above 0 where the classifier errs."""


@dataclass(frozen=True)
class TransformProblem:
    """Images that a search is to make a classifier err on.

    Attributes:
        target: the classifier, which sees images rounded to 8 bits.
        pixels: uint8 [count, height, width, 3], the clean images.
        labels: int64 [count], the true classes.
        threat: the threat model.
        seeds: uint64 [count].
        batch_size: number of images in a call of the classifier.
        stop_at_success: whether the search leaves an image once it has succeeded; False: the worst image is returned.
    """

    target: Target
    pixels: Pixels
    labels: Labels
    threat: TransformThreat
    seeds: Seeds
    batch_size: int = 128
    stop_at_success: bool = True

    @property
    def images(self) -> Images:
        """The clean images: float32 [count, height, width, 3] in [0, 1]."""
        return Bounds().to_images(self.pixels)

    def margins(self, pixels: Pixels, labels: Labels) -> Margins:
        """Return the margins of stored images."""
        from dermrobust.attacks.logits import logits_of, margins

        logits = logits_of(self.target, Bounds().to_images(pixels), self.batch_size)
        found = -margins(logits, labels)
        # Between equal logits the margin is 0 and argmax decides, as it does whenever the image is scored later.
        tiny = np.float32(np.finfo(np.float32).tiny)
        wrong = logits.argmax(axis=1) != labels
        return np.asarray(np.where(wrong, np.maximum(found, tiny), np.minimum(found, 0.0)), np.float32)


class Best:
    """The worst image found for each clean one, which is itself the first of them.

    Attributes:
        values: float32 [count, parameter].
        content: see `transform.Content`.
        margins: margin of each image; after `confirm` that of the image as it is stored.
    """

    def __init__(self, problem: TransformProblem, margins: Margins) -> None:
        """Start from the clean images and their margins."""
        transform, count = problem.threat.transform, len(problem.pixels)
        self._problem = problem
        self._images = problem.images
        self.values: Values = np.zeros((count, len(transform.parameters)), np.float32)
        # What a sticker hides is unknown until one is found: until then it shows the clean image.
        self.content: Content = self._images.copy() if transform.has_content else np.zeros((count, 0), np.float32)
        self.margins = margins.copy()
        self._open: set[int] = set()

    def standing(self) -> Indices:
        """Return the images that the search goes on with: those that stand as they are stored, or all."""
        if self._problem.stop_at_success:
            self._confirm({place for place in self._open if self.margins[place] > 0})
            return np.flatnonzero(self.margins <= 0)
        return np.arange(len(self.margins))

    def inputs(self, places: Indices) -> tuple[Target, TransformThreat, Images, Labels]:
        """Return the arguments of `evaluating.losses_of` before the state, for some of the images."""
        problem = self._problem
        return problem.target, problem.threat, self._images[places], problem.labels[places]

    def offer(self, places: Indices, state: tuple[Values, Content], margins: Margins) -> None:
        """Keep those of other images that are worse for the classifier."""
        better = margins > self.margins[places]
        chosen = places[better]
        self.values[chosen], self.content[chosen] = state[0][better], state[1][better]
        self.margins[chosen] = margins[better]
        self._open.update(chosen.tolist())

    def confirm(self) -> None:
        """Replace margins by those of the images as they are stored.

        Float32 in the search and float64 in the stored image may round a value differently. An image that is no success
        after all is searched on.
        """
        self._confirm(set(self._open))

    def _confirm(self, chosen: set[int]) -> None:
        if not chosen:
            return
        places = np.asarray(sorted(chosen), np.int64)
        self.margins[places] = self._problem.margins(self.pixels(places), self._problem.labels[places])
        self._open -= chosen

    def pixels(self, places: Indices) -> Pixels:
        """Return some of the images as they are stored."""
        from dermrobust.attacks.transforms.rendering import render

        problem = self._problem
        return render(problem.threat, problem.pixels[places], self.values[places], self.content[places])
