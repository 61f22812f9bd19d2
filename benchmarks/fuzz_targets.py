"""Readers of untrusted data for `benchmarks.fuzz`, and strategies for their inputs.

Most inputs are valid ones with a few changes, since random bytes get no further than the first check.
"""

from __future__ import annotations

import functools
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from dermrobust.attacks.errors import UserError


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        name: what it reads.
        inputs: strategy for files that are given to it.
        read: reads a file, below whose folder it may write.
        share: of all inputs, relative to other targets.
        seconds: that one input may take.
    """

    name: str
    inputs: SearchStrategy[bytes]
    read: Callable[[bytes, Path], object]
    share: float
    seconds: float = 20.0


def is_read(target: Target, content: bytes, folder: Path) -> bool:
    """Return whether an input is read; False if it is refused. Other errors are raised."""
    from dermrobust.components.image_validation import BadRecord

    try:
        target.read(content, folder)
    except (UserError, BadRecord):
        return False
    return True


_PLACES = st.integers(0, 10**6)
"""Places in a file, modulo its size."""


def _changed(contents: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """Files with a few changes: bytes that are replaced, left out, repeated or inserted."""
    change = st.tuples(st.sampled_from("rdci"), _PLACES, st.binary(min_size=1, max_size=8))
    return st.builds(_apply, contents, st.lists(change, max_size=4))


def _apply(content: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    for kind, place, value in changes:
        at = place % (len(content) + 1)
        end = {"r": at + len(value), "d": at + len(value) ** 2, "c": at, "i": at}[kind]
        middle = {"r": value, "d": b"", "c": content[at : at + 64], "i": value}[kind]
        content = content[:at] + middle + content[end:]
    return content


def _renamed(content: bytes, changes: list[tuple[int, str]]) -> bytes:
    """A file in which names are others of the same length, so that it can still be parsed."""
    for place, name in changes:
        names = list(re.finditer(rb"[A-Za-z0-9_:/]{3,}", content))
        found = names[place % len(names)]
        other = name.encode().ljust(len(found[0]), b"x")[: len(found[0])]
        content = content[: found.start()] + other + content[found.end() :]
    return content


# Configs

_NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([0, 1, -1, 2**31, 2**63, 1e308, 10**40]))
_WORDS = st.one_of(st.text(max_size=8), st.sampled_from(["pgd", "fast", "auto", "../x", "/tmp/x", "linf:4/255", "\0"]))
_SCALARS = st.one_of(st.none(), st.booleans(), _NUMBERS, _WORDS)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_WORDS, inner, max_size=4)),
    max_leaves=8,
)


@functools.cache
def _config() -> dict[str, Any]:
    from dermrobust.pipeline.config_files import load_config

    config: dict[str, Any] = load_config(None).model_dump(mode="json")
    return config


def _places(values: Any, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [place, *(found for key, value in inner for found in _places(value, (*place, key)))]


def _edited(text: str | bytes, changes: list[tuple[int, Any]]) -> bytes:
    """JSON with other values at some places, which numbers choose."""
    values = json.loads(text)
    for index, value in changes:
        places = _places(values)[1:]
        *path, last = places[index % len(places)]
        inner = values
        for key in path:
            inner = inner[key]
        inner[last] = value
    return json.dumps(values).encode()


def _with_values(changes: list[tuple[int, Any]]) -> bytes:
    """The default config with other values at some places."""
    return _edited(json.dumps(_config()), changes)


def _configs() -> SearchStrategy[bytes]:
    values = st.builds(_with_values, st.lists(st.tuples(st.integers(0, 2000), _VALUES), max_size=3))
    return st.one_of(values, _changed(values), st.binary(max_size=60))


def _read_config(content: bytes, folder: Path) -> None:
    from dermrobust.pipeline.config_files import load_config

    path = folder / "config.json"
    path.write_bytes(content)
    load_config(path)


# Tables

_COLUMNS = ["image_id", "dx", "age", "lesion_id"]
_CELLS = ["sex", "a", "b", "mel", "nv", "40", "-1", "nan", "", " ", '"', '""', "\ufeff"]
_MARKS = [",", ";", "\t", "\n", "\r\n", "\r", '"', "\0", "\x1a", "é"]


def _tables() -> SearchStrategy[bytes]:
    written = st.lists(st.sampled_from([*_COLUMNS, *_CELLS, *_MARKS]), max_size=60).map(
        lambda parts: "".join(parts).encode()
    )
    row = st.lists(st.sampled_from(_CELLS), min_size=3, max_size=3).map(",".join)
    table = st.lists(row, max_size=6).map(lambda rows: "\n".join(["image_id,dx,age", *rows]).encode())
    return st.one_of(written, table, _changed(table))


def _read_table(content: bytes, folder: Path) -> None:
    """Read a table as metadata of a data set and as labels of an audit; it is refused if both refuse it."""
    from dermrobust.components.audit.labels import read_labels

    path = folder / "metadata.csv"
    path.write_bytes(content)
    refusals = []
    for read in (_read_metadata, read_labels):
        try:
            read(path)
        except UserError as refusal:
            refusals.append(refusal)
    if len(refusals) == 2:
        raise refusals[0]


def _read_metadata(path: Path) -> None:
    """Read a table as the data set `folder` does."""
    from dermrobust.components.csv_table import read_csv
    from dermrobust.components.ingest.datasets.folder.source import FolderSource
    from dermrobust.components.ingest.datasets.listing import listing_of

    source = FolderSource()
    table = read_csv(path)
    table.require(source.required_columns, "")
    listing_of(table.rows, source.resolved_task, {})


# Records


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


def _shards() -> SearchStrategy[bytes]:
    valid = st.deferred(lambda: st.just(_record()))
    framed = st.lists(st.one_of(valid, _changed(valid), st.binary(max_size=20)), max_size=3).map(_framed)
    return st.one_of(framed, _changed(framed))


def _read_shard(content: bytes, folder: Path) -> None:
    from dermrobust.components.examples import read_images, read_shard
    from dermrobust.models.tasks.ham10000 import TASK

    path = folder / "shard.tfrecord"
    path.write_bytes(content)
    for batch in read_shard(str(path), TASK):
        assert len(batch.pixels) == len(batch.labels) == len(batch.columns["image/id"])
    read_images(str(path))


# Archives


def _archive(contents: list[bytes], method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for index, content in enumerate(contents):
            archive.writestr(f"folder/{index}.png", content)
    return buffer.getvalue()


@functools.cache
def _photos() -> tuple[bytes, ...]:
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (12, 12, 3), np.uint8)
    files = []
    for name in ("PNG", "JPEG", "GIF", "BMP"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, name)
        files.append(buffer.getvalue())
    return tuple(files)


def _archives() -> SearchStrategy[bytes]:
    photo = st.deferred(lambda: st.sampled_from(_photos()))
    methods = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    valid = st.builds(_archive, st.lists(st.one_of(photo, _changed(photo)), min_size=1, max_size=2), methods)
    return st.one_of(valid, _changed(valid))


def _read_archive(content: bytes, folder: Path) -> None:
    from dermrobust.components.image_record import IMAGE_SUFFIXES
    from dermrobust.components.image_validation import BadRecord, check_image
    from dermrobust.components.ingest import image_sources

    path = folder / "images.zip"
    path.write_bytes(content)
    # An archive stays open: the next one has the same name.
    image_sources._archive.cache_clear()
    for locator in image_sources.index_images([path], IMAGE_SUFFIXES).values():
        try:
            check_image(image_sources.read_image(locator))
        except BadRecord:
            continue


# Models


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
    return _packed({**_members(), "config.json": _edited(_members()["config.json"], changes)})


def _networks() -> SearchStrategy[bytes]:
    names = st.sampled_from(["Lambda", "__lambda__", "os", "keras.utils", "get_file", "keras.layers", "Dense"])
    values = st.one_of(_VALUES, names)
    configs = st.builds(_with_config, st.lists(st.tuples(st.integers(0, 500), values), min_size=1, max_size=2))
    weights = _changed(st.deferred(lambda: st.just(_members()["model.weights.h5"])))
    packed = weights.map(lambda content: _packed({**_members(), "model.weights.h5": content}))
    whole = _changed(st.deferred(lambda: st.just(_packed(_members()))))
    return st.one_of(configs, packed, whole)


def _read_network(content: bytes, folder: Path) -> None:
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


def _graphs() -> SearchStrategy[bytes]:
    whole = st.deferred(lambda: st.just((_saved_model() / "saved_model.pb").read_bytes()))
    byte = st.tuples(st.just("r"), _PLACES, st.binary(min_size=1, max_size=1))
    bytes_ = st.builds(_apply, whole, st.lists(byte, min_size=1, max_size=2))
    name = st.sampled_from(["WriteFile", "ReadFile", "Const", "MatMul", "Reshape", "serve", "scores", "x"])
    names = st.builds(_renamed, whole, st.lists(st.tuples(_PLACES, name), min_size=1, max_size=2))
    return st.one_of(names, bytes_, _changed(whole))


def _read_saved_model(content: bytes, folder: Path) -> None:
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


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target("config", _configs(), _read_config, 0.3),
        Target("table", _tables(), _read_table, 0.3),
        Target("record", _shards(), _read_shard, 0.15),
        Target("archive", _archives(), _read_archive, 0.2),
        Target("network", _networks(), _read_network, 0.02),
        Target("saved_model", _graphs(), _read_saved_model, 0.03),
    )
}
