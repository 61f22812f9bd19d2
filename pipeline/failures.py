"""Outcomes of nodes that raised errors which nobody foresaw."""

from __future__ import annotations

import errno
import os
import re
import traceback

from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.local_files import crash_log
from dermrobust.pipeline.outcomes import EXIT_CODES, EXIT_USER_ERROR, FAILED, NodeResult


def failure(config: PipelineConfig, run: str, node: str, error: Exception) -> NodeResult:
    """Return the outcome of a node that raised an error: a disk that takes no more, or a crash.

    Args:
        config: config of the pipeline, whose root gets the traceback of a crash.
        run: id of the run.
        node: id of the node.
        error: what it raised.
    """
    if (reason := _no_place_to_write(error)) is not None:
        message = f"{node}: {reason}. Make room and run the same command again; finished work is kept"
        return NodeResult(node, FAILED, message=message, exit_code=EXIT_USER_ERROR)
    if (told := _told_through_tensorflow(error)) is not None:
        return NodeResult(node, FAILED, message=f"{node}: {told}", exit_code=EXIT_USER_ERROR)
    return NodeResult(node, FAILED, message=_crash(config, run, node, error), exit_code=EXIT_CODES[FAILED])


def _no_place_to_write(error: Exception) -> str | None:
    """Return why an error says that a disk takes no more; None for other errors.

    By their texts, since Beam and TensorFlow raise errors of their own that repeat the text of the system's.
    """
    reasons = (os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS))
    return next((reason for reason in reasons if reason in str(error)), None)


def _told_through_tensorflow(error: Exception) -> str | None:
    """Return the message of a `UserError` that a function called by TensorFlow raised; None for other errors.

    TensorFlow raises an error of its own in its place, which begins with the name and the message.
    """
    found = re.search(r"(?:^|\s)UserError: (.+)", str(error))
    return found[1].strip() if found else None


def _crash(config: PipelineConfig, run: str, node: str, error: Exception) -> str:
    """Write the traceback to a file and return a message that names the file."""
    path = crash_log(config, run, re.sub(r"[^a-z0-9]+", "-", node).strip("-"))
    first = str(error).strip().splitlines()
    message = f"{node} failed: {type(error).__name__}: {first[0] if first else ''}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)))
    except OSError as unwritten:
        return f"{message}\nThe traceback could not be written to {path}: {unwritten.strerror}"
    return f"{message}\nThe traceback is in {path}"
