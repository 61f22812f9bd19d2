"""Changes of valid files: random bytes get no further than the first check of a reader."""

from __future__ import annotations

import re

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

PLACES = st.integers(0, 10**6)
"""Places in a file, modulo its size."""


def changed(contents: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """Files with a few changes: bytes that are replaced, left out, repeated or inserted."""
    change = st.tuples(st.sampled_from("rdci"), PLACES, st.binary(min_size=1, max_size=8))
    return st.builds(apply, contents, st.lists(change, max_size=4))


def apply(content: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    """Return a file with changes: kind, place and bytes of each."""
    for kind, place, value in changes:
        at = place % (len(content) + 1)
        end = {"r": at + len(value), "d": at + len(value) ** 2, "c": at, "i": at}[kind]
        middle = {"r": value, "d": b"", "c": content[at : at + 64], "i": value}[kind]
        content = content[:at] + middle + content[end:]
    return content


def renamed(content: bytes, changes: list[tuple[int, str]]) -> bytes:
    """A file in which names are others of the same length, so that it can still be parsed."""
    for place, name in changes:
        names = list(re.finditer(rb"[A-Za-z0-9_:/]{3,}", content))
        found = names[place % len(names)]
        other = name.encode().ljust(len(found[0]), b"x")[: len(found[0])]
        content = content[: found.start()] + other + content[found.end() :]
    return content
