"""Foreign Keras networks, rebuilt as one graph of layers from images in [0, 1] to logits."""

from __future__ import annotations

import concurrent.futures
import functools
import json
import math
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from keras.src.models.functional import Functional
from keras.src.ops.nn import Sigmoid, Softmax

from dermrobust.attacks.errors import UserError
from dermrobust.models.classifier import load_network
from dermrobust.models.foreign.declared import (
    EXPANSION,
    SMALL,
    check_color_images,
    check_image_size,
    check_regular,
    check_unpacked_size,
)
from dermrobust.models.foreign.outputs import as_logits
from dermrobust.models.foreign.spec import InputFormat, InputRange, OutputKind
from dermrobust.models.image_size import Size, height_and_width

_TYPICAL = {(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)}
"""Ranges of values that networks are trained on."""
_SQUASHING = (keras.activations.softmax, keras.activations.sigmoid)
_KEEPING_RANGE = (
    layers.InputLayer,
    layers.Identity,
    layers.Dropout,
    layers.GaussianNoise,
    layers.RandomFlip,
    layers.RandomRotation,
    layers.RandomTranslation,
    layers.RandomZoom,
    layers.RandomCrop,
    layers.RandomContrast,
    layers.RandomBrightness,
    layers.Resizing,
    layers.CenterCrop,
    layers.ZeroPadding2D,
)
"""Layers that keep the range of images."""


_BYTES_PER_VALUE = 4
"""Of float32."""


@dataclass(frozen=True)
class OpenedNetwork:
    """Foreign network without its last activation.

    Attributes:
        network: From images in its own range to outputs.
        kind: LOGITS where a softmax or sigmoid was removed exactly, or there is no activation; None: unknown, to be
            detected from the outputs.
        why: Evidence for the kind.
        hint: Format of the images that the first layers expect, and the evidence for it.
    """

    network: keras.Model
    kind: OutputKind | None
    why: str
    hint: tuple[InputFormat, str] | None


def read_network(path: Path) -> keras.Model:
    """Load a `.keras` file in safe mode, without running code in it.

    Raises:
        UserError: The file is no `.keras` file, is damaged, holds code, or needs classes that are not installed.
    """
    if path.suffix != ".keras":
        raise UserError(
            f"'{path}' is not a .keras file. Older formats can run code when they are loaded: save it as .keras "
            "(model.save('model.keras')) or export a SavedModel (model.export('folder'))"
        )
    check_regular(path)
    if not zipfile.is_zipfile(path):
        raise UserError(
            f"'{path}' is no .keras file, or a damaged one; save the model again: model.save('model.keras')"
        )
    check_unpacked_size(path)
    _check_variables(path)
    try:
        network = load_network(path)
    except Exception as error:  # Keras raises many kinds, depending on the file.
        raise UserError(_unloadable(path, str(error))) from error
    if not isinstance(network, keras.Model):
        raise UserError(f"'{path}' holds a {type(network).__name__}, which is no Keras model")
    return network


