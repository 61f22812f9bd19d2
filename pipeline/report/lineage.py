"""Where an evaluation comes from, as the page tells it: run, nodes, artifacts, data and commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class NodeRecord:
    """What became of a node of the run."""

    node: str
    stage: str
    status: str
    seconds: float
    fingerprint: str | None


@dataclass(frozen=True)
class ArtifactRecord:
    """An artifact that the evaluation stands on; `inputs` are fingerprints by the name of the input."""

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
    """The images: counts by split and class, the set's name, and how it was made ready.

    Attributes:
        name: of the data set.
        class_names: in the order of `class_counts`.
        counts: images by split.
        class_counts: images of each class by split.
        preparation: parameters of preprocessing.
        digest: of the data set's content.
    """

    name: str
    class_names: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    class_counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    preparation: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True)
class ModelRecord:
    """A model: how it was trained, on how many images, and the digest of its files."""

    name: str
    fingerprint: str
    digest: str
    parameters: Mapping[str, Any]
    training: Mapping[str, Any]


@dataclass(frozen=True)
class Lineage:
    """All that is known of where an evaluation comes from.

    Attributes:
        run: its id.
        version: of dermrobust, that wrote the report.
        config: of the run, every default filled in, as JSON text.
        commands: that make it again.
        attacks: parameters by name, as the predictions were made with them.
        seed: of the attacks.
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
        """Versions of all libraries that shaped the artifacts."""
        found: dict[str, str] = {}
        for artifact in self.artifacts:
            found.update(artifact.versions)
        return dict(sorted(found.items()))
