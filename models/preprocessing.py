"""Parameters of preprocessing, the same in every stage and inside the exported model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from dermrobust.models.image_size import ImageSize, InputShape, height_and_width


class Preprocessing(BaseModel):
    """Parameters that turn a photograph into the input of a network; see `dermrobust.models.pixels`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: ImageSize = Field(
        32,
        description="Height and width of the network's input in pixels: one number for a square, or [height, width].",
    )
    color_constancy: Literal["none", "shades_of_gray"] = Field(
        "none", description="Correction of the light's color (shades of gray: Finlayson & Trezzi 2004, norm 6)."
    )

    @property
    def height(self) -> int:
        """Height of the network's input in pixels."""
        return height_and_width(self.image_size)[0]

    @property
    def width(self) -> int:
        """Width of the network's input in pixels."""
        return height_and_width(self.image_size)[1]

    @property
    def input_shape(self) -> InputShape:
        """Shape of the network's input without the batch: (height, width, 3)."""
        return (self.height, self.width, 3)
