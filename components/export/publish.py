"""Publication of exported models as numbered versions, the layout that TensorFlow Serving watches."""

from __future__ import annotations

import contextlib
import uuid

from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact
from dermrobust.components.export.files import ORIGIN, SAVED_MODEL


def publish(exported: Artifact, directory: str) -> str:
    """Copy a SavedModel to `<directory>/<version>/` and return that URI.

    The version is one more than the highest in the directory; a model that is already there keeps its version. A server
    that watches the directory sees a complete version or none: the copy gets a number as its name when it is complete.
    If two processes publish the same model at once, it may get two versions, unless the caller holds a lock.
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
            # Another process took that version, perhaps for the same model.
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
    """Return the version under which a model is already published, or None."""
    for version in _versions(directory):
        origin = storage.join(directory, str(version), ORIGIN)
        if storage.exists(origin) and storage.read_bytes(origin).decode() == exported.fingerprint:
            return storage.join(directory, str(version))
    return None


def _versions(directory: str) -> list[int]:
    names = {name.split("/")[0] for name in storage.list_files(directory)}
    return sorted(int(name) for name in names if name.isdecimal())
