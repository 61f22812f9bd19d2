"""Shards as files: TFRecord files that TensorFlow can open."""

from __future__ import annotations

from pathlib import Path

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage

_LENGTH, _CHECKSUM = 8, 4
"""Bytes. A record is its length and a checksum of that, its content and a checksum of that."""


def local_shard(uri: str) -> str:
    """Return the path of a shard on the local disk.

    TensorFlow allocates as many bytes as a record says that it has, before it reads them, and the process crashes where
    there is not so much memory (TensorFlow 2.21). The checksum of the length does not prevent it: eight bytes of
    content with their checksum are a length with its checksum.

    Raises:
        UserError: a record says that it is longer than the file.
    """
    path = storage.local_file(uri)
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        place = 0
        while place + _LENGTH <= size:
            file.seek(place)
            length = int.from_bytes(file.read(_LENGTH), "little")
            if length > size:
                raise damaged(
                    uri, f"the record at byte {place} says that it has {length:,} bytes, and the file has {size:,}"
                )
            place += _LENGTH + _CHECKSUM + length + _CHECKSUM
    return path


def damaged(uri: str, reason: str) -> UserError:
    """Return the error for a shard that cannot be read."""
    return UserError(
        f"the shard '{uri}' is damaged: {reason}. Delete the folder of its artifact; the same command makes it again"
    )
