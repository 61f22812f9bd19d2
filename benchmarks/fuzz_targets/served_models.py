"""Servers whose models are attacked as black boxes."""

from __future__ import annotations

import contextlib
import functools
import json
import socketserver
import threading
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from benchmarks.fuzz_targets.changes import changed
from benchmarks.fuzz_targets.json_edits import VALUES, edited


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
        edited(json.dumps(served_metadata()), metadata),
        edited(json.dumps({"predictions": [[0.1, 0.9]]}), predictions),
    )
    return b"\n".join(bodies)


def answers() -> SearchStrategy[bytes]:
    """Return the two answers of a server, with a few changes."""
    words = st.sampled_from(["DT_INT64", "DT_STRING", "serving_default", "scores", "-1", "4", "99999999999"])
    edits = st.lists(st.tuples(st.integers(0, 100), st.one_of(VALUES, words)), max_size=2)
    whole = st.builds(_with_answers, edits, edits)
    return st.one_of(whole, changed(whole))


def read_answers(content: bytes, folder: Path) -> None:
    """Ask a server that answers so."""
    del folder
    server, bodies = _server(), content.partition(b"\n")
    server.metadata, server.predictions = (
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body) for body in bodies[::2]
    )
    server.ask()
