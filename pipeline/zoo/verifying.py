"""Verification of a model's folder against its card."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from dermrobust.attacks.errors import UserError
from dermrobust.pipeline.zoo.card import CARD, MODEL, Card
from dermrobust.pipeline.zoo.catalog import read_card


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror}") from error


def verify_folder(folder: Path) -> Card:
    """Return the card of a model whose files are all as the card says.

    Raises:
        UserError: a file is missing, differs, or is not on the card; every such file is named.
    """
    card = read_card(folder)
    if problems := list(_problems(folder, card)):
        raise UserError("\n".join(problems))
    return card


def verified_model(folder: Path) -> Path:
    """Return the path of a model file that is as its card says.

    Raises:
        UserError: it is missing or differs.
    """
    path, expected = folder / MODEL, read_card(folder).files[MODEL]
    if (found := file_digest(path)) != expected:
        raise UserError(_difference(path, expected, found))
    return path


def _problems(folder: Path, card: Card) -> Iterator[str]:
    # Byte by byte, since a card that was edited may still be a valid one.
    if (folder / CARD).read_bytes() != card.to_json():
        yield f"'{folder / CARD}' was changed: its content does not have the digest that it states"
    for name, expected in card.files.items():
        path = folder / name
        if not path.is_file():
            yield f"'{path}' is missing"
        elif (found := file_digest(path)) != expected:
            yield _difference(path, expected, found)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.relative_to(folder).as_posix() not in (CARD, *card.files):
            yield f"'{path}' is not on the card"
    # A path such as "." has no name of its own.
    if folder.resolve().parts[-2:] != (card.task.name, card.name):
        yield f"'{folder / CARD}' is the card of {card.full_name}"


def _difference(path: Path, expected: str, found: str) -> str:
    return f"'{path}' differs from its card: its SHA-256 is {found}, expected {expected}"
