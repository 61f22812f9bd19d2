"""Cases of the corpus of bad and hostile input: how each is made, and what must happen."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


class Outcome(enum.StrEnum):
    """What a reader must do with an input."""

    READ = "read"
    QUARANTINED = "quarantined"
    REFUSED = "refused"


@dataclass(frozen=True)
class Case:
    """An input.

    Attributes:
        name: what is wrong with it.
        make: writes it below an empty folder and returns what a reader is given.
        outcome: what must happen.
        told: regular expression that the reason must match; for `READ` nothing.
        hostile: whether it is made to harm; others are accidents.
        row: what differs in the metadata of an image.
    """

    name: str
    make: Callable[[Path], Path]
    outcome: Outcome
    told: str = ""
    hostile: bool = False
    row: Mapping[str, str] = field(default_factory=dict)


def written(content: bytes | str, name: str = "file") -> Callable[[Path], Path]:
    """Return a function that writes a file."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make


def good(name: str, make: Callable[[Path], Path], *, hostile: bool = False) -> Case:
    """An input that is unusual and must be read."""
    return Case(name, make, Outcome.READ, hostile=hostile)


def bad(name: str, make: Callable[[Path], Path], told: str, *, quarantined: bool = False) -> Case:
    """An input that is wrong by accident."""
    return Case(name, make, Outcome.QUARANTINED if quarantined else Outcome.REFUSED, told)


def hostile(name: str, make: Callable[[Path], Path], told: str, *, quarantined: bool = False) -> Case:
    """An input that is made to harm."""
    return Case(name, make, Outcome.QUARANTINED if quarantined else Outcome.REFUSED, told, hostile=True)
