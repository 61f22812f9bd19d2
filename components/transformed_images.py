"""Images that were transformed within a threat model beyond a norm: names of their files, records, and reading them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from dermrobust.attacks.threat import Pixels
from dermrobust.attacks.transforms.engine import Transformed
from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.attacks.transforms.transform import Values
from dermrobust.components import storage
from dermrobust.components.evaluation.conditions import condition_of
from dermrobust.components.evaluation.names import canonical_epsilon
from dermrobust.components.evaluation.predictions import ADVERSARIAL
from dermrobust.components.examples import FEATURES, Batch, Split, decode_pixels, encode, encode_pixels, shard_name
from dermrobust.components.shard_file import read_records, readable
from dermrobust.models.task import IMAGE, IMAGE_ID

_PARAMETERS = "parameters"
"""Feature with the values of the transformation's parameters: JSON, by name."""


@dataclass(frozen=True)
class StoredTransforms:
    """Content of a shard.

    Attributes:
        ids: ids of the images.
        pixels: uint8 [count, height, width, 3].
        encoded: PNG files.
        values: float32 [count, parameter].
    """

    ids: list[str]
    pixels: Pixels
    encoded: list[bytes]
    values: Values


def transformed_name(threat: TransformThreat, search: str, index: int, count: int) -> str:
    """Return the path of a shard of transformed test images in an artifact."""
    folder = f"{threat.family}-{canonical_epsilon(threat.strength)}-{search}"
    return storage.join(ADVERSARIAL, folder, shard_name(Split.TEST, index, count))


def transformed_records(
    batch: Batch, found: Transformed, threat: TransformThreat, search: str, source_model: str
) -> Iterator[bytes]:
    """Yield serialized records: the features of the clean ones, those of the attack, and the parameters."""
    names = [parameter.name for parameter in threat.transform.parameters]
    for index, image in enumerate(found.pixels):
        # Floats of Python print all digits, so float32 values are read back to the last bit.
        values = dict(zip(names, map(float, found.values[index]), strict=True))
        yield encode(
            {
                **batch.record(index),
                IMAGE: encode_pixels(image),
                "attack": condition_of(threat.family, search),
                "norm": threat.family,
                "epsilon": threat.strength,
                _PARAMETERS: json.dumps(values),
                "source_model": source_model,
            }
        )


def read_transformed(uri: str, threat: TransformThreat) -> StoredTransforms:
    """Return the images of a shard with their parameters; a parameter that is missing is NaN.

    Raises:
        UserError: the shard is damaged.
    """
    features: dict[str, Any] = {
        IMAGE_ID: FEATURES[IMAGE_ID],
        IMAGE: FEATURES[IMAGE],
        _PARAMETERS: tf.io.FixedLenFeature([], tf.string, "{}"),
    }
    names = [parameter.name for parameter in threat.transform.parameters]
    with readable(uri):
        serialized = tf.constant(read_records(uri), tf.string)
        record = {name: value.numpy().tolist() for name, value in tf.io.parse_example(serialized, features).items()}
        return StoredTransforms(
            ids=[name.decode() for name in record[IMAGE_ID]],
            pixels=decode_pixels(record[IMAGE]) if record[IMAGE] else np.empty((0, 0, 0, 3), np.uint8),
            encoded=record[IMAGE],
            values=_values(record[_PARAMETERS], names),
        )


def _values(texts: Sequence[bytes], names: Sequence[str]) -> Values:
    read = [json.loads(text) for text in texts]
    rows = [[float(found.get(name, "nan")) for name in names] for found in read]
    return np.asarray(rows, np.float32).reshape(len(read), len(names))
