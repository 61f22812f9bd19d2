"""How much is drawn."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class SyntheticSource(BaseModel):
    """How many images are drawn, how large, and from which seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int = Field(2400, ge=50, le=1_000_000, description="Images.")
    height: int = Field(75, ge=32, le=2048, description="In pixels.")
    width: int = Field(100, ge=32, le=2048, description="In pixels.")
    seed: int = Field(0, ge=0, lt=2**63, description="Another seed gives other lesions.")
