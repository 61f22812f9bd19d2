"""Artifacts: immutable, content-addressed results of components, and the store that holds them."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from dermrobust.components import storage
from dermrobust.components.registry import ArtifactType as ArtifactType
from dermrobust.components.storage import FileEntry

MANIFEST = "manifest.json"
LOGS = "logs/"
"""Files below this folder (TensorBoard events, times of day) are no part of an artifact's content."""


@dataclass(frozen=True)
class Artifact:
    """A published artifact.

    Attributes:
        type: what it is.
        fingerprint: a digest of all that it was made from.
        digest: a digest of its content.
        uri: where it lies.
    """

    type: ArtifactType
    fingerprint: str
    digest: str
    uri: str

    def path(self, *parts: str) -> str:
        """Return the URI of a file of the artifact."""
        return storage.join(self.uri, *parts)

    def read_json(self, *parts: str) -> Any:
        """Return the content of a JSON file of the artifact."""
        return storage.read_json(self.path(*parts))


class Manifest(BaseModel):
    """What `manifest.json` says: written last, it is what makes an artifact one."""

    model_config = ConfigDict(extra="forbid")

    type: ArtifactType
    fingerprint: str
    digest: str
    producer: str
    parameters: dict[str, Any]
    inputs: dict[str, list[str]]
    versions: dict[str, str]
    files: list[FileEntry]


@dataclass(frozen=True)
class Provenance:
    """Where an artifact comes from, for its manifest."""

    producer: str
    parameters: Mapping[str, Any]
    inputs: Mapping[str, Sequence[Artifact]]
    versions: Mapping[str, str]


def content_digest(files: Sequence[FileEntry]) -> str:
    """Return a digest of files by name and content, without logs."""
    lines = (f"{file.sha256} {file.path}\n" for file in files if not file.path.startswith(LOGS))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class ArtifactStore:
    """Artifacts below `<root>/artifacts/<type>/<fingerprint>/`."""

    def __init__(self, root: str) -> None:
        """Use a root folder or URI; nothing is created yet."""
        self.root = root

    def _uri(self, type_: ArtifactType, fingerprint: str) -> str:
        return storage.join(self.root, "artifacts", type_.value, fingerprint)

    def manifest(self, artifact: Artifact) -> Manifest:
        """Return the manifest of a published artifact."""
        return Manifest.model_validate_json(storage.read_bytes(artifact.path(MANIFEST)))

    def find(self, type_: ArtifactType, fingerprint: str) -> Artifact | None:
        """Return a published artifact, or None; without a manifest there is none."""
        uri = self._uri(type_, fingerprint)
        if not storage.exists(storage.join(uri, MANIFEST)):
            return None
        manifest = Manifest.model_validate_json(storage.read_bytes(storage.join(uri, MANIFEST)))
        return Artifact(type_, fingerprint, manifest.digest, uri)

    def stage(self, type_: ArtifactType, fingerprint: str, *, resumable: bool = False) -> str:
        """Return a place to write an artifact to before it is published.

        Args:
            type_: type of the artifact.
            fingerprint: its fingerprint.
            resumable: the same place as before, with what an interrupted execution left there; else a new one.
        """
        attempt = "resumable" if resumable else uuid.uuid4().hex[:8]
        uri = storage.join(self.root, "staging", f"{type_.value}-{fingerprint}-{attempt}")
        storage.make_folder(uri)
        if resumable:
            # They would be published with the artifact and change its digest.
            storage.remove_partial_files(uri)
        return uri

    def publish(self, staged: str, type_: ArtifactType, fingerprint: str, origin: Provenance) -> Artifact:
        """Move what was staged to its place and write the manifest.

        If another run has published the same artifact meanwhile, that one stays; what was staged is left to the caller.
        """
        files = list(storage.entries(staged))
        manifest = Manifest(
            type=type_,
            fingerprint=fingerprint,
            digest=content_digest(files),
            producer=origin.producer,
            parameters=dict(origin.parameters),
            inputs={name: [artifact.uri for artifact in inputs] for name, inputs in origin.inputs.items()},
            versions=dict(origin.versions),
            files=files,
        )
        uri = self._uri(type_, fingerprint)
        published = self.find(type_, fingerprint)
        if published is not None and published.digest == manifest.digest:
            return published
        content = manifest.model_dump_json(indent=1).encode()
        try:
            self._move(staged, uri, content)
        except OSError:
            other = self.find(type_, fingerprint)
            if other is not None and other != published:
                return other
            # What lies there is no artifact (its writer was stopped), or is to be replaced by what was made anew.
            storage.remove(uri)
            self._move(staged, uri, content)
        return Artifact(type_, fingerprint, manifest.digest, uri)

    @staticmethod
    def _move(staged: str, uri: str, manifest: bytes) -> None:
        """Move what was staged; on a local disk an error where something lies already, elsewhere in its place."""
        if storage.is_local(staged):
            # One rename publishes files and manifest together.
            storage.write_bytes(storage.join(staged, MANIFEST), manifest)
            storage.move(staged, uri)
        else:
            storage.remove(uri)
            storage.move(staged, uri)
            storage.write_bytes(storage.join(uri, MANIFEST), manifest)
