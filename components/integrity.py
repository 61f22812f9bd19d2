"""Verification of published files against the digests that were recorded when they were written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import ValidationError

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.artifacts import MANIFEST, Artifact, Manifest, content_digest
from dermrobust.components.storage import FileEntry

_intact: set[tuple[str, str]] = set()
"""URI and digest of the artifacts whose content this process has read and found intact: each is read once."""


def problems(artifact: Artifact, *, contents: bool) -> Iterator[str]:
    """Yield what is wrong with the files of an artifact, a sentence each.

    Args:
        artifact: a published artifact.
        contents: whether the contents are read and compared by SHA-256, not the sizes alone.
    """
    key = (artifact.uri, artifact.digest)
    if key in _intact:
        return
    try:
        manifest = Manifest.model_validate_json(storage.read_bytes(artifact.path(MANIFEST)))
    except (ValidationError, FileNotFoundError):
        yield f"'{artifact.path(MANIFEST)}' is missing or cannot be read"
        return
    if content_digest(manifest.files) != manifest.digest:
        yield f"'{artifact.path(MANIFEST)}' was changed: it does not have the digest that it states"
        return
    found = list(file_problems(artifact.uri, manifest.files, contents=contents))
    yield from found
    if contents and not found:
        _intact.add(key)


def remember(artifact: Artifact) -> None:
    """Take an artifact that this process has just written for intact, since its files were hashed a moment ago."""
    _intact.add((artifact.uri, artifact.digest))


def file_problems(uri: str, expected: Iterable[FileEntry], *, contents: bool) -> Iterator[str]:
    """Yield which files of a folder are missing or differ.

    Args:
        uri: the folder.
        expected: its files.
        contents: whether contents are compared, not sizes alone.
    """
    sizes = storage.sizes(uri)
    for file in expected:
        path = storage.join(uri, file.path)
        if file.path not in sizes:
            yield f"'{path}' is missing"
        elif sizes[file.path] != file.size:
            yield f"'{path}' has {sizes[file.path]} bytes instead of {file.size}"
        elif contents:
            yield from _content_problems(uri, file)


def _content_problems(uri: str, expected: FileEntry) -> Iterator[str]:
    path = storage.join(uri, expected.path)
    try:
        found = storage.entry(uri, expected.path)
    except FileNotFoundError:
        yield f"'{path}' is missing"
        return
    if found.sha256 != expected.sha256:
        yield f"'{path}' was changed: its SHA-256 is not that of when it was written"


def check(artifact: Artifact, advice: str) -> None:
    """Refuse an artifact whose content is not what was written.

    Args:
        artifact: a published artifact.
        advice: what to do about it, a sentence without a full stop.

    Raises:
        UserError: a file is missing or was changed; the message names it.
    """
    if (problem := next(problems(artifact, contents=True), None)) is not None:
        raise UserError(f"{problem}. {advice}")
