"""Verification of artifacts and exported models against what was recorded when they were written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.artifacts import MANIFEST, Artifact, ArtifactStore, Manifest
from dermrobust.components.export.files import CHECKSUMS
from dermrobust.components.export.publish import version_problems, versions
from dermrobust.components.integrity import problems
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.local_files import export_directory


@dataclass(frozen=True)
class Verified:
    """An artifact or exported model, and what is wrong with it."""

    place: str
    problems: tuple[str, ...]


def verify_root(config: PipelineConfig) -> Iterator[Verified]:
    """Yield every artifact of a root and every version in its export directory.

    Raises:
        UserError: there is neither.
    """
    empty = True
    for verified in _found(config):
        empty = False
        yield verified
    if empty:
        raise UserError(f"there is no artifact in '{config.root}'; see: dermrobust runs")


def _found(config: PipelineConfig) -> Iterator[Verified]:
    for found in ArtifactStore(config.root).all():
        if isinstance(found, Artifact):
            yield Verified(found.uri, tuple(problems(found, contents=True)))
        else:
            yield Verified(found, (f"'{found}' cannot be read: it was cut or changed",))
    directory = export_directory(config)
    for number in versions(directory):
        version = storage.join(directory, str(number))
        yield Verified(version, tuple(version_problems(version)))


def verify_place(place: str) -> Verified:
    """Return what is wrong with one artifact or one version of an exported model.

    Raises:
        UserError: the folder is neither.
    """
    manifest = storage.join(place, MANIFEST)
    if storage.exists(storage.join(place, CHECKSUMS)):
        return Verified(place, tuple(version_problems(place)))
    if not storage.exists(manifest):
        raise UserError(f"'{place}' is neither an artifact (it has no {MANIFEST}) nor an exported model ({CHECKSUMS})")
    try:
        found = Manifest.model_validate_json(storage.read_bytes(manifest))
    except ValidationError:
        return Verified(place, (f"'{manifest}' cannot be read: it was cut or changed",))
    return Verified(place, tuple(problems(Artifact(found.type, found.fingerprint, found.digest, place), contents=True)))
