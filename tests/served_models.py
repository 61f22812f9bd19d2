"""A network behind the REST interface of TensorFlow Serving, on a port of this machine."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import uvicorn
from PIL import Image

from dermrobust.pipeline.serving.app import create_app
from dermrobust.pipeline.serving.requests import BadRequest, PredictRequest, Signature


class Served:
    """A network with chosen signatures (`serving_default` takes image files, `pixels` floats) and outputs.

    Attributes:
        images: number of images that it has classified.
        broken: whether it refuses every request.
    """

    version = 3

    def __init__(self, network: keras.Model, size: int, signatures: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        shapes = {"serving_default": ("image_bytes", "string", []), "pixels": ("images", "float32", [size, size, 3])}
        kinds = {"scores": {"dtype": "float32", "shape": [None, network.output_shape[-1]]}}
        kinds["class_index"] = {"dtype": "int64", "shape": [None]}
        self._network, self._outputs = network, outputs
        self.images, self.broken = 0, False
        self.signatures: Mapping[str, Signature] = {
            name: Signature(name, shapes[name][0], tuple(shapes[name][2]), shapes[name][1] == "string")
            for name in signatures
        }
        self.description: Mapping[str, Any] = {
            "signatures": {
                name: {
                    "inputs": {shapes[name][0]: {"dtype": shapes[name][1], "shape": [None, *shapes[name][2]]}},
                    "outputs": {output: kinds[output] for output in outputs},
                }
                for name in signatures
            }
        }

    def predict(self, request: PredictRequest) -> dict[str, npt.NDArray[Any]]:
        if self.broken:
            raise BadRequest("out of order")
        values = request.values
        if request.signature.encoded:
            values = np.stack([np.asarray(Image.open(io.BytesIO(each)), np.float32) / 255 for each in values])
        self.images += len(values)
        scores = np.asarray(self._network(np.asarray(values, np.float32), training=False))
        return {name: {"scores": scores, "class_index": scores.argmax(axis=1)}[name] for name in self._outputs}


@contextlib.contextmanager
def serving(model: Served) -> Iterator[str]:
    """Serve a model in a thread; yields its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(model, "skin"), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/models/skin"
        server.should_exit = True
        thread.join()
