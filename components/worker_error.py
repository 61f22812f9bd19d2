"""Errors of workers as the process that started the work sees them."""

from __future__ import annotations


class WorkerError(Exception):
    """An error that a worker raised, other than a `UserError`; its text is that of the worker's.

    Attributes:
        kind: name of its class.
        trace: its traceback as text.
    """

    def __init__(self, text: str, kind: str, trace: str) -> None:
        super().__init__(text)
        self.kind, self.trace = kind, trace
