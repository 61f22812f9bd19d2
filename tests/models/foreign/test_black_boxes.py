"""Black boxes: a served model or an ONNX file answers as the network behind it does, and shows no gradient."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from dermrobust.attacks.apgd import APGDCE
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.engine import attack_pixels, to_images
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.hop_skip_jump import HopSkipJump
from dermrobust.attacks.logits import logits_of
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import ThreatModel
from dermrobust.models.classifier import attack_target
from dermrobust.models.foreign import rest
from dermrobust.models.foreign.black_box import black_box_target, read_endpoint
from dermrobust.models.foreign.spec import ForeignSpec, InputFormat, OutputKind
from tests.foreign_models import SIZE, learned
from tests.served_models import Served, serving
from tests.small_networks import CLASS_COUNT, colored_images

PIXELS, LABELS = colored_images(6, SIZE, seed=5)
EXPECTED = np.asarray(learned()(to_images(PIXELS), training=False))


def target_at(url: str, kind: OutputKind = OutputKind.LOGITS, signature: str | None = None) -> Target:
    endpoint = read_endpoint(url, signature, CLASS_COUNT)
    return black_box_target(
        ForeignSpec(format="rest", image_size=SIZE, input=InputFormat(), outputs=kind, endpoint=endpoint), None
    )


@pytest.mark.parametrize("signatures", [("pixels",), ("serving_default",), ("serving_default", "pixels")], ids=str)
def test_a_served_model_answers_as_its_network(signatures: tuple[str, ...]) -> None:
    with serving(Served(learned(), SIZE, signatures, ("scores", "class_index"))) as url:
        endpoint = read_endpoint(url, None, None)
        found = logits_of(target_at(url), to_images(PIXELS), 4)

    assert (endpoint.signature, endpoint.output, endpoint.version) == (signatures[-1], "scores", "3")
    assert endpoint.image_size == (SIZE if "pixels" in signatures else None)
    np.testing.assert_allclose(found, EXPECTED, atol=1e-4)


def test_labels_alone_are_attacked_and_never_show_more_errors_than_the_weights_do() -> None:
    served = Served(learned(), SIZE, ("pixels",), ("class_index",))
    threat = ThreatModel(20)
    seeds = np.arange(len(LABELS), dtype=np.uint64)

    def broken(attack: Attack, target: Target) -> Any:
        found = attack_pixels(attack, target, PIXELS, LABELS, seeds, threat=threat, batch_size=16)
        return np.asarray(learned()(to_images(found), training=False)).argmax(axis=1) != LABELS

    with serving(served) as url:
        blind = target_at(url, OutputKind.PROBABILITIES)
        np.testing.assert_array_equal(logits_of(blind, to_images(PIXELS), 16).argmax(axis=1), EXPECTED.argmax(axis=1))
        seen = served.images
        fallen = broken(HopSkipJump(queries=350, initial_samples=60), blind)
        assert 0 < served.images - seen <= 350 * len(LABELS) + 2 * 16
        with pytest.raises(UserError, match="no gradient"):
            broken(FGSM(), blind)

    assert 0 < fallen.sum() <= broken(APGDCE(steps=30), attack_target(learned())).sum()


def test_what_a_server_does_not_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "_TRIES", 2)
    served = Served(learned(), SIZE, ("pixels",), ("class_index",))
    with serving(served) as url:
        with pytest.raises(UserError, match="no signature 'other'; it has pixels"):
            read_endpoint(url, "other", None)
        with pytest.raises(UserError, match="neither scores nor class indices of a known number"):
            read_endpoint(url, None, None)
        with pytest.raises(UserError, match="answers 404: there is no '/v1/models/none"):
            read_endpoint(url.replace("skin", "none"), None, None)
        answers = rest.rest_answers(read_endpoint(url, None, CLASS_COUNT))
        served.broken = True
        with pytest.raises(UserError, match="answers 400: out of order"):
            answers(to_images(PIXELS))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(UserError, match="no usable answer from http"):
            read_endpoint(f"http://127.0.0.1:{free.getsockname()[1]}/v1/models/skin", None, None)


_METADATA = {
    "model_spec": {"version": "3"},
    "metadata": {
        "signature_def": {
            "signature_def": {
                "pixels": {
                    "inputs": {
                        "images": {
                            "dtype": "DT_FLOAT",
                            "tensor_shape": {"dim": [{"size": str(size)} for size in (-1, SIZE, SIZE, 3)]},
                        }
                    },
                    "outputs": {
                        "scores": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "2"}]}}
                    },
                }
            }
        }
    },
}


@contextlib.contextmanager
def answering(metadata: bytes, predictions: bytes = b"", headers: Mapping[str, str] | None = None) -> Iterator[str]:
    """A server with fixed answers; yields its address. With other headers than `Content-Length` it redirects."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = metadata if self.command == "GET" else predictions
            self.send_response(302 if headers and "Location" in headers else 200)
            for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/models/skin"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("metadata", "headers", "told"),
    [
        (b"{}", {}, "not what TensorFlow Serving answers"),
        (
            b'{"model_spec": {"version": 1}, "metadata": {"signature_def": {"signature_def": {}}}}',
            {},
            "has no signature",
        ),
        (b'{"model_spec": [], "metadata": 3}', {}, "not what TensorFlow Serving answers"),
        (
            b'{"model_spec": {"version": 1}, "metadata": {"signature_def": {"signature_def": []}}}',
            {},
            "not what TensorFlow Serving answers",
        ),
        (json.dumps(_METADATA).encode()[:-9], {}, "no usable answer"),
        (json.dumps(_METADATA).replace('"16"', '"x"').encode(), {}, "not what TensorFlow Serving answers"),
        (json.dumps(_METADATA).replace('"dim"', '"dims"').encode(), {}, "has no signature that takes images"),
        (json.dumps(_METADATA).replace('[{"size": "-1"}', '[7, {"size": "-1"}').encode(), {}, "not what TensorFlow"),
        (b"[" * 100_000, {}, "no usable answer from .*recursion"),
        (b"x" * 3000, {}, "larger than 0 MiB"),
        (b"{}", {"Content-Length": "50"}, "no usable answer from .*IncompleteRead"),
        (b"{}", {"Location": "http://127.0.0.1:9/elsewhere"}, "/v1/models/skin/metadata answers 302"),
    ],
)
def test_hostile_metadata_is_refused(
    metadata: bytes, headers: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "_TRIES", 2)
    monkeypatch.setattr(rest, "_MOST_ANSWERED", 200_000 if metadata[:1] == b"[" else 2000)
    with answering(metadata, headers=headers) as url, pytest.raises(UserError, match=told):
        read_endpoint(url, None, None)


