"""Targets whose gradients follow from their outputs alone: straight-through where an operation hides its gradient."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2_as_graph
from tensorflow.python.framework.ops import get_gradient_function

from dermrobust.attacks.gradientless import connected
from dermrobust.attacks.logits import in_scope
from dermrobust.attacks.target import LogitsFn, Target

_OVERRIDE = "_gradient_op_type"
"""Attribute of an operation that names another gradient: every `tf.custom_gradient` leaves one."""
_PASSED = "DermrobustPassedThrough"
_BLOCKING = ("StopGradient", "PreventGradient")
_STEPS = ("Round", "Rint", "Floor", "Ceil", "Sign", "QuantizeAndDequantizeV2")
"""Piecewise constant operations, whose gradient is zero or missing."""
_COMPARISONS = {"Greater": 1, "GreaterEqual": 1, "Less": -1, "LessEqual": -1}
"""Comparisons, with the sign of the slope by their first argument."""
_FLOATS = (tf.float16.as_datatype_enum, tf.float32.as_datatype_enum, tf.float64.as_datatype_enum)
_ORDERED = ("Log", "ClipByValue", "Maximum", "Minimum", "Cast")
"""Operations that keep the order of classes, and may stand between a softmax and the outputs."""


@tf.RegisterGradient(_PASSED)
def _passed_through(operation: tf.Operation, *gradients: Any) -> list[Any]:
    """Return the gradient of the output as that of the first input, if they have one shape; else none."""
    alike = operation.inputs and operation.inputs[0].shape.is_compatible_with(operation.outputs[0].shape)
    return [gradients[0] if alike else None, *[None] * (len(operation.inputs) - 1)]


def straight_through_target(target: Target) -> Target:
    """Return a target that decides as another one does, with gradients that its model cannot choose.

    The exact model is traced to a graph of plain operations. Declared gradients (`tf.custom_gradient`) and stops are
    removed, and piecewise constant operations (rounding, signs, casts to integers and back, comparisons) pass gradients
    unchanged: Backward Pass Differentiable Approximation with the identity (Athalye et al. 2018, arXiv 1802.00420). A
    softmax or argmax at the end is left out, so that logits of classes that it turns into 0 keep a gradient.

    Operations inside of loops and branches stay as they are. A model that cannot be traced to such a graph keeps its
    own gradients, with a warning. Surrogates are not changed.
    """
    exact = target.exact or target
    return dataclasses.replace(exact, logits=_straight_through(exact.logits))


# The same function object for the same logits: compiled steps are cached by it.
@functools.lru_cache(maxsize=8)
def _straight_through(logits: LogitsFn) -> LogitsFn:
    rewritten: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def plain(weights: Sequence[Any], images: Any) -> Any:
        specs = tuple(tf.TensorSpec(weight.shape, weight.dtype) for weight in weights)
        shown = tf.TensorSpec([None, *images.shape[1:]], tf.float32)
        shape = tuple(shown.shape[1:])
        if shape not in rewritten:
            # Outside of the graph that is being traced: the rewritten one is made once and called from all.
            with tf.init_scope():
                rewritten[shape] = _passing(logits, specs, shown)
        # Where nothing could be passed through, attacks that estimate gradients go on.
        return connected(rewritten[shape](*weights, images), images)

    return plain


def _passing(logits: LogitsFn, specs: Sequence[tf.TensorSpec], shown: tf.TensorSpec) -> Callable[..., Any]:
    """Return the rewritten function (*weights, images) -> logits, or that of the model where rewriting fails."""
    try:
        return _rewritten(logits, specs, shown)
    # The errors of freezing and importing a graph, such as of a model that assigns to its variables.
    except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
        warnings.warn(f"the model's graph cannot be rewritten, its own gradients are used: {error}", stacklevel=2)
    return lambda *arguments: logits(arguments[:-1], arguments[-1])


def _rewritten(logits: LogitsFn, specs: Sequence[tf.TensorSpec], shown: tf.TensorSpec) -> Callable[..., Any]:
    """Return the differentiable function (*weights, images) -> logits of the rewritten graph."""

    def flat(*arguments: Any) -> Any:
        return tf.identity(logits(arguments[:-1], arguments[-1]))

    traced = tf.function(in_scope(flat), autograph=False).get_concrete_function(*specs, shown)
    # Variables become constants and calls of functions their operations: one flat graph, whatever the model's format.
    frozen, graph = convert_variables_to_constants_v2_as_graph(
        traced, lower_control_flow=False, aggressive_inlining=True
    )
    feeds = [tensor.name for tensor in frozen.inputs]
    fetch = _Rewriting(graph).run(frozen.graph, frozen.outputs[0].name)
    imported = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
    tensors = imported.graph.get_tensor_by_name
    return imported.prune([tensors(name) for name in feeds], tensors(fetch))


class _Rewriting:
    """Changes of a flat graph in place, none of which changes which class an image is given."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._nodes = {node.name: node for node in graph.node}

    def run(self, traced: Any, fetch: str) -> str:
        """Rewrite all operations and return the name of the tensor with the logits.

        Args:
            traced: the same graph with its operations, which tell their gradients.
            fetch: name of the tensor with the model's outputs.
        """
        for node in list(self._graph.node):
            node.attr.pop(_OVERRIDE, None)
            if node.op in _BLOCKING:
                node.op = "Identity"
                node.attr.pop("message", None)
            elif node.op == "IdentityN":
                # What was declared for it is gone, and its own gradient is right.
                continue
            elif node.op in _STEPS or not _has_gradient(traced, node):
                node.attr[_OVERRIDE].s = _PASSED.encode()
            elif node.op == "Cast" and node.attr["DstT"].type in _FLOATS and node.attr["SrcT"].type not in _FLOATS:
                self._give_slope(node)
        return self._before_softmax(fetch)

    def _give_slope(self, cast: Any) -> None:
        """Let a cast to floats of rounded or compared values pass a gradient to the floats that they come from."""
        source = self._producer(cast.input[0])
        dtype = cast.attr["DstT"].type
        if source.op == "Cast" and source.attr["SrcT"].type == dtype:
            surrogate = source.input[0]
        elif source.op in _COMPARISONS and source.attr["T"].type == dtype:
            ordered = source.input[:2][:: _COMPARISONS[source.op]]
            surrogate = self._add("Sub", f"{cast.name}/surrogate", ordered, dtype)
        else:
            return
        # value + (s - stopped s): the value, with the gradient of s.
        name, exact = cast.name, f"{cast.name}/exact"
        stopped = self._add("StopGradient", f"{name}/stopped", [surrogate], dtype)
        nothing = self._add("Sub", f"{name}/nothing", [surrogate, stopped], dtype)
        cast.name = exact
        self._nodes[exact] = cast
        self._add("AddV2", name, [exact, nothing], dtype)

    def _add(self, operation: str, name: str, inputs: Sequence[str], dtype: int) -> str:
        node = self._graph.node.add(op=operation, name=name, input=inputs)
        node.attr["T"].type = dtype
        self._nodes[name] = node
        return name

    def _before_softmax(self, fetch: str) -> str:
        """Return the tensor that a softmax, or the choice of a class, at the end is computed from; else the outputs."""
        node = self._producer(fetch)
        while node.op in _ORDERED:
            inputs = [each for each in node.input if not each.startswith("^")]
            variable = [each for each in inputs if self._producer(each).op != "Const"]
            if len(variable) != 1:
                return fetch
            node = self._producer(variable[0])
        if node.op == "OneHot":
            node = self._producer(node.input[0])
        if node.op not in ("Softmax", "ArgMax"):
            return fetch
        name: str = node.input[0]
        return name if ":" in name else f"{name}:0"

    def _producer(self, tensor: str) -> Any:
        name, _, output = tensor.partition(":")
        node = self._nodes[name]
        if node.op not in ("Identity", "IdentityN"):
            return node
        # What `tf.custom_gradient` returns goes through one operation with an input for each output.
        return self._producer(node.input[int(output or 0)])


def _has_gradient(traced: Any, node: Any) -> bool:
    """Return whether a gradient of an operation is registered, be it none."""
    try:
        get_gradient_function(traced.get_operation_by_name(node.name))
    except LookupError:
        return False
    return True
