"""Trained networks: saved reproducibly, loaded safely, and turned into targets of attacks."""

from __future__ import annotations

import functools
import io
import json
import tempfile
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import tensorflow as tf

from dermrobust.attacks.target import LogitsFn, Precision, Target
from dermrobust.models.folding import foldable_pairs, folded_network, folded_weights, is_graph_of_layers
from dermrobust.models.foreign.declared import EXPANSION

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Earliest time that a ZIP archive can hold."""
_COMPRESSED_BYTES = 16_384
"""Arrays below this size stay as they are: the index of a compressed array takes kilobytes itself."""
_loading = threading.Lock()
"""Guards `_architecture`, because `lru_cache` lets two threads build the same one, and both would be compiled."""


def save_network(network: keras.Model, path: Path) -> None:
    """Write a `.keras` file whose bytes depend on the network alone, with compressed weights.

    Keras (3.15) writes the time of day and memory addresses into it, so equal networks would have unequal digests, and
    compresses nothing.
    """
    buffer = Path(f"{path}.tmp.keras")
    network.save(buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w") as result:
        for name in sorted(source.namelist()):
            content = source.read(name)
            result.writestr(zipfile.ZipInfo(name, _ZIP_EPOCH), _REWRITTEN.get(name, bytes)(content))
    buffer.unlink()


def _without_date(metadata: bytes) -> bytes:
    values = json.loads(metadata)
    values.pop("date_saved", None)
    return json.dumps(values, sort_keys=True).encode()


def _with_counted_objects(config: bytes) -> bytes:
    """Replace the addresses by which Keras identifies shared objects with 1, 2, … in the order of the file."""
    numbers: dict[int, int] = {}

    def renumber(values: dict[str, Any]) -> dict[str, Any]:
        if "shared_object_id" in values:
            values["shared_object_id"] = numbers.setdefault(values["shared_object_id"], len(numbers) + 1)
        return values

    return json.dumps(json.loads(config, object_hook=renumber)).encode()


def _compressed(weights: bytes) -> bytes:
    """Return an HDF5 file with its larger arrays compressed; readers see no difference.

    A file that would shrink so much that it looked like an archive bomb, such as one of zeros, is returned as it is.
    """
    buffer = io.BytesIO()
    with h5py.File(io.BytesIO(weights)) as source, h5py.File(buffer, "w") as result:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset) and item.nbytes >= _COMPRESSED_BYTES:
                # Exponents of weights repeat and their other bits do not, so bytes are sorted by place first.
                copied = result.create_dataset(name, data=item[()], compression="gzip", shuffle=True)
            elif isinstance(item, h5py.Dataset):
                copied = result.create_dataset(name, data=item[()])
            else:
                copied = result.create_group(name)
            copied.attrs.update(item.attrs)

        source.visititems(copy)
        result.attrs.update(source.attrs)
    compressed = buffer.getvalue()
    return compressed if EXPANSION * len(compressed) >= len(weights) else weights


_REWRITTEN: Mapping[str, Callable[[bytes], bytes]] = {
    "metadata.json": _without_date,
    "config.json": _with_counted_objects,
    "model.weights.h5": _compressed,
}


def load_network(path: Path) -> keras.Model:
    """Load a `.keras` file in safe mode, which runs no code in it (CVE-2025-9905 and related ones).

    Raises:
        ValueError: The file is not a `.keras` file, or holds code.
    """
    if path.suffix != ".keras":
        raise ValueError(f"'{path}' is not a .keras file; other formats can run arbitrary code on loading")
    return keras.models.load_model(path, compile=False, safe_mode=True)


def load_network_bytes(content: bytes) -> keras.Model:
    """Load a `.keras` file from memory; see `load_network`."""
    # Through a file: Keras loads by path alone.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        path.write_bytes(content)
        return load_network(path)


@dataclass(frozen=True)
class _Architecture:
    """Parts that all networks of an architecture share.

    Attributes:
        logits: Logits function in inference mode, the same object for all of them.
        pairs: See `foldable_pairs`.
        folded: Network that `logits` runs.
    """

    logits: LogitsFn
    pairs: Mapping[str, str]
    folded: keras.Model


@functools.lru_cache(maxsize=16)
def _architecture(config: str, folding: bool, precision: str) -> _Architecture:
    """Return the parts that networks of a configuration (JSON) share."""
    network = keras.models.model_from_json(config)
    pairs = foldable_pairs(network) if folding else {}
    changed = folding and is_graph_of_layers(network)
    folded = folded_network(network, pairs, precision) if changed else network
    trainable = len(folded.trainable_variables)

    def logits(weights: Sequence[Any], images: Any) -> Any:
        outputs, _ = folded.stateless_call(weights[:trainable], weights[trainable:], images, training=False)
        return tf.cast(outputs, tf.float32)

    return _Architecture(logits, pairs, folded)


_SLACK = {"float32": 0.0, "bfloat16": 0.02}
"""Bound of the error of logits relative to their spread; bfloat16 has 8 bits, and errors add up over layers."""


def attack_target(network: keras.Model, *, folding: bool = True, precision: Precision = "float32") -> Target:
    """Return the target of a network: its logits as a function of weights and images.

    Args:
        network: Keras 3 network from images in [0, 1] to logits.
        folding: Fold batch normalization into convolutions, which changes logits by float rounding only and makes
            gradients cheaper; False: the network exactly as it is, to score images by.
        precision: Precision of gradients. In bfloat16 they are faster on CPUs with AMX or AVX-512-BF16
            (docs/benchmarks.md), not measured on others; the network in float32 then decides on success.
    """
    with _loading:
        shared = _architecture(network.to_json(), folding, precision)
    exact = None if precision == "float32" else attack_target(network, folding=folding)
    if folding and is_graph_of_layers(network):
        weights = folded_weights(network, shared.pairs, shared.folded)
        return Target(shared.logits, tuple(weights), exact=exact, slack=_SLACK[precision])
    variables = [*network.trainable_variables, *network.non_trainable_variables]
    return Target(shared.logits, tuple(tf.convert_to_tensor(variable.value) for variable in variables))
