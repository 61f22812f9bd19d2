"""Results of the self-checks of an evaluation."""

from __future__ import annotations

import enum

from dermrobust.components.evaluation.content import Content

ACCESS = "access"
"""Name of the check that fails for a black box, of which only the answers were available."""
Shown = float | int | str | None


class Status(enum.StrEnum):
    """Result of a check: passed, in doubt, or the figures must not be believed."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


class Check(Content):
    """Result of a check of one model, or of the evaluation as a whole.

    Attributes:
        name: name of the check, the same for every model.
        title: name for readers.
        model: the model that was checked; None: the evaluation as a whole.
        status: result.
        sentence: meaning of the result.
        figures: numbers behind the result, by their names.
    """

    name: str
    title: str
    model: str | None
    status: Status
    sentence: str
    figures: dict[str, Shown]


class Checks(Content):
    """Content of `checks.json`."""

    checks: tuple[Check, ...]
