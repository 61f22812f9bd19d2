"""Description of an exported model, as `dermrobust.json` inside the SavedModel."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from dermrobust.components.artifacts import Artifact
from dermrobust.components.evaluation.blessing import Blessing
from dermrobust.components.export.signatures import ReferralRule
from dermrobust.components.model_files import ModelSpec
from dermrobust.models.image_formats import ACCEPTED, MAX_PIXELS

Signatures = Mapping[str, tf.types.experimental.ConcreteFunction]


def describe(
    model: Artifact, spec: ModelSpec, blessing: Blessing, signatures: Signatures, referral: ReferralRule | None = None
) -> dict[str, Any]:
    """Describe an exported model.

    Args:
        model: the artifact that is exported.
        spec: its classes and preprocessing.
        blessing: result of the gate, which names the model and holds the gate's thresholds with their values.
        signatures: the functions that are served, by name.
        referral: rule by which the model refers images; None: it refers none.

    Returns:
        JSON values: `model` (its name), `fingerprint` and `digest` of its artifact, `class_names` in the order of the
        probabilities, `preprocessing`, `signatures` with the dtype and shape (None: any size) of each input and output,
        `input_formats`, `max_pixels`, `gate`, and with a rule `referral`; the executor adds `formats`.
    """
    return {
        "model": blessing.candidate,
        "fingerprint": model.fingerprint,
        "digest": model.digest,
        **spec.model_dump(mode="json"),
        "signatures": {
            name: {
                "inputs": _tensors({spec.name: spec for spec in function.structured_input_signature[0]}),
                "outputs": _tensors(function.structured_outputs),
            }
            for name, function in signatures.items()
        },
        "input_formats": list(ACCEPTED),
        "max_pixels": MAX_PIXELS,
        "gate": blessing.model_dump(mode="json"),
        **({} if referral is None else {"referral": dataclasses.asdict(referral)}),
    }


def _tensors(specs: Mapping[str, tf.TensorSpec]) -> dict[str, dict[str, Any]]:
    return {name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()} for name, spec in specs.items()}
