"""Lineage of an evaluation: run, nodes, artifacts, models, data and commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class NodeRecord:
    """Node of the run: its stage, status, duration and fingerprint."""

    node: str
    stage: str
    status: str
    seconds: float
    fingerprint: str | None


@dataclass(frozen=True)
class ArtifactRecord:
    """Artifact that the evaluation was made from; `inputs` are fingerprints by the name of the input."""

    type: str
    producer: str
    fingerprint: str
    digest: str
    size: int
    parameters: Mapping[str, Any]
    inputs: Mapping[str, tuple[str, ...]]
    versions: Mapping[str, str]


@dataclass(frozen=True)
class DataRecord:
    """Images of the run.

    Attributes:
        name: name of the data set.
        class_names: classes in the order of `class_counts`.
        counts: number of images by split.
        class_counts: number of images of each class by split.
        preparation: parameters of preprocessing.
        parameters: parameters of the data set.
        digest: digest of the data set's content.
        drawn: whether a program drew the images.
    """

    name: str
    class_names: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    class_counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    preparation: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""
    drawn: bool = False


@dataclass(frozen=True)
class ModelRecord:
    """Model: parameters of its training, figures at the end of it, and digest of its files."""

    name: str
    fingerprint: str
    digest: str
    parameters: Mapping[str, Any]
    training: Mapping[str, Any]


@dataclass(frozen=True)
class Lineage:
    """Lineage of an evaluation.

    Attributes:
        run: id of the run.
        started, finished: times in UTC.
        status: status of the run.
        version: version of dermrobust that wrote the report.
        config: config of the run with all defaults, as JSON text.
        commands: commands that repeat the run.
        nodes, artifacts, models, data: nodes of the run, and what the evaluation was made from.
        attacks: parameters of the attacks by name, from the predictions.
        seed: seed of the attacks.
        notes: remarks on the run.
    """

    run: str
    started: str
    finished: str
    status: str
    version: str
    config: str
    commands: tuple[str, ...]
    nodes: tuple[NodeRecord, ...]
    artifacts: tuple[ArtifactRecord, ...]
    models: tuple[ModelRecord, ...] = ()
    data: DataRecord | None = None
    attacks: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def versions(self) -> dict[str, str]:
        """Versions of all libraries that the artifacts depend on."""
        found: dict[str, str] = {}
        for artifact in self.artifacts:
            found.update(artifact.versions)
        return dict(sorted(found.items()))
