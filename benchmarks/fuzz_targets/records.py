"""Shards of records."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from benchmarks.fuzz_targets.changes import changed


@functools.cache
def _record() -> bytes:
    import numpy as np

    from dermrobust.components.examples import encode, encode_pixels
    from dermrobust.components.image_record import ImageRecord
    from dermrobust.models.task import IMAGE
    from dermrobust.models.tasks.ham10000 import TASK

    features = ImageRecord("a", "mel", "L1", TASK.parse_metadata({"age": "40"})).features(TASK)
    return encode({IMAGE: encode_pixels(np.zeros((8, 8, 3), np.uint8)), **features})


def _framed(records: list[bytes]) -> bytes:
    """A TFRecord file of records, with the checksums that they need."""
    import tensorflow as tf

    with tempfile.NamedTemporaryFile() as file:
        with tf.io.TFRecordWriter(file.name) as writer:
            for record in records:
                writer.write(record)
        return Path(file.name).read_bytes()


def shards() -> SearchStrategy[bytes]:
    """Return shards with a few changes."""
    valid = st.deferred(lambda: st.just(_record()))
    framed = st.lists(st.one_of(valid, changed(valid), st.binary(max_size=20)), max_size=3).map(_framed)
    return st.one_of(framed, changed(framed))


def read_shard(content: bytes, folder: Path) -> None:
    """Read a shard of clean and of adversarial images."""
    from dermrobust.components.examples import read_images, read_shard
    from dermrobust.models.tasks.ham10000 import TASK

    path = folder / "shard.tfrecord"
    path.write_bytes(content)
    for batch in read_shard(str(path), TASK):
        assert len(batch.pixels) == len(batch.labels) == len(batch.columns["image/id"])
    read_images(str(path))
