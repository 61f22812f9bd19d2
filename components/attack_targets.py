"""Loading of model artifacts as targets of attacks: networks of this project, and adopted models."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dermrobust.attacks.gradientless import gradientless_target
from dermrobust.attacks.target import Precision, Target
from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact
from dermrobust.components.component import Context
from dermrobust.components.evaluation.params import PredictParams
from dermrobust.components.foreign_files import FOREIGN, ONNX, SAVED_MODEL
from dermrobust.components.model_files import NETWORK, load_classifier, load_target, loaded_once
from dermrobust.models.devices import prepare_devices
from dermrobust.models.foreign.black_box import black_box_target
from dermrobust.models.foreign.saved_models import saved_model_target
from dermrobust.models.foreign.spec import ForeignSpec, OutputKind


def classifier_of(model: Artifact) -> Target:
    """Return the target that scores images: the exact model, loaded once per process and content."""
    if _is_network(model.uri, model.digest):
        return load_classifier(model.uri, model.digest)
    return _adopted(model.uri, model.digest)


def has_only_probabilities(model: Artifact) -> bool:
    """Return whether the logits of a model are computed from its probabilities, which may have lost small ones."""
    if not storage.exists(model.path(FOREIGN)):
        return False
    return _foreign(model.uri).outputs is OutputKind.PROBABILITIES


def is_black_box(model: Artifact) -> bool:
    """Return whether only the answers of a model are available, so that no attack sees its gradients."""
    return storage.exists(model.path(FOREIGN)) and _foreign(model.uri).endpoint is not None


def target_of(model: Artifact, precision: Precision) -> Target:
    """Return the target of attacks on a model; a SavedModel computes in the precision that it was saved in."""
    target = plain_target_of(model, precision)
    return gradientless_target(target) if _is_gradientless(model.uri, model.digest) else target


def plain_target_of(model: Artifact, precision: Precision) -> Target:
    """Return the target of a model for attacks that need no gradient of it, even if none reaches its images."""
    if _is_network(model.uri, model.digest):
        return load_target(model.uri, model.digest, precision)
    return _adopted(model.uri, model.digest)


@functools.lru_cache(maxsize=16)
def _is_gradientless(uri: str, digest: str) -> bool:
    """Return whether no gradient reaches the images of a model."""
    del digest
    return storage.exists(storage.join(uri, FOREIGN)) and not _foreign(uri).differentiable


@functools.lru_cache(maxsize=16)
def _is_network(uri: str, digest: str) -> bool:
    del digest
    return storage.exists(storage.join(uri, NETWORK))


def _foreign(uri: str) -> ForeignSpec:
    return ForeignSpec.model_validate_json(storage.read_bytes(storage.join(uri, FOREIGN)))


@functools.lru_cache(maxsize=8)
def _adopted(uri: str, digest: str) -> Target:
    """Return an adopted model other than a network; loaded once per process and content, which `digest` stands for."""
    prepare_devices()
    target: Target = loaded_once(("saved_model", digest), lambda: _load_saved_model(uri))
    return target


def _load_saved_model(uri: str) -> Target:
    spec = _foreign(uri)
    if spec.endpoint is not None:
        return black_box_target(spec, storage.read_bytes(storage.join(uri, ONNX)) if spec.format == "onnx" else None)
    return saved_model_target(Path(storage.local_folder(storage.join(uri, SAVED_MODEL))), spec)


@dataclass(frozen=True)
class Attacked:
    """The model under attack, and the surrogates of the attacker.

    Attributes:
        model: the model artifact.
        surrogates: other model artifacts by name.
        precision: precision of the gradients.
        batch_size: images per gradient step.
    """

    model: Artifact
    surrogates: Mapping[str, Artifact]
    precision: Precision
    batch_size: int

    @classmethod
    def of(cls, context: Context, params: PredictParams) -> Attacked:
        """Return the model of a component's inputs with the surrogates that its parameters name."""
        surrogates = dict(zip(params.surrogates, context.inputs["surrogates"], strict=True))
        return cls(context.input("model"), surrogates, params.gradient_precision, params.batch_size)

    def target(self) -> Target:
        """Return the target with its surrogates; models are loaded once per process."""
        return dataclasses.replace(
            target_of(self.model, self.precision),
            surrogates={name: target_of(other, self.precision) for name, other in self.surrogates.items()},
        )


def probabilities_of(logits: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return probabilities float32 [count, class_count]."""
    return np.asarray(tf.nn.softmax(logits).numpy())
