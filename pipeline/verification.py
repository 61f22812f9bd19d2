"""Verification of artifacts and exported models against what was recorded when they were written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.artifacts import MANIFEST, Artifact, ArtifactStore, Manifest
from dermrobust.components.export.files import CHECKSUMS
from dermrobust.components.export.publish import version_problems, versions
from dermrobust.components.integrity import problems
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.local_files import export_directory
from dermrobust.pipeline.signing import key_name, signature_of


@dataclass(frozen=True)
class Verified:
    """An artifact or exported model, what is wrong with it, and who signed it: a phrase, or None."""

    place: str
    problems: tuple[str, ...]
    signature: str | None = None


def verify_root(config: PipelineConfig, key: Path | None = None) -> Iterator[Verified]:
    """Yield every artifact of a root and every version in its export directory.

    Args:
        config: config whose root and export directory are verified.
        key: public key with which versions must be signed; None: they may be signed with any, or not at all.

    Raises:
        UserError: there is neither.
    """
    empty = True
    for verified in _found(config, key):
        empty = False
        yield verified
    if empty:
        raise UserError(f"there is no artifact in '{config.root}'; see: dermrobust runs")


def _found(config: PipelineConfig, key: Path | None) -> Iterator[Verified]:
    for found in ArtifactStore(config.root).all():
        if isinstance(found, Artifact):
            yield Verified(found.uri, tuple(problems(found, contents=True)))
        else:
            yield Verified(found, (f"'{found}' cannot be read: it was cut or changed",))
    directory = export_directory(config)
    for number in versions(directory):
        yield _version(storage.join(directory, str(number)), key)


def _version(place: str, key: Path | None) -> Verified:
    found = tuple(version_problems(place))
    if found:
        return Verified(place, found)
    try:
        signed = signature_of(place, key)
    except UserError as error:
        return Verified(place, (str(error),))
    if signed is None:
        return Verified(place, () if key is None else (f"'{place}' is not signed",))
    statement = signed.statement
    told = (
        f"signed by '{statement.signer}' at {statement.signed} with key {key_name(signed)}, report {statement.report}"
    )
    return Verified(place, (), told)


def verify_place(place: str, key: Path | None = None) -> Verified:
    """Return what is wrong with one artifact or one version of an exported model; see `verify_root`.

    Raises:
        UserError: the folder is neither.
    """
    manifest = storage.join(place, MANIFEST)
    if storage.exists(storage.join(place, CHECKSUMS)):
        return _version(place, key)
    if not storage.exists(manifest):
        raise UserError(f"'{place}' is neither an artifact (it has no {MANIFEST}) nor an exported model ({CHECKSUMS})")
    try:
        found = Manifest.model_validate_json(storage.read_bytes(manifest))
    except ValidationError:
        return Verified(place, (f"'{manifest}' cannot be read: it was cut or changed",))
    return Verified(place, tuple(problems(Artifact(found.type, found.fingerprint, found.digest, place), contents=True)))
