"""Audit of a model in memory: the function `dermrobust.audit`."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.problem import Labels
from dermrobust.attacks.target import Precision
from dermrobust.attacks.threat import Images, Pixels
from dermrobust.components.progress import Progress, Silent
from dermrobust.pipeline.api.arrays import collected, to_pixels
from dermrobust.pipeline.api.attacking import norm_and_transforms
from dermrobust.pipeline.api.evaluation import Evaluation, load_evaluation
from dermrobust.pipeline.audit_settings import Audit
from dermrobust.pipeline.config_errors import explain
from dermrobust.pipeline.outcomes import EXIT_CODES, EXIT_USER_ERROR, REFUSED


def audit(
    model: Any,
    images: Any,
    labels: Any = None,
    *,
    class_names: Sequence[str],
    attacks: str | Mapping[str, Any] = "auto",
    threats: Sequence[str | float] = ("linf:1/255", "linf:2/255", "linf:4/255", "linf:8/255"),
    certify: Sequence[float] = (),
    refer: Sequence[float] = (),
    validation: Any = None,
    malignant: Sequence[str] | None = None,
    metadata: Mapping[str, Sequence[Any]] | None = None,
    control: Any = None,
    input_range: str = "0..1",
    batch_size: int = 64,
    gradient_precision: Precision = "float32",
    seed: int = 0,
    root: str | Path = "output/audit",
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a Keras model as the command `dermrobust audit` does: the same attacks, checks, metrics and files.

    Model and images are written below `root`. A second audit does only what changed.

    Args:
        model: a Keras model from images [batch, height, width, 3] to class scores.
        images: uint8, or floats in [0, 1], which are rounded to 8 bits, [count, height, width, 3] at the model's input
            size; or a `tf.data.Dataset` of (image, label) pairs.
        labels: true classes, integers [count] or one-hot rows; left out for a data set.
        class_names: classes in the order of the model's outputs.
        attacks: name of a suite ("paper", "standard", "auto", "minimal"), or attacks by name.
        threats: budgets of one norm (a number is one of L-infinity in 1/255) and threats beyond it ("colour:1").
        certify: standard deviations of the noise of certificates by randomized smoothing, where a pixel is 0 to 1.
        refer: shares of the validation images that are referred (selective prediction).
        validation: other images, which `refer` is fitted to: a pair of images and labels, or a `tf.data.Dataset`.
        malignant: classes that must not be taken for the others; default: those known of HAM10000's.
        metadata: columns of the labels' table by name, such as "lesion_id", "age", "sex": one value for each image.
        control: an undefended Keras model to compare with.
        input_range: values that the model takes for black and white: "0..1", "0..255" or "-1..1".
        batch_size: images per gradient step.
        gradient_precision: precision of an attack's gradients; success is decided in float32 either way.
        seed: seed of random starts.
        root: folder of artifacts and ledger.
        progress: receives progress; None: nobody.

    Raises:
        UserError: model, images and labels do not fit together; the message says how.
    """
    budgets, transforms = norm_and_transforms(threats)
    settings = _settings(
        _write_inputs(Path(root, "inputs"), *collected(images, labels), class_names, metadata or {}),
        _write_validation(Path(root, "inputs"), validation, class_names),
        _write_models(Path(root, "inputs"), model, control),
        **{"attacks": attacks, "epsilons": budgets, "threats": transforms, "seed": seed},
        **{"batch_size": batch_size, "gradient_precision": gradient_precision},
        **{"certificates": {"sigmas": list(certify)}, "referral": {"rates": list(refer)}},
        **{"classes": tuple(class_names), "malignant": malignant, "input": {"range": input_range}, "root": str(root)},
    )
    return _evaluated(root, settings, progress or Silent())


def _evaluated(root: str | Path, settings: Audit, progress: Progress) -> Evaluation:
    from dermrobust.pipeline.audit import run_audit

    result = run_audit(settings, progress, force=False)
    # A model that the gate refuses was evaluated all the same.
    if result.exit_code not in (0, EXIT_CODES[REFUSED]):
        messages = "\n".join(node.message for node in result.nodes if not node.ok)
        raise UserError(messages) if result.exit_code == EXIT_USER_ERROR else RuntimeError(messages)
    return load_evaluation(root, result.run)


def _settings(*written: Mapping[str, Any], **values: Any) -> Audit:
    try:
        return Audit.model_validate({**{name: value for part in written for name, value in part.items()}, **values})
    except ValidationError as error:
        raise UserError(f"these arguments do not fit:\n{explain(error, Audit)}") from None


def _write_inputs(
    folder: Path,
    images: Images | Pixels,
    classes: Labels,
    class_names: Sequence[str],
    metadata: Mapping[str, Sequence[Any]],
    prefix: str = "",
) -> dict[str, Any]:
    """Write images and labels, and return them as settings of an audit; names of images begin with `prefix`."""
    pixels = to_pixels(images)
    if len(classes) != len(pixels) or classes.min() < 0 or classes.max() >= len(class_names):
        raise UserError(
            f"each image needs a label from 0 to {len(class_names) - 1}: found {len(pixels)} images, {len(classes)} "
            f"labels from {classes.min()} to {classes.max()}"
        )
    data, table = _write_images(folder, pixels, [class_names[label] for label in classes], metadata, prefix)
    return {"data": data, "labels": table, "image_size": _image_size(pixels)}


def _write_validation(folder: Path, validation: Any, class_names: Sequence[str]) -> dict[str, Any]:
    """Write validation images and their labels, and return them as settings of an audit; without any, none."""
    if validation is None:
        return {}
    found = collected(*(validation if isinstance(validation, tuple | list) else (validation, None)))
    # By name they would be the audited images.
    written = _write_inputs(folder, *found, class_names, {}, "validation-")
    return {"validation_data": written["data"], "validation_labels": written["labels"]}


def _write_models(folder: Path, model: Any, control: Any) -> dict[str, Path]:
    models = {"model": model} if control is None else {"model": model, "control": control}
    return {name: _write_model(folder, name, network) for name, network in models.items()}


def _write_model(folder: Path, name: str, model: Any) -> Path:
    import keras

    from dermrobust.models.classifier import save_network

    if not isinstance(model, keras.Model):
        raise UserError(f"the {name} must be a Keras model, found {type(model).__name__}; see dermrobust.attack")
    path = folder / f"{name}.keras"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_network(model, path)
    return path


def _write_images(
    folder: Path, pixels: Pixels, classes: Sequence[str], metadata: Mapping[str, Sequence[Any]], prefix: str
) -> tuple[Path, Path]:
    """Write images and their table to a folder that is the same for the same images."""
    from PIL import Image

    for name, column in metadata.items():
        if len(column) != len(pixels):
            raise UserError(f"metadata: '{name}' has {len(column)} values for {len(pixels)} images")
    images = folder / f"{prefix}{hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]}"
    images.mkdir(parents=True, exist_ok=True)
    names = [f"{prefix}{index:06d}" for index in range(len(pixels))]
    for name, image in zip(names, pixels, strict=True):
        path = images / f"{name}.png"
        if not path.exists():
            Image.fromarray(image).save(path)
    table = folder / f"{images.name}.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("image_id", "dx", *metadata))
        rows.writerows(zip(names, classes, *metadata.values(), strict=True))
    return images, table


def _image_size(pixels: Pixels) -> int | tuple[int, int]:
    height, width = pixels.shape[1:3]
    return height if height == width else (height, width)
