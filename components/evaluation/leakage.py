"""Leakage between splits, as `leakage.json` in its artifact."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from dermrobust.components.artifacts import Artifact
from dermrobust.components.examples_layout import Split

FILE = "leakage.json"


class NearDuplicate(BaseModel):
    """Pair of images in different splits that show the same photograph.

    Attributes:
        first: Id of the image in `first_split`.
        second: Id of the image in `second_split`.
        distance: Number of bits, of 256, in which the perceptual hashes differ.
        correlation: Correlation of the thumbnails, at most 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: str
    first_split: Split
    second: str
    second_split: Split
    distance: int
    correlation: float


class Leakage(BaseModel):
    """Groups and images that splits share.

    Attributes:
        shared_groups: Ids of groups (lesions, patients) with images in several splits, in order.
        near_duplicates: Copies across splits, the most similar first.
        images: Number of compared images of each split.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shared_groups: tuple[str, ...]
    near_duplicates: tuple[NearDuplicate, ...]
    images: dict[Split, int]

    @classmethod
    def read(cls, artifact: Artifact) -> Leakage:
        """Read the findings of a leakage artifact."""
        return cls.model_validate(artifact.read_json(FILE))
