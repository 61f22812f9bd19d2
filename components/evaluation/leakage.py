"""Leakage between splits, as `leakage.json` in its artifact."""

from __future__ import annotations

from dermrobust.components.artifacts import Artifact, read_as
from dermrobust.components.evaluation.content import Content
from dermrobust.components.examples_layout import Split

FILE = "leakage.json"


class NearDuplicate(Content):
    """Pair of images in different splits that show the same photograph.

    Attributes:
        first: id of the image in `first_split`.
        second: id of the image in `second_split`.
        distance: number of bits, of 256, in which the perceptual hashes differ.
        correlation: correlation of the thumbnails, at most 1.
    """

    first: str
    first_split: Split
    second: str
    second_split: Split
    distance: int
    correlation: float


class Leakage(Content):
    """Groups and images that splits share.

    Attributes:
        shared_groups: ids of groups (lesions, patients) with images in several splits, in order.
        near_duplicates: copies across splits, the most similar first.
        images: number of compared images of each split.
    """

    shared_groups: tuple[str, ...]
    near_duplicates: tuple[NearDuplicate, ...]
    images: dict[Split, int]

    @classmethod
    def read(cls, artifact: Artifact) -> Leakage:
        """Read the findings of a leakage artifact."""
        return read_as(cls, artifact, FILE)
