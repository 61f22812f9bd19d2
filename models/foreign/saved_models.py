"""Foreign SavedModels: their signatures, and their targets for attacks."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.target import Target
from dermrobust.models.foreign.declared import declared_size
from dermrobust.models.foreign.operations import refused_operations
from dermrobust.models.foreign.outputs import as_logits
from dermrobust.models.foreign.spec import ForeignSpec, Signature

FILE = "saved_model.pb"
_FLOATS = (types_pb2.DT_FLOAT, types_pb2.DT_HALF, types_pb2.DT_BFLOAT16, types_pb2.DT_DOUBLE)
_FIRST = ("serving_default", "serve", "pixels")
"""Names of signatures in order of preference, where several fit."""
_SCORES = ("logits", "probabilities", "predictions", "scores", "output_0")
"""Names of outputs in order of preference, where several fit."""
_LISTED = 5
"""Operations that a message names."""
_EXPORT = (
    "Export a signature that takes float images [batch, height, width, 3] and returns scores [batch, classes], with "
    "the decoding of files left out; for a Keras model: model.export('folder')"
)


def read_signature(folder: Path, name: str | None = None, *, trusted: bool = False) -> Signature:
    """Return the signature of a SavedModel that classifies images, without loading or running anything of it.

    Args:
        folder: Folder of the SavedModel.
        name: Name of the signature; None: the one that fits.
        trusted: Whether operations that might touch files or run code are accepted.

    Raises:
        UserError: No signature can be attacked, or an operation is not allowed.
    """
    graph = _graph(folder)
    refused = () if trusted else refused_operations(graph)
    if refused:
        listed = ", ".join(refused[:_LISTED]) + (", …" if len(refused) > _LISTED else "")
        raise UserError(
            f"'{folder}' uses operations that are not known to be harmless: {listed}. A SavedModel can read and write "
            "files. If you trust where it comes from, say so with --trust-model"
        )
    signatures = {key: value for key, value in graph.signature_def.items() if not key.startswith("__")}
    if name is not None and name not in signatures:
        raise UserError(f"'{folder}' has no signature '{name}'; it has: {', '.join(sorted(signatures)) or 'none'}")
    wanted = [name] if name is not None else sorted(signatures, key=lambda key: (_rank(key, _FIRST), key))
    problems = []
    for key in wanted:
        found = _classifying(key, signatures[key])
        if isinstance(found, Signature):
            return found
        problems.append(f"'{key}' {found}")
    raise UserError(f"'{folder}' has no signature that can be attacked: {'; '.join(problems) or 'none'}. {_EXPORT}")


def copy_files(folder: Path, target: Path) -> None:
    """Copy the files of a SavedModel.

    Links to files of the folder are followed. Links to folders could lead in circles, and those to other files would
    copy what the user may not want to share.

    Raises:
        UserError: The folder holds something else than files and folders, or a link that leads out of it.
    """
    inside = folder.resolve()
    for place, names, files in os.walk(folder):
        for name in (*names, *files):
            path = Path(place, name)
            if path.is_symlink() and not path.is_file():
                raise UserError(f"'{path}' is a link to no file; a SavedModel consists of files")
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                raise UserError(
                    f"'{path}' is a link to a file outside of '{folder}'. If you trust the link, copy the folder with "
                    "the files in place of links: cp -rL"
                )
            if not path.is_dir() and not path.is_file():
                raise UserError(f"'{path}' is no regular file; a SavedModel consists of files")
        copied = target / Path(place).relative_to(folder)
        copied.mkdir(parents=True, exist_ok=True)
        for name in files:
            shutil.copyfile(Path(place, name), copied / name)


def unknown_operations(folder: Path) -> tuple[str, ...]:
    """Return the operations for which `read_signature` refuses a SavedModel that is not trusted."""
    return refused_operations(_graph(folder))


def _graph(folder: Path) -> Any:
    # A pipe would be waited for without end.
    if not Path(folder, FILE).is_file():
        raise UserError(f"'{folder}' is no SavedModel: it has no file {FILE}")
    try:
        saved = saved_model_pb2.SavedModel.FromString(Path(folder, FILE).read_bytes())
        return next(graph for graph in saved.meta_graphs if "serve" in graph.meta_info_def.tags)
    except StopIteration:
        raise UserError(f"'{folder}' has no graph for serving (tag 'serve'). {_EXPORT}") from None
    except Exception as error:  # The error class of protobuf has no public name.
        raise UserError(f"'{folder}/{FILE}' cannot be read: {error}") from error


def _rank(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def _classifying(name: str, signature: Any) -> Signature | str:
    """Return a signature from float images to scores, or the reason why it is none."""
    if len(signature.inputs) != 1:
        return f"has {len(signature.inputs)} inputs"
    ((key, images),) = signature.inputs.items()
    if images.dtype not in _FLOATS:
        return f"takes {tf.dtypes.as_dtype(images.dtype).name}, through which no gradient passes"
    shape = _dimensions(images)
    if shape is None or len(shape) != 4 or shape[0] is not None or shape[3] not in (3, None):
        return f"takes {shape or 'images of unknown shape'}, not [batch, height, width, 3]"
    if (shape[1] is None) != (shape[2] is None):
        return f"takes {shape}, of which one side alone is free"
    scores = {
        output: found
        for output, info in signature.outputs.items()
        if info.dtype in _FLOATS and ((found := _dimensions(info)) is None or len(found) == 2)
    }
    if not scores:
        return "returns no scores [batch, classes]"
    chosen = min(scores, key=lambda output: (_rank(output, _SCORES), output))
    if len(scores) > 1 and chosen not in _SCORES:
        return f"returns several outputs that may be scores: {', '.join(sorted(scores))}"
    counts = scores[chosen]
    return Signature(
        name=name, input=key, output=chosen, image_size=declared_size(shape), class_count=counts[1] if counts else None
    )


def _dimensions(info: Any) -> tuple[int | None, ...] | None:
    """Return the shape of a tensor, None for each unknown side; None for an unknown rank."""
    if info.tensor_shape.unknown_rank:
        return None
    return tuple(None if dimension.size < 0 else int(dimension.size) for dimension in info.tensor_shape.dim)


@dataclass(frozen=True, eq=False)
class _Outputs:
    """Function of a signature, from images in the model's range to outputs.

    Attributes:
        loaded: SavedModel, kept because functions refer to their variables weakly.
        function: Concrete function of the signature.
        signature: Names and shapes of input and output.
    """

    loaded: Any
    function: Any
    signature: Signature

    def __call__(self, images: Any) -> Any:
        """Return float32 outputs of images [count, height, width, 3]."""
        dtype = self.function.structured_input_signature[1][self.signature.input].dtype
        outputs = self.function(**{self.signature.input: tf.cast(images, dtype)})
        return tf.cast(outputs[self.signature.output], tf.float32)


@functools.lru_cache(maxsize=4)
def load_outputs(folder: Path, signature: Signature) -> Callable[[Any], Any]:
    """Return the function of a signature, from images in the model's range to outputs; loaded once per folder.

    Raises:
        UserError: The SavedModel cannot be loaded, such as for operations that this TensorFlow lacks.
    """
    try:
        loaded = tf.saved_model.load(str(folder))
        return _Outputs(loaded, loaded.signatures[signature.name], signature)
    except Exception as error:  # TensorFlow raises many kinds, depending on the file.
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"the SavedModel cannot be loaded: {first}") from error


@functools.lru_cache(maxsize=4)
def saved_model_target(folder: Path, spec: ForeignSpec) -> Target:
    """Return the target of an adopted SavedModel, from images in [0, 1] to logits.

    Its variables stay inside the function, so that `Target.weights` is empty and nothing is shared between models.

    Args:
        folder: Folder of the SavedModel.
        spec: Findings of its adoption.

    Raises:
        UserError: The SavedModel cannot be loaded.
    """
    if spec.signature is None:
        raise ValueError(f"'{folder}': the spec is of a .keras file, which has no signature")
    outputs = load_outputs(folder, spec.signature)

    def logits(weights: Sequence[Any], images: Any) -> Any:
        del weights
        return as_logits(outputs(spec.input.scaled(images)), spec.outputs)

    return Target(logits, ())
