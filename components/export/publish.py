"""Publishing an exported model under an integer version, where TensorFlow Serving looks."""

from __future__ import annotations

import contextlib
import uuid

from components import storage
from components.artifacts import Artifact
from components.export.saved_files import ORIGIN, SAVED_MODEL


def publish(exported: Artifact, directory: str) -> str:
    """Copy a SavedModel to `<directory>/<version>/` and return that URI.

    The version is one more than the highest so far; a model that is already there keeps its version. A server that
    watches the directory sees the whole version or nothing: the copy has a name that is no number until it is done.
    """
    if (version := _version_of(exported, directory)) is not None:
        return storage.join(directory, str(version))
    partial = storage.join(directory, f".partial-{uuid.uuid4().hex[:8]}")
    try:
        for name in storage.list_files(exported.path(SAVED_MODEL)):
            storage.write_bytes(storage.join(partial, name), storage.read_bytes(exported.path(SAVED_MODEL, name)))
        storage.write_bytes(storage.join(partial, ORIGIN), exported.digest.encode())
        return _number(partial, directory)
    except BaseException:
        with contextlib.suppress(Exception):
            storage.remove(partial)
        raise


def _number(partial: str, directory: str) -> str:
    """Give a finished copy the next version; another one if a run beside this one takes that first."""
    while True:
        final = storage.join(directory, str(max(_versions(directory), default=0) + 1))
        try:
            storage.move(partial, final)
        except Exception:
            if not storage.list_files(final):
                raise
        else:
            return final


def _version_of(exported: Artifact, directory: str) -> int | None:
    for version in _versions(directory):
        origin = storage.join(directory, str(version), ORIGIN)
        if storage.exists(origin) and storage.read_bytes(origin).decode() == exported.digest:
            return version
    return None


def _versions(directory: str) -> list[int]:
    names = {name.split("/")[0] for name in storage.list_files(directory)}
    return sorted(int(name) for name in names if name.isdecimal())
