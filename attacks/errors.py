"""Errors that a user can cause and mend; the lowest floor, so that every floor can raise them."""

from __future__ import annotations


class UserError(Exception):
    """What was wrong, where, and what to do, in one message; the command line shows it without a traceback."""


class AttackError(Exception):
    """An attack broke its own promise (a non-finite image, or one outside the budget): the result is worthless."""
