"""Base class of the contents of JSON files."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Content(BaseModel):
    """Content of a JSON file, or a part of it; keys that are not declared are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
