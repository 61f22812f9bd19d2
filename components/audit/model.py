"""The work of adopting a model: find out what it takes and returns, and store it as the pipeline's own models are."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dermrobust.attacks.engine import to_images
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.problem import Labels
from dermrobust.attacks.threat import Images
from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact
from dermrobust.components.audit.component import AdoptModelParams
from dermrobust.components.component import Context
from dermrobust.components.examples import ExamplesSpec, Split, first_records, read_shard, shard_uris
from dermrobust.components.foreign_files import ADOPTION, FOREIGN, ONNX, SAVED_MODEL
from dermrobust.components.model_files import NETWORK, SPEC, ModelSpec
from dermrobust.models.balanced_accuracy import balanced_accuracy
from dermrobust.models.classifier import save_network
from dermrobust.models.foreign import networks, saved_models
from dermrobust.models.foreign.black_box import UPPER_BOUND, answers_of, as_function, read_endpoint
from dermrobust.models.foreign.detection import doubt, find_input
from dermrobust.models.foreign.outputs import (
    MASKS_GRADIENTS,
    NO_GRADIENT,
    as_logits,
    class_count,
    is_differentiable,
    kind_of,
)
from dermrobust.models.foreign.spec import (
    CANDIDATES,
    Adoption,
    Endpoint,
    Finding,
    ForeignSpec,
    InputFormat,
    OutputKind,
    Signature,
    is_black_box,
)
from dermrobust.models.image_size import Size, image_size_title

_MOST_IMAGES = 512
"""That detection measures on."""
_FEWEST_IMAGES = 32
_PIXELS_AT_ONCE = 1 << 25
_BATCH = 32
_BARELY = 1.2
"""Times chance: a model that is no better may have its classes in another order."""


@dataclass(frozen=True)
class Opened:
    """A foreign model, whatever its file.

    Attributes:
        outputs: from images float32 [count, height, width, 3] in its own range to float32 [count, outputs].
        kind: of outputs, where the model's structure tells.
        why: how it tells.
        hint: which images its first layers expect, and which layer says so.
        signature: of a SavedModel.
        trusted: operations that are accepted because the user trusts the model.
        store: writes the model below a folder, given what was found.
        endpoint: input and output of a black box; None: the model can be differentiated.
    """

    outputs: Callable[[Any], Any]
    kind: OutputKind | None
    why: str
    hint: tuple[InputFormat, str] | None
    signature: Signature | None
    trusted: tuple[str, ...]
    store: Callable[[str, InputFormat, OutputKind], None]
    endpoint: Endpoint | None = None


def run(context: Context) -> None:
    """Adopt a model for the images of an examples artifact.

    Raises:
        UserError: it cannot be loaded, attacked or matched with the classes, or it is not clear what it takes.
    """
    params = context.params
    assert isinstance(params, AdoptModelParams)
    examples = context.input("examples")
    spec = ExamplesSpec.read(examples)
    size = spec.preprocessing.image_size
    with tempfile.TemporaryDirectory() as folder:
        if is_black_box(params.model):
            opened = _open_black_box(params, size, len(spec.class_names))
        else:
            opened = _open(Path(params.model), params, size, Path(folder))
        foreign, adoption = _examined(opened, params, examples, spec)
        opened.store(context.outputs["model"], foreign.input, foreign.outputs)
    model = ModelSpec(class_names=spec.class_names, preprocessing=spec.preprocessing)
    for name, content in ((SPEC, model), (FOREIGN, foreign), (ADOPTION, adoption)):
        storage.write_bytes(storage.join(context.outputs["model"], name), content.model_dump_json(indent=1).encode())
    for line in (*adoption.findings, *adoption.notes):
        context.progress.line(f"adopt: {line}")


def _open(path: Path, params: AdoptModelParams, image_size: Size, folder: Path) -> Opened:
    if path.is_dir():
        return _open_saved_model(path, params, image_size, folder)
    if not path.exists():
        raise UserError(f"there is no model '{path}'")
    if params.signature is not None:
        raise UserError(f"'{path}' is a Keras file, which has no signatures; --signature is for SavedModels")
    found = networks.opened(networks.read_network(path), image_size)

    def store(output: str, image_format: InputFormat, kind: OutputKind) -> None:
        save_network(networks.adopted_network(found.network, image_format, kind), folder / NETWORK)
        storage.write_bytes(storage.join(output, NETWORK), (folder / NETWORK).read_bytes())

    return Opened(
        lambda images: found.network(images, training=False), found.kind, found.why, found.hint, None, (), store
    )


def _open_saved_model(path: Path, params: AdoptModelParams, image_size: Size, folder: Path) -> Opened:
    signature = saved_models.read_signature(path, params.signature, trusted=params.trusted)
    if signature.image_size not in (None, image_size):
        raise UserError(
            f"the model takes images of {image_size_title(signature.image_size)}, not of {image_size_title(image_size)}"
        )
    # Loaded from a copy: a folder is loaded once per process by its name, and the user's may change.
    copy = folder / SAVED_MODEL
    saved_models.copy_files(path, copy)
    outputs = saved_models.load_outputs(copy, signature)
    return Opened(
        outputs,
        None,
        "",
        None,
        signature,
        saved_models.unknown_operations(path) if params.trusted else (),
        lambda output, image_format, kind: storage.upload(copy, storage.join(output, SAVED_MODEL)),
    )


def _open_black_box(params: AdoptModelParams, image_size: Size, classes: int) -> Opened:
    endpoint = read_endpoint(params.model, params.signature, classes)
    if endpoint.image_size not in (None, image_size):
        raise UserError(
            f"the model takes images of {image_size_title(endpoint.image_size)}, not of {image_size_title(image_size)}"
        )
    content = Path(params.model).read_bytes() if endpoint.url is None else None

    def store(output: str, image_format: InputFormat, kind: OutputKind) -> None:
        if content is not None:
            storage.write_bytes(storage.join(output, ONNX), content)

    outputs = as_function(answers_of(endpoint, content), endpoint.outputs)
    return Opened(outputs, None, "", None, None, (), store, endpoint)


def _examined(
    opened: Opened, params: AdoptModelParams, examples: Artifact, spec: ExamplesSpec
) -> tuple[ForeignSpec, Adoption]:
    """Return what is found out about a model on labelled images."""
    preprocessing, classes = spec.preprocessing, len(spec.class_names)
    count = max(_FEWEST_IMAGES, min(_MOST_IMAGES, _PIXELS_AT_ONCE // (preprocessing.height * preprocessing.width)))
    sample = first_records(shard_uris(examples, spec, Split.TEST), count, spec.task)
    images, labels = to_images(sample.pixels), sample.labels
    forward = tf.function(opened.outputs, reduce_retracing=True)
    differentiable = opened.endpoint is not None or is_differentiable(opened.outputs, images[:2])
    unscaled = _forward(forward, images, CANDIDATES[0])
    _check_outputs(unscaled, spec.class_names)
    outputs = _outputs_finding(opened, params, unscaled)
    kind = OutputKind(outputs.value)

    def logits(some: Images, image_format: InputFormat) -> npt.NDArray[np.float32]:
        return np.asarray(as_logits(tf.constant(_forward(forward, some, image_format)), kind))

    notes = []
    if opened.endpoint is not None and opened.endpoint.files:
        image_format = InputFormat()
        found = Finding(name="input", value="image files", how="detected", why="declared by the model")
    elif params.input is None:
        tried = [logits(images[:_FEWEST_IMAGES], candidate) for candidate in CANDIDATES]
        if not any(np.isfinite(scores).all() for scores in tried):
            raise UserError(_not_finite(sample.columns["image/id"], tried[0], "any input that was tried"))
        image_format, found = find_input(logits, images, labels, opened.hint)
    else:
        image_format, found = params.input, Finding(name="input", value=str(params.input), how="given")
        if remark := doubt(logits, images, labels, params.input):
            notes.append(remark)
    if opened.trusted:
        notes.append(f"the model was trusted: it uses {', '.join(opened.trusted)}, which can touch files or run code")
    if opened.endpoint is not None:
        notes.append(UPPER_BOUND)
    elif kind is OutputKind.PROBABILITIES:
        notes.append(MASKS_GRADIENTS)
    if not differentiable:
        notes.append(NO_GRADIENT)
    accuracy = _accuracy(logits, image_format, examples, spec)
    if accuracy < _BARELY / classes:
        notes.append(
            f"on clean images the balanced accuracy is {accuracy:.3f}, hardly more than chance ({1 / classes:.3f}): "
            f"are the model's outputs really {', '.join(spec.class_names)}, in this order? See --classes"
        )
    foreign = ForeignSpec(
        format=_format(opened),
        image_size=preprocessing.image_size,
        input=image_format,
        outputs=kind,
        signature=opened.signature,
        endpoint=opened.endpoint,
        differentiable=differentiable,
    )
    findings = (*_stated(params, spec), found, outputs, *_signature_finding(opened.signature, params))
    return foreign, Adoption(findings=findings, notes=tuple(notes), balanced_accuracy=accuracy)


def _format(opened: Opened) -> Literal["keras", "saved_model", "onnx", "rest"]:
    if opened.endpoint is not None:
        return "onnx" if opened.endpoint.url is None else "rest"
    return "keras" if opened.signature is None else "saved_model"


def _stated(params: AdoptModelParams, spec: ExamplesSpec) -> tuple[Finding, Finding]:
    """Return the findings on the size of images and on the classes."""

    def finding(name: Literal["image_size", "classes"], value: str, why: str) -> Finding:
        given = name in params.stated
        return Finding(name=name, value=value, how="given" if given else "detected", why="" if given else why)

    return (
        finding("image_size", image_size_title(spec.preprocessing.image_size), "declared by the model"),
        finding("classes", ", ".join(spec.class_names), "those of the labels"),
    )


def _forward(forward: Callable[[Any], Any], images: Images, image_format: InputFormat) -> npt.NDArray[np.float32]:
    """Return outputs float32 [count, outputs]; the last batch is filled up, so that one shape is traced."""
    parts = []
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH]
        filled = tf.constant(batch[np.arange(_BATCH) % len(batch)])
        parts.append(np.asarray(forward(image_format.scaled(filled)), np.float32)[: len(batch)])
    return np.concatenate(parts)


def _check_outputs(outputs: npt.NDArray[np.float32], class_names: tuple[str, ...]) -> None:
    if outputs.ndim != 2:
        raise UserError(f"the model returns {list(outputs.shape)}; a classifier returns [batch, classes]")
    found = class_count(outputs.shape[1])
    if found != len(class_names):
        raise UserError(
            f"the model tells {found} classes apart, but {len(class_names)} are named ({', '.join(class_names)}). Name "
            "the model's classes in the order of its outputs: --classes"
        )


def _outputs_finding(opened: Opened, params: AdoptModelParams, outputs: npt.NDArray[np.float32]) -> Finding:
    if opened.kind is not None:
        return Finding(name="outputs", value=opened.kind, how="detected", why=opened.why)
    if params.outputs is not None:
        return Finding(name="outputs", value=params.outputs, how="given")
    kind = kind_of(outputs)
    probabilities = kind is OutputKind.PROBABILITIES
    why = "they lie in 0..1 and add up to 1" if probabilities else "they are no probabilities"
    return Finding(name="outputs", value=kind, how="detected", why=why)


def _signature_finding(signature: Signature | None, params: AdoptModelParams) -> tuple[Finding, ...]:
    if signature is None:
        return ()
    why = f"{signature.input} to {signature.output}"
    return (Finding(name="signature", value=signature.name, how="given" if params.signature else "detected", why=why),)


def _not_finite(ids: Sequence[str], scores: npt.NDArray[np.float32], image_format: str) -> str:
    image = ids[int(np.argmin(np.isfinite(scores).all(axis=1)))]
    return (
        f"the model's outputs are not finite (NaN or infinity) on image '{image}' with {image_format}; look for a "
        "division by zero, weights that are not finite, or another --input-range"
    )


def _accuracy(
    logits: Callable[[Images, InputFormat], npt.NDArray[np.float32]],
    image_format: InputFormat,
    examples: Artifact,
    spec: ExamplesSpec,
) -> float:
    """Return the balanced accuracy on all images.

    Raises:
        UserError: an output is not finite; the image is named.
    """
    right: list[npt.NDArray[np.bool_]] = []
    labels: list[Labels] = []
    for uri in shard_uris(examples, spec, Split.TEST):
        for batch in read_shard(uri, spec.task):
            scores = logits(to_images(batch.pixels), image_format)
            if not np.isfinite(scores).all():
                raise UserError(_not_finite(batch.columns["image/id"], scores, f"input {image_format}"))
            right.append(scores.argmax(axis=1) == batch.labels)
            labels.append(batch.labels)
    return balanced_accuracy(np.concatenate(labels), np.concatenate(right))
