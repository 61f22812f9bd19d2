"""Loading what is evaluated: networks of this project, and models that somebody brought."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from attacks.target import Precision, Target
from components.artifacts import Artifact
from components.model_files import load_classifier, load_target


def classifier_of(model: Artifact) -> Target:
    """Return the model exactly as it is, to score images by; once per process and content."""
    return load_classifier(model.uri, model.digest)


def _target_of(model: Artifact, precision: Precision) -> Target:
    return load_target(model.uri, model.digest, precision)


@dataclass(frozen=True)
class Attacked:
    """The model under attack, and those that an attacker has beside it.

    Attributes:
        model: the model artifact.
        surrogates: other model artifacts by name.
        precision: of gradients.
    """

    model: Artifact
    surrogates: Mapping[str, Artifact]
    precision: Precision

    def target(self) -> Target:
        """Return what attacks see; models are loaded once per process."""
        return dataclasses.replace(
            _target_of(self.model, self.precision),
            surrogates={name: _target_of(other, self.precision) for name, other in self.surrogates.items()},
        )
