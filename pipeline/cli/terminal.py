"""The way of text to the terminal. Names and messages come from ledgers, manifests, cards and models of others."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import click

_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Unicode categories of what a terminal obeys or does not show: control and format characters (such as those that turn
the direction of text), halves of surrogate pairs, and separators of lines and paragraphs."""


class _Escapes(dict[int, str]):
    """Table for `str.translate`, filled as characters are met: hidden ones become their escapes in Python."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        hidden = unicodedata.category(character) in _HIDDEN and character != "\t"
        found = self[code] = ascii(character)[1:-1] if hidden else character
        return found


_ESCAPES = _Escapes()


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return text that a terminal shows and does not obey: ESC, for one, becomes the four characters `\x1b`.

    Args:
        text: any text.
        lines: whether line feeds stay. False: they are escaped as well, so that a name cannot pass for a line of its
            own.
    """
    parts = text.split("\n") if lines else [text]
    return "\n".join(part if part.isprintable() else part.translate(_ESCAPES) for part in parts)


def echo(text: object, *, err: bool = False) -> None:
    """Print one line; see `printable`."""
    click.echo(printable(str(text)), err=err)


def echo_lines(text: str, *, nl: bool = True) -> None:
    """Print text of any number of lines; see `printable`."""
    click.echo(printable(text, lines=True), nl=nl)


def echo_error(message: object) -> None:
    """Print an error message on stderr; its further lines are indented, so that none passes for another message."""
    first, *others = printable(f"error: {message}", lines=True).split("\n")
    click.echo("\n".join([first, *(line if line.startswith("  ") else f"  {line}" for line in others)]), err=True)


def echo_json(values: Any) -> None:
    """Print JSON values in ASCII, where every other character is escaped."""
    click.echo(json.dumps(values, indent=1))
