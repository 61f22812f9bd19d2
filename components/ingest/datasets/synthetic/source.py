"""Drawn images of skin lesions: parameters."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dermrobust.components.ingest.source import Source
from dermrobust.models.task import Task
from dermrobust.models.tasks.ham10000 import TASK


class SyntheticSource(Source):
    """Drawn lesions in HAM10000's class proportions; needs no files."""

    builder = "dermrobust.components.ingest.datasets.synthetic.builder:Synthetic"
    drawn: ClassVar[bool] = True
    needs_path: ClassVar[bool] = False

    dataset: Literal["synthetic"] = Field("synthetic", description="Name of the data set.")
    count: int = Field(2400, ge=50, le=1_000_000, description="Number of images.")
    height: int = Field(75, ge=32, le=2048, description="Height of an image, in pixels.")
    width: int = Field(100, ge=32, le=2048, description="Width of an image, in pixels.")
    balanced: bool = Field(False, description="Equal numbers of all classes, instead of HAM10000's proportions.")
    ambiguity: float = Field(
        1.0, ge=0, le=1, description="How far lesions resemble those of another class; 0: all are typical."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the drawing; another seed gives other lesions.")

    @property
    def resolved_task(self) -> Task:
        """See `Source.resolved_task`."""
        return TASK
