"""Readers of untrusted data for `benchmarks.fuzz`, and strategies for their inputs.

Most inputs are valid ones with a few changes, since random bytes get no further than the first check.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import re
import socketserver
import tempfile
import threading
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
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


# ONNX files


@functools.cache
def _onnx_file() -> bytes:
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    nodes = [helper.make_node("Flatten", ["images"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["scores"])]
    images = helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["n", 4, 4, 3])
    scores = helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["n", 2])
    weights = numpy_helper.from_array(np.ones((48, 2), np.float32), "w")
    graph = helper.make_graph(nodes, "linear", [images], [scores], [weights])
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def _onnx_files() -> SearchStrategy[bytes]:
    whole = st.deferred(lambda: st.just(_onnx_file()))
    byte = st.tuples(st.just("r"), st.integers(0, 250), st.binary(min_size=1, max_size=1))
    bytes_ = st.builds(_apply, whole, st.lists(byte, min_size=1, max_size=2))
    name = st.sampled_from(["Loop", "If", "Reshape", "MatMul", "Identity", "images", "scores", "w"])
    names = st.builds(_renamed, whole, st.lists(st.tuples(_PLACES, name), min_size=1, max_size=2))
    return st.one_of(whole, names, bytes_, _changed(whole))


def _read_onnx(content: bytes, folder: Path) -> None:
    path = folder / "model.onnx"
    path.write_bytes(content)
    ask_onnx(path)


def ask_onnx(path: Path) -> None:
    """Read an ONNX file, and ask it about two images."""
    import numpy as np

    from dermrobust.models.foreign.black_box import answers_of, read_endpoint
    from dermrobust.models.image_size import height_and_width

    endpoint = read_endpoint(path, None, None)
    height, width = height_and_width(endpoint.image_size or 4)
    answers_of(endpoint, path.read_bytes())(np.ones((2, min(height, 64), min(width, 64), 3), np.float32))


# Served models


def served_metadata() -> dict[str, Any]:
    """Metadata of a served model that takes images of 8 by 8 pixels and returns two scores."""
    taken = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": size} for size in ("-1", "8", "8", "3")]}}
    returned = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "2"}]}}
    signature = {"inputs": {"images": taken}, "outputs": {"scores": returned}}
    return {
        "model_spec": {"version": "3"},
        "metadata": {"signature_def": {"signature_def": {"serving_default": signature}}},
    }


class AnsweringServer(socketserver.ThreadingTCPServer):
    """A server of chosen bytes on a port of this machine, which answers each request with all of them.

    Attributes:
        metadata: HTTP answer to GET.
        predictions: HTTP answer to POST.
    """

    daemon_threads = True
    metadata, predictions = b"", b""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        """Address of the model."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1/models/skin"

    def ask(self) -> None:
        """Read the metadata, and ask for predictions of one image."""
        import numpy as np

        from dermrobust.models.foreign.black_box import answers_of, read_endpoint

        answers_of(read_endpoint(self.url, None, None), None)(np.ones((1, 8, 8, 3), np.float32))


class _Answering(socketserver.StreamRequestHandler):
    server: AnsweringServer

    def handle(self) -> None:
        lines = list(iter(self.rfile.readline, b"\r\n"))
        lengths = [int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")]
        self.rfile.read(sum(lengths))
        # The client may have seen enough.
        with contextlib.suppress(OSError):
            self.wfile.write(self.server.metadata if lines[0].startswith(b"GET") else self.server.predictions)


_server = functools.cache(AnsweringServer)


def _with_answers(metadata: list[tuple[int, Any]], predictions: list[tuple[int, Any]]) -> bytes:
    """Bodies of answers, a line each, with other values at some places."""
    bodies = (
        _edited(json.dumps(served_metadata()), metadata),
        _edited(json.dumps({"predictions": [[0.1, 0.9]]}), predictions),
    )
    return b"\n".join(bodies)


def _answers() -> SearchStrategy[bytes]:
    words = st.sampled_from(["DT_INT64", "DT_STRING", "serving_default", "scores", "-1", "4", "99999999999"])
    edits = st.lists(st.tuples(st.integers(0, 100), st.one_of(_VALUES, words)), max_size=2)
    whole = st.builds(_with_answers, edits, edits)
    return st.one_of(whole, _changed(whole))


def _read_answers(content: bytes, folder: Path) -> None:
    del folder
    server, bodies = _server(), content.partition(b"\n")
    server.metadata, server.predictions = (
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body) for body in bodies[::2]
    )
    server.ask()


# Requests to a served model


