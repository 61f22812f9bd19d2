"""Records of equal bytes from equal examples.

TFDS 4.9.10 serializes the features of an example in the order of a hash table, which differs from one process to the
next. The data set would then have another digest each time that it is generated, and all that follows be made anew.
"""

from __future__ import annotations

from typing import Any

from tensorflow_datasets.core import example_serializer


class DeterministicSerializer(example_serializer.ExampleSerializer):
    """Serializer of TFDS that writes the features of an example in the order of their names."""

    def serialize_example(self, example: Any) -> bytes:
        """Return the bytes of a `tf.train.Example`; `example` is encoded by the features of the data set."""
        return bytes(self.get_tf_example(example).SerializeToString(deterministic=True))
