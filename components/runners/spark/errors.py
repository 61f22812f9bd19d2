"""Errors that cross from a worker of Spark to the driver.

Spark hands the text of a worker's traceback on, not the exception, so a mistake of the user travels as a line of text.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator

from dermrobust.attacks.errors import UserError

_MARK = "dermrobust-user-error"
_MARKED = re.compile(rf'{_MARK} ("(?:[^"\\]|\\.)*")')
_TRACEBACK = re.compile(r"^(?!\s|Traceback)(\S*(?:Error|Exception)\b.*)$", re.MULTILINE)


class MarkedError(Exception):
    """A `UserError` on its way to the driver."""


class SparkJobError(Exception):
    """A job failed; the message begins with the error of the worker."""


@contextlib.contextmanager
def marking_user_errors() -> Iterator[None]:
    """Turn a `UserError` into one that the driver recognizes in the text of a traceback."""
    try:
        yield
    except UserError as error:
        raise MarkedError(f"{_MARK} {json.dumps(str(error))}") from None


@contextlib.contextmanager
def raising_errors_of_workers() -> Iterator[None]:
    """Raise what a worker raised: a `UserError` as such, anything else as a `SparkJobError`.

    Raises:
        UserError: a worker raised it.
        SparkJobError: the job failed for another reason.
    """
    from py4j.protocol import Py4JError

    try:
        yield
    except Py4JError as error:
        raise error_of_workers(str(error)) from error


def error_of_workers(text: str) -> Exception:
    """Return the error that the text of a failed job tells of."""
    if (marked := _MARKED.search(text)) is not None:
        return UserError(json.loads(marked[1]))
    # The first traceback is that of the worker; Java's own, which follow, have other forms.
    python = text.partition("Traceback (most recent call last):")[2]
    found = _TRACEBACK.search(python)
    return SparkJobError(f"{found[1]}\n{text}" if found else text)
