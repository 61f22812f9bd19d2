"""Publishing an exported model under an integer version, where TensorFlow Serving looks."""

from __future__ import annotations

import contextlib
import uuid

from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact
from dermrobust.components.export.files import ORIGIN, SAVED_MODEL


def publish(exported: Artifact, directory: str) -> str:
    """Copy a SavedModel to `<directory>/<version>/` and return that URI.

    The version is one more than the highest so far; a model that is already there keeps its version. A server that
    watches the directory sees the whole version or nothing: the copy has a name that is no number until it is done.
    Two that publish the same model at once may give it two versions, unless their caller lets one go first.
    """
    if (published := _published(exported, directory)) is not None:
        return published
    partial = storage.join(directory, f".partial-{uuid.uuid4().hex[:8]}")
    try:
        _copy(exported, partial)
        while True:
            final = storage.join(directory, str(max(_versions(directory), default=0) + 1))
            try:
                storage.move(partial, final)
            except Exception:
                if not storage.list_files(final):
                    raise
            else:
                return final
            # A run beside this one took that version, perhaps for the same model.
            if (published := _published(exported, directory)) is not None:
                return published
    finally:
        with contextlib.suppress(Exception):
            storage.remove(partial)


def _copy(exported: Artifact, partial: str) -> None:
    for name in storage.list_files(exported.path(SAVED_MODEL)):
        storage.write_bytes(storage.join(partial, name), storage.read_bytes(exported.path(SAVED_MODEL, name)))
    storage.write_bytes(storage.join(partial, ORIGIN), exported.fingerprint.encode())


def _published(exported: Artifact, directory: str) -> str | None:
    """Return where a model is published already."""
    for version in _versions(directory):
        origin = storage.join(directory, str(version), ORIGIN)
        if storage.exists(origin) and storage.read_bytes(origin).decode() == exported.fingerprint:
            return storage.join(directory, str(version))
    return None


def _versions(directory: str) -> list[int]:
    names = {name.split("/")[0] for name in storage.list_files(directory)}
    return sorted(int(name) for name in names if name.isdecimal())