@pytest.mark.parametrize("url", ["http://host:abc/x", "http://[x/v1", "http://127.0.0.1:1/a b"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(UserError, match="no usable answer from"):
        read_endpoint(url, None, None)


@pytest.mark.parametrize(
    ("predictions", "labels_only", "told"),
    [
        ("[[1, 2, 3]]", False, "2 finite numbers"),
        ("[1]", False, "2 finite numbers"),
        ("[[NaN, 1]]", False, "2 finite numbers"),
        ("[[1e300, 1]]", False, "2 finite numbers"),
        ('[["1", "2"]]', False, "does not answer with 'scores'"),
        ("[[1, [2]]]", False, "does not answer with 'scores'"),
        ("[[1, null]]", False, "does not answer with 'scores'"),
        ("3", False, "does not answer with 'scores'"),
        ("[[1, 2], [3, 4]]", False, "answered 2 predictions for 1 images"),
        ("[2]", True, "one class index from 0 to 1"),
        ("[-1]", True, "one class index from 0 to 1"),
        ("[0.5]", True, "one class index from 0 to 1"),
        ("[[0, 1]]", True, "one class index from 0 to 1"),
    ],
)
def test_predictions_of_another_shape_are_refused(predictions: str, labels_only: bool, told: str) -> None:
    content = b'{"predictions": ' + predictions.encode() + b"}"
    with answering(json.dumps(_METADATA).encode(), content) as url:
        endpoint = read_endpoint(url, None, None).model_copy(update={"labels_only": labels_only})
        with pytest.raises(UserError, match=f"versions/3:predict .*{told}"):
            rest.rest_answers(endpoint)(to_images(PIXELS[:1]))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_regular_file_is_refused(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "model.onnx")
    with pytest.raises(UserError, match=r"model\.onnx' is no regular file"):
        read_endpoint(tmp_path / "model.onnx", None, None)


def onnx_model(batch: int | str, shape: tuple[int, ...], weights: Any) -> bytes:
    """Flatten and multiply."""
    nodes = [helper.make_node("Flatten", ["images"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["scores"])]
    images = helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [batch, *shape])
    scores = helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [batch, weights.shape[1]])
    graph = helper.make_graph(nodes, "linear", [images], [scores], [numpy_helper.from_array(weights, "w")])
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )


@pytest.mark.parametrize("batch", ["n", 4])
@pytest.mark.parametrize("channels_first", [False, True])
def test_an_onnx_file_answers_whatever_its_layout_and_batch(
    batch: int | str, channels_first: bool, tmp_path: Any
) -> None:
    random = np.random.default_rng(0)
    weights = random.normal(size=(8 * 6 * 3, 5)).astype(np.float32)
    images = random.random((6, 8, 6, 3)).astype(np.float32)
    content = onnx_model(batch, (3, 8, 6) if channels_first else (8, 6, 3), weights)
    (tmp_path / "model.onnx").write_bytes(content)

    endpoint = read_endpoint(tmp_path / "model.onnx", None, None)
    spec = ForeignSpec(
        format="onnx", image_size=(8, 6), input=InputFormat(), outputs=OutputKind.LOGITS, endpoint=endpoint
    )
    found = logits_of(black_box_target(spec, content), images, 5)

    assert endpoint.image_size == (8, 6)
    seen = images.transpose(0, 3, 1, 2) if channels_first else images
    np.testing.assert_allclose(found, seen.reshape(6, -1) @ weights, rtol=1e-4, atol=1e-4)


def test_a_file_that_is_no_onnx_model_is_refused(tmp_path: Any) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read as ONNX"):
        read_endpoint(tmp_path / "model.onnx", None, None)
    (tmp_path / "gray.onnx").write_bytes(onnx_model("n", (8, 6, 1), np.zeros((48, 5), np.float32)))
    with pytest.raises(UserError, match="color images with 3 channels"):
        read_endpoint(tmp_path / "gray.onnx", None, None)
