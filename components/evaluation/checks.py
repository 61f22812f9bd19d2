"""What a self-check of an evaluation says."""

from __future__ import annotations

import enum

from pydantic import BaseModel, ConfigDict

Figure = float | int | str | None


class Status(enum.StrEnum):
    """How a check ended: as it should, in doubt, or so that the figures must not be believed."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


class Check(BaseModel):
    """A named check of one model, or of the evaluation as a whole.

    Attributes:
        name: of the check, the same for every model.
        title: the same in words.
        model: whose figures are in question; None: everybody's.
        status: how it ended.
        sentence: what that means.
        figures: what it was concluded from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    model: str | None
    status: Status
    sentence: str
    figures: dict[str, Figure]


class Checks(BaseModel):
    """As `checks.json` in an evaluation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checks: tuple[Check, ...]
