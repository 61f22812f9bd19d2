"""Trained networks on disk and in memory: saved reproducibly, loaded safely and once per process, handed to attacks."""

from __future__ import annotations

import functools
import json
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from attacks.target import LogitsFn, Target

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_loading = threading.Lock()


def save_network(network: keras.Model, path: Path) -> None:
    """Write a `.keras` file whose bytes depend on the network alone (Keras puts the time of day into it)."""
    buffer = Path(f"{path}.tmp.keras")
    network.save(buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w") as result:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                metadata = json.loads(content)
                metadata.pop("date_saved", None)
                content = json.dumps(metadata, sort_keys=True).encode()
            result.writestr(zipfile.ZipInfo(name, _ZIP_EPOCH), content)
    buffer.unlink()


def load_network(path: Path) -> keras.Model:
    """Load a `.keras` file in safe mode: no pickled or arbitrary code runs (CVE-2025-9905 and relatives).

    Raises:
        ValueError: the file is not `.keras`, or holds code.
    """
    if path.suffix != ".keras":
        raise ValueError(f"'{path}' is not a .keras file; other formats can run arbitrary code on loading")
    return keras.models.load_model(path, compile=False, safe_mode=True)


def load_network_bytes(content: bytes, name: str = "model.keras") -> keras.Model:
    """Load a `.keras` file from memory; see `load_network`."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        return load_network(path)


@functools.lru_cache(maxsize=8)
def _shared_logits(architecture: str) -> LogitsFn:
    """Return one logits function for all networks of an architecture (its JSON), in inference mode."""
    network = keras.models.model_from_json(architecture)
    trainable = len(network.trainable_variables)

    def logits(weights: Sequence[Any], images: Any) -> Any:
        outputs, _ = network.stateless_call(weights[:trainable], weights[trainable:], images, training=False)
        return outputs

    return logits


def attack_target(network: keras.Model) -> Target:
    """Return what an attack sees of a network: its logits as a function of weights and images."""
    variables = [*network.trainable_variables, *network.non_trainable_variables]
    with _loading:
        logits = _shared_logits(network.to_json())
    return Target(logits=logits, weights=tuple(tf.convert_to_tensor(variable.value) for variable in variables))


@functools.lru_cache(maxsize=8)
def compiled_logits(logits: LogitsFn) -> Any:
    """Return the compiled forward pass of an architecture: (weights, images) -> logits."""
    return tf.function(logits)