def _check_variables(path: Path) -> None:
    """Refuse a file whose config declares far more weights than the file holds: Keras would allocate them first.

    Raises:
        UserError: The message gives both sizes, or the reason why they cannot be counted.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        counted = pool.submit(_declared_values, path)
        try:
            count = counted.result()
        except Exception as error:  # Keras raises many kinds, depending on the file.
            # Loading would allocate the weights that come before the reason.
            raise UserError(_unloadable(path, str(error))) from error
    declared = count * _BYTES_PER_VALUE
    # As for members that are packed: weights of 8 bits are a fourth of what they are counted as.
    if declared > max(SMALL, EXPANSION * path.stat().st_size):
        raise UserError(
            f"'{path}' declares weights of {declared / 2**20:,.0f} MiB, far more than its size: that is no model. Save "
            "it again with Keras: model.save('model.keras')"
        )


def _declared_values(path: Path) -> int:
    """Return how many numbers the weights of a `.keras` file have; whatever Keras raises means that it cannot be built.

    For a thread of its own: the scope defers the allocation of variables to its end, and so is never ended. Keras keeps
    scopes by thread.
    """
    keras.StatelessScope().__enter__()
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"), object_hook=_uncompiled)
    network = keras.saving.deserialize_keras_object(config, safe_mode=True)
    return sum(math.prod(variable.shape) for variable in network.variables)


def _uncompiled(values: dict[str, Any]) -> dict[str, Any]:
    """Return a part of a config without optimizer and metrics, whose variables cannot be made in a stateless scope."""
    return {key: value for key, value in values.items() if key != "compile_config"}


def _unloadable(path: Path, message: str) -> str:
    first = message.strip().splitlines()[0] if message.strip() else "no reason given"
    if "lambda" in message.lower() or "safe_mode" in message:
        return (
            f"'{path}' holds code (such as a Lambda layer), which is never run because it may be malicious. "
            "Replace it with Keras layers or operations, or export a SavedModel: model.export('folder')"
        )
    if unknown := re.search(r"Could not locate (?:class|function) '([^']+)'", message):
        return (
            f"'{path}' needs '{unknown[1]}', which is not part of Keras and not known here. Export a SavedModel "
            "instead: model.export('folder')"
        )
    return f"'{path}' cannot be loaded as a Keras model: {first}"


def opened(network: keras.Model, image_size: Size) -> OpenedNetwork:
    """Return a network with its layers in one graph and without its last softmax or sigmoid.

    Raises:
        UserError: The input is not one batch of color images of this size, or the output not one row of scores each.
    """
    height, width = height_and_width(image_size)
    _check_shapes(network, height, width)
    images = keras.Input((height, width, 3), name="audit_images")
    flat = keras.Model(images, _unpacked(network, images, images))
    hint = _hint(network)
    last = flat.output._keras_history.operation
    if isinstance(last, layers.Dense) and last.activation is keras.activations.linear:
        return OpenedNetwork(flat, OutputKind.LOGITS, f"'{last.name}' has no activation", hint)
    inner = _before_squashing(flat.output)
    if inner is None:
        return OpenedNetwork(flat, None, "", hint)
    tensor, name = inner
    return OpenedNetwork(keras.Model(images, tensor), OutputKind.LOGITS, f"taken before {name}", hint)


def adopted_network(bare: keras.Model, image_format: InputFormat, kind: OutputKind) -> keras.Model:
    """Return a network from float32 images [batch, height, width, 3] in [0, 1] to logits.

    Args:
        bare: See `OpenedNetwork.network`.
        image_format: Format of its input.
        kind: Kind of its outputs.
    """
    images = keras.Input(bare.input_shape[1:], name="audit_images")
    scale, offset = image_format.scale_and_offset()
    x = images
    # No layer where it would change nothing: it would cost a pass over the images in every step of an attack.
    if scale != [1.0] * 3 or offset != [0.0] * 3:
        x = layers.Rescaling(scale, offset, name="audit_input")(x)
    network = keras.Model(images, as_logits(_unpacked(bare, images, x), kind), name="audited")
    known = {operation.name for operation in bare.operations}
    for index, operation in enumerate(network.operations):
        # Names that Keras counts up would depend on what else the process has built.
        if operation.name not in known and not isinstance(operation, layers.Layer):
            operation.name = f"audit_{type(operation).__name__.lower()}_{index}"
    return network


def features(bare: keras.Model, image_format: InputFormat) -> tuple[keras.KerasTensor, keras.KerasTensor, layers.Dense]:
    """Return the input of images in [0, 1], the input of the last dense layer, as one graph of layers, and that layer.

    Args:
        bare: See `OpenedNetwork.network`.
        image_format: Format of its input.

    Raises:
        UserError: It does not end in a dense layer.
    """
    history = bare.output._keras_history
    last = history.operation
    if not isinstance(last, layers.Dense):
        raise UserError(f"the model ends in '{last.name}', which is no dense layer; only a dense head can be trained")
    images = keras.Input(bare.input_shape[1:], name="images")
    scale, offset = image_format.scale_and_offset()
    scaled = layers.Rescaling(scale, offset, name="image_format")(images)
    # Not `last.input`, which is that of its first call: the layer was called when the network was made, too.
    (before,) = last._inbound_nodes[history.node_index].input_tensors
    return images, _unpacked(keras.Model(bare.input, before), images, scaled), last


def _check_shapes(network: keras.Model, height: int, width: int) -> None:
    if len(network.inputs or ()) != 1 or len(network.outputs or ()) != 1:
        raise UserError(
            f"the model has {len(network.inputs or ())} inputs and {len(network.outputs or ())} outputs; a classifier "
            "of images has one of each"
        )
    shape, dtype = tuple(network.inputs[0].shape), network.inputs[0].dtype
    check_color_images(shape)
    check_image_size(shape, height, width)
    if not dtype.startswith(("float", "bfloat")):
        raise UserError(
            f"the model's input layer takes {dtype}, through which no gradient passes. Rebuild it with a float32 "
            "input: keras.Input(shape, dtype='float32')"
        )
    if len(network.outputs[0].shape) != 2 or network.outputs[0].shape[-1] is None:
        raise UserError(
            f"the model returns {list(network.outputs[0].shape)}; a classifier returns [batch, class count]"
        )


def _unpacked(network: keras.Model, images: Any, x: Any) -> Any:
    """Return the outputs of a network for `x`, computed from `images` by layers in one graph, which can be folded.

    Networks inside it are unpacked too, unless names of layers would then clash.
    """
    outputs = _called(network, x, inner=True)
    try:
        keras.Model(images, outputs)
    except ValueError:
        return _called(network, x, inner=False)
    return outputs


def _called(operation: Any, *arguments: Any, inner: bool, **options: Any) -> Any:
    """Call a network layer by layer; with `inner` the networks inside it as well."""

    def call(part: Any) -> Any:
        return functools.partial(_called, part, inner=True) if inner else part

    if type(operation) is keras.Sequential:
        (x,) = arguments
        for layer in operation.layers:
            x = call(layer)(x)
        return x
    if type(operation) is Functional:
        return operation._run_through_graph(arguments[0], operation_fn=call)
    return operation(*arguments, **options)


def _before_squashing(output: Any) -> tuple[Any, str] | None:
    """Return the tensor before a last softmax or sigmoid, and the name of that; None where there is none."""
    history = output._keras_history
    operation, before = history.operation, history.operation._inbound_nodes[history.node_index].input_tensors
    activation = getattr(operation, "activation", None)
    if isinstance(operation, layers.Identity) or (
        isinstance(operation, layers.Activation) and activation is keras.activations.linear
    ):
        return _before_squashing(before[0])
    if isinstance(operation, layers.Softmax | Softmax | Sigmoid) or (
        isinstance(operation, layers.Activation) and activation in _SQUASHING
    ):
        return before[0], f"'{operation.name}'"
    if isinstance(operation, layers.Dense) and activation in _SQUASHING:
        linear = type(operation).from_config({**operation.get_config(), "activation": "linear"})
        logits = linear(before[0])
        linear.set_weights(operation.get_weights())
        return logits, f"the {activation.__name__} of '{operation.name}'"
    return None


def _hint(network: keras.Model) -> tuple[InputFormat, str] | None:
    """Return the format of images that the first layer that changes values expects, and the evidence for it."""
    first = next((layer for layer in _operations(network) if not isinstance(layer, _KEEPING_RANGE)), None)
    if isinstance(first, layers.Rescaling):
        # Either may have a value for each channel.
        scale, offset = np.ravel(first.scale), np.ravel(first.offset)
        for values in InputRange:
            # [channel, end]
            found = {tuple(ends) for ends in np.round(np.outer(scale, values.bounds) + offset[:, None], 2).tolist()}
            ends = found.pop()
            if not found and ends in _TYPICAL:
                return InputFormat(range=values), f"layer '{first.name}' rescales to {ends[0]:g}..{ends[1]:g}"
    if isinstance(first, layers.Normalization):
        mean = float(keras.ops.max(first.mean)) if first.built and first.mean is not None else 0.0
        # Means of images in [0, 1] or [-1, 1] are at most 1, those of bytes near 128.
        if mean > 2.0:
            return InputFormat(range=InputRange.BYTES), f"layer '{first.name}' has a mean of {mean:.3g}"
    return None


def _operations(network: keras.Model) -> Iterator[Any]:
    """Yield the operations of a network in order, those of networks inside it included."""
    for operation in network.layers if type(network) is keras.Sequential else getattr(network, "operations", ()):
        if isinstance(operation, keras.Model):
            yield from _operations(operation)
        else:
            yield operation
