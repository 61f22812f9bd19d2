"""Files of Keras networks, and SavedModels."""

from __future__ import annotations

import functools
import io
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from benchmarks.fuzz_targets.changes import PLACES, apply, changed, renamed
from benchmarks.fuzz_targets.json_edits import VALUES, edited


@functools.cache
def _members() -> Mapping[str, bytes]:
    """Files inside of a `.keras` file."""
    import keras
    from keras import layers

    network = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(2)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        network.save(path)
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}


def _packed(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _with_config(changes: list[tuple[int, Any]]) -> bytes:
    """The model with other values at some places of its config."""
    return _packed({**_members(), "config.json": edited(_members()["config.json"], changes)})


def networks() -> SearchStrategy[bytes]:
    """Return `.keras` files with a few changes."""
    names = st.sampled_from(["Lambda", "__lambda__", "os", "keras.utils", "get_file", "keras.layers", "Dense"])
    values = st.one_of(VALUES, names)
    configs = st.builds(_with_config, st.lists(st.tuples(st.integers(0, 500), values), min_size=1, max_size=2))
    weights = changed(st.deferred(lambda: st.just(_members()["model.weights.h5"])))
    packed = weights.map(lambda content: _packed({**_members(), "model.weights.h5": content}))
    whole = changed(st.deferred(lambda: st.just(_packed(_members()))))
    return st.one_of(configs, packed, whole)


def read_network(content: bytes, folder: Path) -> None:
    """Load a network."""
    import keras

    from dermrobust.models.foreign.networks import opened, read_network

    path = folder / "model.keras"
    path.write_bytes(content)
    try:
        opened(read_network(path), 8)
    finally:
        # Thousands of networks in one process.
        keras.backend.clear_session()


@functools.cache
def _saved_model() -> Path:
    import tensorflow as tf

    class Classifier(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable(tf.zeros((192, 2)))

        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3])])
        def scores(self, images: Any) -> Any:
            return {"scores": tf.reshape(images, (-1, 192)) @ self.weights}

    folder = Path(tempfile.mkdtemp(), "model")
    module = Classifier()
    tf.saved_model.save(module, str(folder), signatures=module.scores)
    return folder


def graphs() -> SearchStrategy[bytes]:
    """Return graphs of SavedModels with a few changes."""
    whole = st.deferred(lambda: st.just((_saved_model() / "saved_model.pb").read_bytes()))
    byte = st.tuples(st.just("r"), PLACES, st.binary(min_size=1, max_size=1))
    bytes_ = st.builds(apply, whole, st.lists(byte, min_size=1, max_size=2))
    name = st.sampled_from(["WriteFile", "ReadFile", "Const", "MatMul", "Reshape", "serve", "scores", "x"])
    names = st.builds(renamed, whole, st.lists(st.tuples(PLACES, name), min_size=1, max_size=2))
    return st.one_of(names, bytes_, changed(whole))


def read_saved_model(content: bytes, folder: Path) -> None:
    """Check and load a SavedModel."""
    import shutil

    from dermrobust.models.foreign.saved_models import load_outputs, read_signature, unknown_operations

    model = folder / "model"
    if not model.exists():
        shutil.copytree(_saved_model(), model)
    (model / "saved_model.pb").write_bytes(content)
    unknown_operations(model)
    signature = read_signature(model)
    # The next one has the same name.
    load_outputs.cache_clear()
    load_outputs(model, signature)
