"""REST interface of a served model: what TensorFlow Serving's clients send and expect, limits, and bad requests."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from dermrobust.pipeline.serving.app import Limits, create_app
from dermrobust.pipeline.serving.requests import BadRequest, PredictRequest, Signature, answer, parse_request
from dermrobust.pipeline.serving.server import new_server

PREDICT = "/v1/models/skin:predict"
SIGNATURES = {
    "serving_default": Signature("serving_default", "image_bytes", (), encoded=True),
    "pixels": Signature("pixels", "images", (2, 2, 3), encoded=False),
}
DESCRIBED = {
    "serving_default": {
        "inputs": {"image_bytes": {"dtype": "string", "shape": [None]}},
        "outputs": {"class": {"dtype": "string", "shape": [None]}},
    },
    "pixels": {
        "inputs": {"images": {"dtype": "float32", "shape": [None, 2, 2, 3]}},
        "outputs": {"class_index": {"dtype": "int64", "shape": [None]}},
    },
}
LIMITS = Limits(bytes=5_000, instances=4, seconds=5.0, at_once=2)


class Echo:
    """Model that returns the length of each image file; a file `bad` cannot be used, and `slow` takes time."""

    version = 7
    signatures: Mapping[str, Signature] = SIGNATURES
    description: Mapping[str, Any] = {"class_names": ["nv", "mel"], "signatures": DESCRIBED}

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()

    def predict(self, request: PredictRequest) -> dict[str, npt.NDArray[Any]]:
        if not request.signature.encoded:
            return {"class_index": np.arange(len(request.values))}
        files: list[bytes] = request.values.tolist()
        if b"slow" in files:
            self.entered.set()
            self.go_on.wait(20)
        status = [b"empty" if each == b"bad" else b"ok" for each in files]
        lengths = np.array([[len(each), 0.5] for each in files], np.float32)
        return {
            "probabilities": lengths,
            "class": np.array([b"nv"] * len(files), object),
            "status": np.array(status, object),
        }


@pytest.fixture
def model() -> Echo:
    return Echo()


@pytest.fixture
def client(model: Echo) -> TestClient:
    return TestClient(create_app(model, "skin", LIMITS))


def encoded(*files: bytes) -> list[dict[str, str]]:
    return [{"b64": base64.b64encode(each).decode()} for each in files]


def test_status_metadata_and_health(client: TestClient) -> None:
    status = client.get("/v1/models/skin").json()
    metadata = client.get("/v1/models/skin/metadata").json()

    (version,) = status["model_version_status"]
    assert (version["version"], version["state"]) == ("7", "AVAILABLE")
    assert metadata["model_spec"] == {"name": "skin", "signature_name": "", "version": "7"}
    found = metadata["metadata"]["signature_def"]["signature_def"]["pixels"]["inputs"]["images"]
    assert found["dtype"] == "DT_FLOAT"
    assert [each["size"] for each in found["tensor_shape"]["dim"]] == ["-1", "2", "2", "3"]
    assert metadata["metadata"]["dermrobust"]["class_names"] == ["nv", "mel"]
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", [PREDICT, "/v1/models/skin/versions/7:predict"])
def test_instances_are_answered_by_row(path: str, client: TestClient) -> None:
    bare = client.post(path, json={"instances": encoded(b"one", b"three")})
    named = client.post(path, json={"instances": [{"image_bytes": each} for each in encoded(b"one", b"three")]})

    assert bare.status_code == 200
    assert bare.json() == named.json()
    assert bare.json() == {
        "predictions": [
            {"probabilities": [3.0, 0.5], "class": "nv", "status": "ok"},
            {"probabilities": [5.0, 0.5], "class": "nv", "status": "ok"},
        ]
    }


def test_inputs_are_answered_by_column(client: TestClient) -> None:
    found = client.post(PREDICT, json={"inputs": {"image_bytes": encoded(b"one", b"three")}}).json()

    assert found["outputs"]["probabilities"] == [[3.0, 0.5], [5.0, 0.5]]
    assert found["outputs"]["class"] == ["nv", "nv"]


def test_another_signature_is_chosen_by_its_name(client: TestClient) -> None:
    images = np.zeros((2, 2, 2, 3)).tolist()

    found = client.post(PREDICT, json={"signature_name": "pixels", "instances": images})

    assert found.json() == {"predictions": [{"class_index": 0}, {"class_index": 1}]}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"instances": [NaN]}', "NaN is no JSON"),
        (b"[" * 3_000, "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "either 'instances' or 'inputs'"),
        (b'{"instances": [], "inputs": []}', "either 'instances' or 'inputs'"),
        (b'{"instances": []}', "no instance"),
        (b'{"instances": {"b64": ""}}', "'instances' must be a list"),
        (b'{"instances": ["text"]}', "instance 0: send the image file as"),
        (b'{"instances": [{"b64": "AA=="}, {"b64": "?"}]}', "instance 1: 'b64' is not base64"),
        (b'{"instances": [{"other": 1}]}', "the one input 'image_bytes'"),
        (b'{"signature_name": "nonesuch", "instances": [1]}', "there are: serving_default, pixels"),
        (b'{"signature_name": "pixels", "instances": [[1, 2]]}', "has shape [2], not [2, 2, 3]"),
        (b'{"signature_name": "pixels", "instances": [["x"]]}', "must hold numbers"),
        (b'{"signature_name": "pixels", "instances": [[1], [1, 2]]}', "must hold numbers"),
    ],
)
def test_a_request_that_does_not_fit_gets_400_with_the_reason(body: bytes, reason: str, client: TestClient) -> None:
    found = client.post(PREDICT, content=body)

    assert found.status_code == 400
    assert reason in found.json()["error"]


def test_an_image_that_cannot_be_used_gets_400_with_the_reason(client: TestClient) -> None:
    found = client.post(PREDICT, json={"instances": encoded(b"one", b"bad")})

    assert (found.status_code, found.json()) == (400, {"error": "instance 1: empty"})


def test_requests_are_limited_in_size_and_number_of_images(client: TestClient) -> None:
    large = client.post(PREDICT, json={"instances": encoded(b"x" * 6_000)})
    many = client.post(PREDICT, json={"instances": encoded(*[b"x"] * 5)})

    assert (large.status_code, large.json()) == (413, {"error": "the request is larger than 5000 bytes"})
    assert (many.status_code, many.json()) == (400, {"error": "5 instances; at most 4 are answered at once"})


def test_requests_beyond_the_limit_are_turned_away_and_slow_ones_time_out(model: Echo) -> None:
    limits = Limits(seconds=1.0, at_once=1)
    codes: list[int] = []
    with TestClient(create_app(model, "skin", limits)) as client:

        def ask() -> None:
            codes.append(client.post(PREDICT, json={"instances": encoded(b"slow")}).status_code)

        waiting = threading.Thread(target=ask)
        waiting.start()
        assert model.entered.wait(10)
        refused = client.post(PREDICT, json={"instances": encoded(b"one")})
        waiting.join(10)
        model.go_on.set()
        time.sleep(0.05)
        answered = client.post(PREDICT, json={"instances": encoded(b"one")})

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert codes == [504]
    assert answered.status_code == 200


@pytest.fixture
def port(model: Echo) -> Iterator[int]:
    """Port of a server that gives a request half a second to arrive."""
    server = new_server(model, "skin", Limits(seconds=0.5, at_once=1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(20)


def held(port: int, begin: bytes, drip: bytes) -> bytes:
    """What a client gets that sends a request's beginning and then a byte now and then, until it is cut off."""
    answer, patience = b"", time.monotonic() + 30
    with socket.create_connection(("127.0.0.1", port)) as client, contextlib.suppress(ConnectionError):
        client.settimeout(0.05)
        client.sendall(begin)
        while time.monotonic() < patience:
            client.sendall(drip)
            with contextlib.suppress(TimeoutError):
                if not (received := client.recv(4096)):
                    return answer
                answer += received
        pytest.fail("the server waits on")
    return answer


