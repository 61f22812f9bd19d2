"""Artifacts: immutable, content-addressed results of components, and their store."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.registry import ArtifactType as ArtifactType
from dermrobust.components.storage import FileEntry

MANIFEST = "manifest.json"
_STAGING = "staging"
_ATTEMPT = re.compile(r"[a-z_]+-(?P<fingerprint>[0-9a-f]{32})-[0-9a-f]{8}")
"""Name of a staging folder that an execution does not share with a later one."""
LOGS = "logs/"
"""Folder of files that contain times of day, such as TensorBoard events; they are not part of the content digest."""

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class Artifact:
    """A published artifact.

    Attributes:
        type: type of the artifact.
        fingerprint: digest of everything that it was made from.
        digest: digest of its content.
        uri: its folder or URI.
    """

    type: ArtifactType
    fingerprint: str
    digest: str
    uri: str

    def path(self, *parts: str) -> str:
        """Return the URI of a file of the artifact."""
        return storage.join(self.uri, *parts)

    def read_json(self, *parts: str) -> Any:
        """Return the parsed content of a JSON file of the artifact."""
        return storage.read_json(self.path(*parts))


def read_as(model: type[_Model], artifact: Artifact, *parts: str) -> _Model:
    """Return the content of a JSON file of an artifact as an instance of a pydantic model.

    Raises:
        UserError: the file does not fit the model, as if another version of the package wrote it.
    """
    try:
        return model.model_validate(artifact.read_json(*parts))
    except ValidationError as error:
        raise UserError(
            f"'{artifact.path(*parts)}' was written by another version of dermrobust, or was changed: make it again by "
            "the command that made it, or use that version"
        ) from error


class Manifest(BaseModel):
    """Content of `manifest.json`. The file is written last: a folder without it is not an artifact."""

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
    """Origin of an artifact, for its manifest.

    Attributes:
        producer: id of the node that made it.
        parameters: parameters of the node, as JSON values.
        inputs: input artifacts of the node.
        versions: versions of the libraries that affect the content.
    """

    producer: str
    parameters: Mapping[str, Any]
    inputs: Mapping[str, Sequence[Artifact]]
    versions: Mapping[str, str]


def content_digest(files: Sequence[FileEntry]) -> str:
    """Return a digest of the names and contents of files, logs excluded."""
    lines = (f"{file.sha256} {file.path}\n" for file in files if not file.path.startswith(LOGS))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class ArtifactStore:
    """Store of the artifacts in `<root>/artifacts/<type>/<fingerprint>/`."""

    def __init__(self, root: str) -> None:
        """Open the store below a root folder or URI; nothing is created."""
        self.root = root

    def _uri(self, type_: ArtifactType, fingerprint: str) -> str:
        return storage.join(self.root, "artifacts", type_.value, fingerprint)

    def manifest(self, artifact: Artifact) -> Manifest:
        """Return the manifest of a published artifact."""
        return Manifest.model_validate_json(storage.read_bytes(artifact.path(MANIFEST)))

    def find(self, type_: ArtifactType, fingerprint: str) -> Artifact | None:
        """Return a published artifact, or None if there is no manifest that can be read."""
        uri = self._uri(type_, fingerprint)
        if not storage.exists(storage.join(uri, MANIFEST)):
            return None
        try:
            manifest = Manifest.model_validate_json(storage.read_bytes(storage.join(uri, MANIFEST)))
        except (ValidationError, FileNotFoundError):
            return None
        return Artifact(type_, fingerprint, manifest.digest, uri)

    def find_at(self, uri: str) -> Artifact | None:
        """Return the artifact that a manifest names by its URI, wherever the root was then; see `find`."""
        _, type_, fingerprint = uri.rsplit("/", 2)
        return self.find(ArtifactType(type_), fingerprint) if type_ in set(ArtifactType) else None

    def all(self) -> Iterator[Artifact | str]:
        """Yield every published artifact; instead of one whose manifest cannot be read, the path of the manifest."""
        folder = storage.join(self.root, "artifacts")
        for name in storage.list_files(folder):
            type_, fingerprint, *rest = name.split("/")
            if rest == [MANIFEST] and type_ in set(ArtifactType):
                yield self.find(ArtifactType(type_), fingerprint) or storage.join(folder, name)

    def set_aside(self, type_: ArtifactType, fingerprint: str) -> str:
        """Move an artifact out of the store, so that it can be made again, and return its new place."""
        place = storage.join(self.root, "damaged", f"{type_.value}-{fingerprint}-{uuid.uuid4().hex[:8]}")
        storage.move(self._uri(type_, fingerprint), place)
        return place

    def stage(self, type_: ArtifactType, fingerprint: str, *, resumable: bool = False) -> str:
        """Create a folder or URI to write an artifact to before it is published, and return it.

        Args:
            type_: type of the artifact.
            fingerprint: its fingerprint.
            resumable: whether to return the same place for every call, with the files that an interrupted execution
                finished; otherwise every call returns a new one.
        """
        attempt = "resumable" if resumable else uuid.uuid4().hex[:8]
        uri = storage.join(self.root, _STAGING, f"{type_.value}-{fingerprint}-{attempt}")
        storage.make_folder(uri)
        if resumable:
            # A process may have been killed between writing the manifest and moving the files.
            storage.remove(storage.join(uri, MANIFEST))
        return uri

    def attempts(self) -> Iterator[tuple[str, str]]:
        """Yield (fingerprint, URI) of the staging folders of executions that cannot be resumed.

        An execution removes its own. One that was killed cannot, so its folder is abandoned; on object stores, which
        have no folders, none is found.
        """
        folder = Path(self.root, _STAGING)
        if not storage.is_local(self.root) or not folder.is_dir():
            return
        for place in sorted(folder.iterdir()):
            found = _ATTEMPT.fullmatch(place.name)
            if found:
                yield found["fingerprint"], str(place)

    def publish(self, staged: str, type_: ArtifactType, fingerprint: str, origin: Provenance) -> Artifact:
        """Move staged files to their place and write the manifest.

        If another run has published the same artifact meanwhile, that one is returned and the staged files stay where
        they are.
        """
        # Killed processes, or workers that outlive one, leave temporary files; they are not part of the content.
        storage.remove_partial_files(staged)
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
            # The folder has no manifest, since its writer was killed, or the artifact was made anew on purpose.
            storage.remove(uri)
            self._move(staged, uri, content)
        return Artifact(type_, fingerprint, manifest.digest, uri)

    @staticmethod
    def _move(staged: str, uri: str, manifest: bytes) -> None:
        """Move staged files and write the manifest; raise FileExistsError if a local target exists."""
        if storage.is_local(staged):
            # Written before the rename, which then publishes files and manifest at once.
            storage.write_bytes(storage.join(staged, MANIFEST), manifest)
            storage.move(staged, uri)
        else:
            # Object stores copy file by file, so the manifest must follow.
            storage.remove(uri)
            storage.copy_objects(staged, uri)
            storage.write_bytes(storage.join(uri, MANIFEST), manifest)
            # Last: until the artifact is there, a second try needs all staged files.
            storage.remove(staged)
