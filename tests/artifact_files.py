"""Artifacts whose files a test has changed on purpose."""

from __future__ import annotations

from pathlib import Path

from dermrobust.components import storage
from dermrobust.components.artifacts import MANIFEST, Manifest, content_digest


def seal(folder: Path) -> None:
    """Write the manifest of an artifact anew, so that its files are as it says."""
    path = folder / MANIFEST
    files = [entry for entry in storage.entries(str(folder)) if entry.path != MANIFEST]
    manifest = Manifest.model_validate_json(path.read_bytes())
    path.write_text(manifest.model_copy(update={"files": files, "digest": content_digest(files)}).model_dump_json())