POST = "POST {} HTTP/1.1\r\nHost: here\r\nContent-Length: 5000\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "drip", "answer"),
    [
        (b"", b"", b""),
        (b"", b"G", None),
        (b"GET /healthz HTTP/1.1\r\nHost: here\r\nX-Long: ", b"x", None),
        (POST.format(PREDICT).encode(), b"", b"HTTP/1.1 408 "),
        (POST.format(PREDICT).encode(), b"x", None),
        # Nothing reads the body of a request for what does not exist.
        (POST.format("/other").encode(), b"x", None),
    ],
    ids=["nothing", "first line", "headers", "silent body", "body", "body that nothing reads"],
)
def test_a_request_that_does_not_arrive_is_cut_off(begin: bytes, drip: bytes, answer: bytes | None, port: int) -> None:
    found = held(port, begin, drip)

    # A client that goes on sending may lose the answer to the reset of its connection.
    assert answer is None or found[:13] == answer
    # The only place for a request is free again.
    answered = httpx.post(f"http://127.0.0.1:{port}{PREDICT}", json={"instances": encoded(b"one")})
    assert answered.status_code == 200


def test_a_connection_that_is_quiet_between_two_requests_stays(port: int) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as client:
        client.connect()
        connection = client.sock
        for pause in (0.7, 0.0):
            client.request("GET", "/healthz")
            answer = client.getresponse()
            assert (answer.status, answer.read()) == (200, b'{"status":"ok"}')
            time.sleep(pause)
        assert client.sock is connection


def test_an_error_of_the_model_is_not_the_clients(model: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(request: PredictRequest) -> dict[str, npt.NDArray[Any]]:
        raise ValueError("broken")

    monkeypatch.setattr(model, "predict", broken)
    client = TestClient(create_app(model, "skin", LIMITS), raise_server_exceptions=False)

    assert client.post(PREDICT, json={"instances": encoded(b"one")}).status_code == 500


def test_other_addresses_say_where_the_model_is(client: TestClient) -> None:
    missing, wrong = client.get("/v1/models/other"), client.get(PREDICT)

    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert "/v1/models/skin" in missing.json()["error"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["b64", "instances", "inputs", "image_bytes", "images"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON, JSON, st.sampled_from(["serving_default", "pixels", "x", 3]))
def test_no_json_value_is_more_than_a_bad_request(instances: Any, inputs: Any, name: Any) -> None:
    for body in (instances, {"instances": instances, "signature_name": name}, {"inputs": inputs}):
        try:
            parsed = parse_request(json.loads(json.dumps(body)), SIGNATURES, 4)
        except BadRequest as error:
            assert str(error)
        else:
            assert 1 <= len(parsed.values) <= 4
            assert answer(parsed, {"status": np.array([b"ok"] * len(parsed.values), object)})
