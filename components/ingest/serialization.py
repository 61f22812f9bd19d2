"""Records of equal bytes from equal examples.

TFDS 4.9.10 serializes the features of an example in the order of a hash table, which differs from one process to the
next. The data set would then have another digest each time that it is generated, and all that follows be made anew.
"""

from __future__ import annotations

from typing import Any

from tensorflow_datasets.core import example_serializer


def _serialized(serializer: Any, example: Any) -> bytes:
    return bytes(serializer.get_tf_example(example).SerializeToString(deterministic=True))


def serialize_deterministically() -> None:
    """Make TFDS write the features of an example in the order of their names, in this process.

    TFDS builds its serializers itself and hands them to workers, so its class is changed there.
    """
    example_serializer.ExampleSerializer.serialize_example = _serialized
