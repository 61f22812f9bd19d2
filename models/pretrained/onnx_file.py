"""Reader of convolutions from ONNX files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dermrobust.attacks.errors import UserError

Array = np.ndarray[Any, np.dtype[Any]]


def read_convolutions(path: Path) -> Iterator[tuple[Array, Array]]:
    """Yield (kernel [height, width, input, output], bias [output]) of each convolution, in the order of computation.

    Raises:
        UserError: The package onnx is not installed.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise UserError("ONNX weights need the package onnx: pip install 'dermrobust[pretrained]'") from error
    graph = onnx.load(path).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Conv":
            _, kernel, bias = node.input
            # ONNX: [output, input, height, width].
            yield numpy_helper.to_array(tensors[kernel]).transpose(2, 3, 1, 0), numpy_helper.to_array(tensors[bias])
