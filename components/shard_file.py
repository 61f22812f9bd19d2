"""Shards as files: TFRecord files that TensorFlow can open."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage

_LENGTH, _CHECKSUM = 8, 4
"""Bytes. A record is its length and a checksum of that, its content and a checksum of that."""
_OF_THE_GRAPH = re.compile(r"\{\{.*?\}\} ?| \[Op:.*")
"""Parts of TensorFlow's messages that name nodes of a graph."""
ALL = 1_000_000
"""Records that no shard reaches: the bound of `ingest.shard_size` is far below."""


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


def read_records(uri: str) -> npt.NDArray[Any]:
    """Return the serialized records of a shard, in order: bytes [record].

    Raises:
        UserError: a record says that it is longer than the file.
        tf.errors.DataLossError: a record is cut off, or its checksum is wrong; see `readable`.
    """
    path = local_shard(uri)
    if Path(path).stat().st_size == 0:
        return np.empty((0,), object)
    try:
        records: npt.NDArray[Any] = _records_of_file(path).numpy()
    except tf.errors.OpError:
        # Errors of a graph are told with its nodes; those of an iterator say what is wrong with the file.
        return np.asarray(list(tf.data.TFRecordDataset(path).as_numpy_iterator()), object)
    return records


# Traced once for all shards: a dataset that Python makes and iterates over takes nearly 20 ms before its first record.
@tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
def _records_of_file(path: tf.Tensor) -> tf.Tensor:
    return tf.data.TFRecordDataset(path).batch(ALL).get_single_element()


@contextlib.contextmanager
def readable(uri: str) -> Iterator[None]:
    """Turn the errors of a damaged shard into one that names it.

    Raises:
        UserError: the shard is cut off, or holds something else than records of images.
    """
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, ValueError) as error:
        first = _OF_THE_GRAPH.sub("", (getattr(error, "message", None) or str(error)).splitlines()[0])
        raise damaged(uri, first) from error


def damaged(uri: str, reason: str) -> UserError:
    """Return the error for a shard that cannot be read."""
    return UserError(
        f"the shard '{uri}' is damaged: {reason}. Delete the folder of its artifact; the same command makes it again"
    )
