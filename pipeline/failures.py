"""Errors of nodes and commands that nobody raised on purpose: what the system refuses, and crashes."""

from __future__ import annotations

import errno
import os
import re
import traceback
from collections.abc import Mapping

from dermrobust.components.storage import UNUSABLE
from dermrobust.components.worker_error import WorkerError
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.local_files import crash_log
from dermrobust.pipeline.outcomes import EXIT_CODES, EXIT_USER_ERROR, FAILED, NodeResult

_ROOM, _ACCESS = "Make room", "Give access"
_DESCRIPTORS = "Allow more open files (ulimit -n), or end other programs"
_ADVICE: Mapping[int, str] = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: _ACCESS,
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.EIO: "Check the disk",
    errno.EMFILE: _DESCRIPTORS,
    errno.ENFILE: _DESCRIPTORS,
}
"""What to do about refusals of the operating system. Trying again at once would fail again."""


def failure(config: PipelineConfig, run: str, node: str, error: Exception) -> NodeResult:
    """Return the outcome of a node that raised an error: a refusal of the operating system, or a crash.

    Args:
        config: config of the pipeline, whose root gets the traceback of a crash.
        run: id of the run.
        node: id of the node.
        error: what it raised.
    """
    if (refusal := system_refusal(error)) is not None:
        return NodeResult(node, FAILED, message=f"{node}: {refusal}", exit_code=EXIT_USER_ERROR)
    if (told := _told_through_tensorflow(error)) is not None:
        return NodeResult(node, FAILED, message=f"{node}: {told}", exit_code=EXIT_USER_ERROR)
    return NodeResult(node, FAILED, message=_crash(config, run, node, error), exit_code=EXIT_CODES[FAILED])


def system_refusal(error: BaseException) -> str | None:
    """Return what the operating system refused and what to do about it; None for other errors.

    By the text, since Beam and TensorFlow raise errors of their own that repeat the text of the system's.
    """
    text = str(error)
    for number, advice in _ADVICE.items():
        reason = os.strerror(number)
        if reason in text:
            place = re.search(re.escape(reason) + r": ('[^']+')", text)
            where = f": {place[1]}" if place and advice is _ACCESS else ""
            return f"{reason}{where}. {advice} and run the same command again; finished work is kept"
    return None


def store_refusal(error: BaseException) -> str | None:
    """Return what an object store refused and what to do about it; None for other errors.

    By the module of the error's class: Beam and the store's library are imported where the store is used alone.
    """
    if not type(error).__module__.startswith(("apache_beam.io.", "botocore.", "boto3.")):
        return None
    return f"the object store cannot be used: {error}. {UNUSABLE}"


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
    kind, trace = _described(error)
    message = f"{node} failed: {kind}: {first[0] if first else ''}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(trace)
    except OSError as unwritten:
        return f"{message}\nThe traceback could not be written to {path}: {unwritten.strerror}"
    return f"{message}\nThe traceback is in {path}"


def _described(error: Exception) -> tuple[str, str]:
    """Return the name of an error's class and its traceback, those of the worker that raised it where there was one."""
    if isinstance(error, WorkerError):
        return error.kind, error.trace
    return type(error).__name__, "".join(traceback.format_exception(error))
