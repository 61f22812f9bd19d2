"""Publication of exported models as numbered versions, the layout that TensorFlow Serving watches."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact
from dermrobust.components.export.files import CHECKSUMS, ORIGIN, SAVED_MODEL, SIGNATURE


def publish(exported: Artifact, directory: str) -> str:
    """Copy a SavedModel to `<directory>/<version>/` and return that URI.

    The version is one more than the highest in the directory; a model that is already there, undamaged, keeps its
    version. On a local disk a server that watches the directory sees a complete version or none: the copy gets a number
    as its name when it is complete. If two processes publish the same model at once, it may get two versions, unless
    the caller holds a lock. On an object store the files of a version appear one by one, and two processes may not
    publish to a directory at once.

    Raises:
        OSError: a file cannot be written; no part of the version is left.
    """
    if (published := _published(exported, directory)) is not None:
        return published
    partial = storage.join(directory, f".partial-{uuid.uuid4().hex[:8]}")
    try:
        _copy(exported, partial)
        while True:
            final = storage.join(directory, str(max(versions(directory), default=0) + 1))
            try:
                storage.move(partial, final)
            except Exception:
                if not storage.is_local(directory):
                    # What is there is a part of this version: object stores copy file by file.
                    storage.remove(final)
                    raise
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


def version_problems(version: str) -> Iterator[str]:
    """Yield what is wrong with the files of a published version, a sentence each; see `CHECKSUMS`."""
    sums = storage.join(version, CHECKSUMS)
    if not storage.exists(sums):
        yield f"'{sums}' is missing: it cannot be known whether '{version}' is as it was exported"
        return
    lines = storage.read_bytes(sums).decode("utf-8", errors="replace").splitlines()
    digests = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    # A list that was emptied or cut would otherwise vouch for anything.
    for name in sorted(set(storage.list_files(version)) - digests.keys() - {CHECKSUMS, SIGNATURE}):
        yield f"'{storage.join(version, name)}' does not stand in '{sums}'"
    for name, expected in digests.items():
        path = storage.join(version, name)
        if not storage.exists(path):
            yield f"'{path}' is missing"
        elif storage.entry(version, name).sha256 != expected:
            yield f"'{path}' was changed: its SHA-256 is not that of when it was exported"


def _copy(exported: Artifact, partial: str) -> None:
    for name in storage.list_files(exported.path(SAVED_MODEL)):
        storage.write_bytes(storage.join(partial, name), storage.read_bytes(exported.path(SAVED_MODEL, name)))
    storage.write_bytes(storage.join(partial, ORIGIN), exported.fingerprint.encode())
    sums = "".join(f"{file.sha256}  {file.path}\n" for file in storage.entries(partial))
    storage.write_bytes(storage.join(partial, CHECKSUMS), sums.encode())


def _published(exported: Artifact, directory: str) -> str | None:
    """Return the version under which a model is already published and undamaged, or None."""
    for number in versions(directory):
        version = storage.join(directory, str(number))
        origin = storage.join(version, ORIGIN)
        if (
            storage.exists(origin)
            and storage.read_bytes(origin).decode(errors="replace") == exported.fingerprint
            and next(version_problems(version), None) is None
        ):
            return version
    return None


def versions(directory: str) -> list[int]:
    """Return the numbers of the published versions in a directory, ascending."""
    names = {name.split("/")[0] for name in storage.list_files(directory)}
    return sorted(int(name) for name in names if name.isdecimal())
