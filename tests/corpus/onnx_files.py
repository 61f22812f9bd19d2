"""ONNX files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.corpus.case import Case, bad, good, hostile, written

NAME = "model.onnx"
SIZE, CLASSES = 4, 3
_WEIGHTS = numpy_helper.from_array(np.ones((SIZE * SIZE * 3, CLASSES), np.float32), "w")
_LINEAR = (
    helper.make_node("Flatten", ["images"], ["flat"]),
    helper.make_node("MatMul", ["flat", "w"], ["scores"]),
)


def model(
    nodes: Any = _LINEAR,
    *,
    images: tuple[Any, ...] = ("n", SIZE, SIZE, 3),
    scores: tuple[Any, ...] = ("n", CLASSES),
    kind: int = TensorProto.FLOAT,
    constants: Any = (_WEIGHTS,),
    more: Any = (),
) -> bytes:
    """A file of some nodes; by default flattened images times a matrix."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("images", kind, images), *more],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, scores)],
        constants,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("other", 1)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def _file(*arguments: Any, **values: Any) -> Callable[[Path], Path]:
    return lambda folder: written(model(*arguments, **values), NAME)(folder)


def _bytes(content: bytes) -> Callable[[Path], Path]:
    return written(content, NAME)


def _outside(location: str) -> TensorProto:
    """The weights as bytes of another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[SIZE * SIZE * 3, CLASSES])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(SIZE * SIZE * 3 * CLASSES * 4))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def _piped(folder: Path) -> Path:
    os.mkfifo(folder / NAME)
    return folder / NAME


_HUGE = numpy_helper.from_array(np.array([2**42], np.int64), "shape")
_UNREAD = "cannot be read as ONNX"

CASES: tuple[Case, ...] = (
    good("channels last", _file()),
    good("channels first", _file(images=("n", 3, SIZE, SIZE))),
    good("a fixed batch", _file(images=(2, SIZE, SIZE, 3), scores=(2, CLASSES))),
    bad("empty", _bytes(b""), _UNREAD),
    bad("text", _bytes(b"nothing"), _UNREAD),
    bad("cut", _bytes(model()[:-100]), _UNREAD),
    bad("gray images", _file(images=("n", 2 * SIZE, 6, 1)), "color images with 3 channels are needed"),
    bad("tables instead of images", _file(images=("n", 48)), "must have one input, float images of 4 dimensions"),
    bad("bytes instead of floats", _file([], kind=TensorProto.UINT8), "must have one input|" + _UNREAD),
    bad(
        "two inputs",
        _file(more=[helper.make_tensor_value_info("age", TensorProto.FLOAT, [1])]),
        "must have one input",
    ),
    bad(
        "scores of 3 dimensions",
        _file(
            [helper.make_node("Squeeze", ["images", "last"], ["scores"])],
            images=("n", 16, 3, 1),
            scores=("n", 16, 3),
            constants=[numpy_helper.from_array(np.array([3]), "last")],
        ),
        "color images|returns no scores",
    ),
    bad("pixels that are too many", _file(images=("n", 16, 3 * 10**6, 3)), _UNREAD + "|states an image size"),
    bad("an operator that is none", _file([helper.make_node("Nothing", ["images"], ["scores"])]), _UNREAD),
    bad("an operator whose name is no UTF-8", _bytes(model().replace(b"MatMul", b"Mat\xeful")), _UNREAD),
    bad("no node makes the output", _file([]), _UNREAD),
    bad("other sizes than it states", _file(images=("n", 3, "h", 2)), "does not answer for images"),
    bad(
        "numbers that are not finite",
        _file(
            [
                *_LINEAR[:1],
                helper.make_node("MatMul", ["flat", "w"], ["x"]),
                helper.make_node("Log", ["x"], ["scores"]),
            ],
            constants=[numpy_helper.from_array(np.full((48, 3), -1, np.float32), "w")],
        ),
        "must answer with 3 finite numbers",
    ),
    hostile("weights of a file elsewhere", _file(constants=[_outside("/etc/passwd")]), _UNREAD),
    hostile("weights of a file above", _file(constants=[_outside("../../../../../../etc/passwd")]), _UNREAD),
    hostile(
        "an operator of another library",
        _file([helper.make_node("Run", ["images"], ["scores"], domain="other")]),
        _UNREAD,
    ),
    hostile(
        "weights that are larger than the file",
        _file(constants=[TensorProto(name="w", data_type=1, dims=[2**40, CLASSES])]),
        _UNREAD,
    ),
    hostile(
        "dimensions that overflow", _file(constants=[TensorProto(name="w", data_type=1, dims=[2**62, 2**62])]), _UNREAD
    ),
    hostile("dimensions below 0", _file(constants=[TensorProto(name="w", data_type=1, dims=[-48, CLASSES])]), _UNREAD),
    hostile(
        "a constant of 16 TiB",
        _file(
            [
                *_LINEAR[:1],
                helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
                helper.make_node("MatMul", ["flat", "huge"], ["scores"]),
            ],
            constants=[_HUGE],
        ),
        _UNREAD + "|does not answer for images",
    ),
    hostile(
        "a node that takes its own output", _file([helper.make_node("Add", ["images", "scores"], ["scores"])]), _UNREAD
    ),
    hostile("a length of 2^60 bytes", _bytes(b"\x3a" + b"\xff" * 8 + b"\x0f" + model()), _UNREAD),
    hostile("a pipe", _piped, "is no regular file"),
)
