"""Errors of this package, in the lowest layer so that every layer can raise them."""

from __future__ import annotations


class UserError(Exception):
    """A mistake of the user: the message says what is wrong, where, and what to do.

    The command line shows the message without a traceback.
    """


class AttackError(Exception):
    """An attack returned images that are not finite, or outside of the budget; its result must not be used."""
