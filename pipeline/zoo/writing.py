"""Folder of a model, written whole."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dermrobust.pipeline.zoo.card import CARD, CARD_TEXT, CONFIG, MODEL, Card
from dermrobust.pipeline.zoo.card_text import render_card_text
from dermrobust.pipeline.zoo.verifying import file_digest


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Give a new folder of the same name, which takes the place of `folder` if the context ends without an error."""
    with tempfile.TemporaryDirectory() as temporary:
        # A folder of its own, since nobody else may read a temporary one, and its mode would be copied.
        made = Path(temporary, folder.name)
        made.mkdir()
        yield made
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(made, folder)


def write_card(folder: Path, card: Card) -> Card:
    """Write the card to a folder that holds weights and config, and return it with the digests of its files.

    The card comes last, since it holds the digests of the others.
    """
    files = {each: file_digest(folder / each) for each in (MODEL, CONFIG)}
    card = card.model_copy(update={"files": files})
    (folder / CARD_TEXT).write_text(render_card_text(card), encoding="utf-8")
    card = card.model_copy(update={"files": {CARD_TEXT: file_digest(folder / CARD_TEXT), **files}})
    (folder / CARD).write_bytes(card.to_json())
    return card
