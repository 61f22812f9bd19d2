"""ONNX files."""

from __future__ import annotations

import functools
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from benchmarks.fuzz_targets.changes import PLACES, apply, changed, renamed


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


def onnx_files() -> SearchStrategy[bytes]:
    """Return ONNX files with a few changes."""
    whole = st.deferred(lambda: st.just(_onnx_file()))
    byte = st.tuples(st.just("r"), st.integers(0, 250), st.binary(min_size=1, max_size=1))
    bytes_ = st.builds(apply, whole, st.lists(byte, min_size=1, max_size=2))
    name = st.sampled_from(["Loop", "If", "Reshape", "MatMul", "Identity", "images", "scores", "w"])
    names = st.builds(renamed, whole, st.lists(st.tuples(PLACES, name), min_size=1, max_size=2))
    return st.one_of(whole, names, bytes_, changed(whole))


def read_onnx(content: bytes, folder: Path) -> None:
    """Read an ONNX file, and ask the model for its scores."""
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
