"""Reader of untrusted data that is tried with random inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypothesis.strategies import SearchStrategy

from dermrobust.attacks.errors import UserError


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        name: what it reads.
        inputs: strategy for files that are given to it.
        read: reads a file, below whose folder it may write.
        share: of all inputs, relative to other targets.
        seconds: that one input may take.
    """

    name: str
    inputs: SearchStrategy[bytes]
    read: Callable[[bytes, Path], object]
    share: float
    seconds: float = 20.0


def is_read(target: Target, content: bytes, folder: Path) -> bool:
    """Return whether an input is read; False if it is refused. Other errors are raised."""
    from dermrobust.components.image_validation import BadRecord

    try:
        target.read(content, folder)
    except (UserError, BadRecord):
        return False
    return True
