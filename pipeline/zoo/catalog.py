"""Folder of the zoo: names of models, their folders and their cards."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

import dermrobust.zoo
from dermrobust.attacks.errors import UserError
from dermrobust.pipeline.zoo.card import CARD, Card

PREFIX = "zoo:"
"""Prefix by which an option names a model of the zoo."""
MAX_MODELS, MAX_BYTES = 6, 40_000_000
"""Limits of a zoo: it is part of the package, which everybody downloads."""


def zoo_folder(path: str | Path | None = None) -> Path:
    """Return the folder of a zoo; default: that of the package.

    Raises:
        UserError: there is no such folder.
    """
    if path is None:
        return Path(dermrobust.zoo.__path__[0])
    if not Path(path).is_dir():
        raise UserError(f"there is no zoo in '{path}'; expected a folder with <task>/<name>/{CARD}")
    return Path(path)


def model_names(zoo: Path) -> tuple[str, ...]:
    """Return the names of all models with their tasks, such as "ham10000/robust", sorted."""
    return tuple(sorted(card.parent.relative_to(zoo).as_posix() for card in zoo.glob(f"*/*/{CARD}")))


def folders(zoo: Path) -> tuple[Path, ...]:
    """Return all folders that should hold a model, also those without a card."""
    return tuple(sorted(path for path in zoo.glob("*/*") if path.is_dir() and "__pycache__" not in path.parts))


def model_folder(zoo: Path, name: str) -> Path:
    """Return the folder of a model.

    Args:
        zoo: the zoo.
        name: "<task>/<name>", the name alone where one model has it, or the path of a model's folder.

    Raises:
        UserError: there is no such model, or several tasks have one.
    """
    known = model_names(zoo)
    found = [each for each in known if name in (each, each.partition("/")[2])]
    if len(found) == 1:
        return zoo / found[0]
    if not found and Path(name, CARD).is_file():
        return Path(name)
    if found:
        raise UserError(f"several models of the zoo are called '{name}': {', '.join(found)}")
    there = f"there are: {', '.join(known)}" if known else "the zoo has no models yet"
    raise UserError(f"there is no model '{name}' in the zoo '{zoo}'; {there}")


def read_card(folder: Path) -> Card:
    """Return the card of a model's folder.

    Raises:
        UserError: the card cannot be read, or is none.
    """
    path = folder / CARD
    try:
        return Card.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"'{path}' is not a card of the zoo: {place}: {first['msg']}") from error


def read_cards(zoo: Path) -> tuple[Card, ...]:
    """Return the cards of all models, by name."""
    return tuple(read_card(zoo / name) for name in model_names(zoo))