class _Echo:
    """A model whose answers are sizes."""

    version = 1
    description: Mapping[str, Any] = MappingProxyType({"signatures": {}})

    def __init__(self) -> None:
        from dermrobust.pipeline.serving.requests import Signature

        self.signatures: Mapping[str, Signature] = {
            "serving_default": Signature("serving_default", "image_bytes", (), encoded=True),
            "pixels": Signature("pixels", "images", (2, 2, 3), encoded=False),
        }

    def predict(self, request: Any) -> dict[str, Any]:
        import numpy as np

        return {"size": np.array([len(each) for each in request.values])}


@functools.cache
def _client() -> Any:
    from starlette.testclient import TestClient

    from dermrobust.pipeline.serving.app import create_app

    return TestClient(create_app(_Echo(), "skin"))


def post(content: bytes) -> None:
    """Send the body of a request.

    Raises:
        UserError: the answer is not a prediction but a status below 500, with its message.
    """
    answer = _client().post("/v1/models/skin:predict", content=content)
    if 400 <= answer.status_code < 500:
        raise UserError(f"{answer.status_code}: {answer.json()['error']}")
    assert answer.status_code == 200 and answer.json()


def _with_request(image: bool, changes: list[tuple[int, Any]]) -> bytes:
    pixels = {"signature_name": "pixels", "instances": [[[[0.5] * 3] * 2] * 2]}
    return _edited(json.dumps({"instances": [{"b64": "AAAA"}]} if image else pixels), changes)


def _requests() -> SearchStrategy[bytes]:
    edits = st.lists(st.tuples(st.integers(0, 100), _VALUES), max_size=2)
    whole = st.builds(_with_request, st.booleans(), edits)
    return st.one_of(whole, _changed(whole), st.binary(max_size=60))


def _read_request(content: bytes, folder: Path) -> None:
    del folder
    post(content)


# Ledgers


@functools.cache
def _ledger() -> bytes:
    from dermrobust.pipeline.ledger import Ledger

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.sqlite")
        ledger = Ledger(path)
        ledger.begin_run("20260101T000000-aaaaaa", {"seed": 1})
        outcome = {"fingerprint": "f" * 32, "status": "done", "seconds": 1.5, "message": ""}
        ledger.record(
            "20260101T000000-aaaaaa",
            node="gate",
            stage="evaluate",
            component="gate",
            inputs={},
            outputs={},
            **outcome,  # type: ignore[arg-type]
        )
        return path.read_bytes()


def _ledgers() -> SearchStrategy[bytes]:
    whole = st.deferred(lambda: st.just(_ledger()))
    byte = st.tuples(st.just("r"), _PLACES, st.binary(min_size=1, max_size=2))
    used = st.tuples(st.just("r"), st.sampled_from(_used(_ledger())), st.binary(min_size=1, max_size=2))
    bytes_ = st.builds(_apply, whole, st.lists(st.one_of(byte, used), min_size=1, max_size=3))
    return st.one_of(bytes_, _changed(whole))


def _used(content: bytes) -> list[int]:
    """Return the places that are not zero: most of a ledger is free space."""
    return [place for place, byte in enumerate(content) if byte]


def _read_ledger(content: bytes, folder: Path) -> None:
    root = folder / "root"
    root.mkdir(exist_ok=True)
    (root / "ledger.sqlite").write_bytes(content)
    use_ledger(root)


def use_ledger(root: Path) -> None:
    """Read a root's ledger as the commands do that list runs, show results and find garbage."""
    from dermrobust.pipeline.config import PipelineConfig
    from dermrobust.pipeline.garbage import disk_use
    from dermrobust.pipeline.history import latest_evaluation, recent_runs
    from dermrobust.pipeline.ledger import Ledger
    from dermrobust.pipeline.local_files import ledger_path

    config = PipelineConfig(root=str(root))
    ledger = Ledger(ledger_path(config))
    for run in recent_runs(config, 10):
        json.dumps(ledger.run(run["id"]))
    ledger.durations()
    disk_use(config)
    try:
        latest_evaluation(config)
    except UserError as refusal:
        # Nothing was evaluated.
        if "cannot be used" in str(refusal):
            raise


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target("config", _configs(), _read_config, 0.3),
        Target("table", _tables(), _read_table, 0.3),
        Target("record", _shards(), _read_shard, 0.15),
        Target("archive", _archives(), _read_archive, 0.2),
        Target("network", _networks(), _read_network, 0.02),
        Target("saved_model", _graphs(), _read_saved_model, 0.03),
        Target("onnx", _onnx_files(), _read_onnx, 0.05),
        Target("answer", _answers(), _read_answers, 0.05),
        Target("request", _requests(), _read_request, 0.1),
        Target("ledger", st.deferred(_ledgers), _read_ledger, 0.05),
    )
}
