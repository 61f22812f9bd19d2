"""What ingest reads besides artifacts, as a digest: the raw files, wherever they lie."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from dermrobust.components.component import Params
from dermrobust.components.ingest.component import IngestParams, raw_folder
from dermrobust.components.ingest.datasets.folder import source as folder_files
from dermrobust.components.ingest.datasets.ham10000 import release


def digest(params: Params) -> str:
    """Return a digest of the raw files that an ingest with these parameters reads.

    Raises:
        UserError: they are not there.
    """
    assert isinstance(params, IngestParams)
    if params.dataset == "synthetic":
        return ""
    folder = raw_folder(params)
    if params.dataset == "ham10000":
        metadata, images = release.find_files(folder)
        return files_digest([metadata, *images])
    return files_digest(folder_files.find_files(folder, params.folder))


def files_digest(paths: Iterable[Path]) -> str:
    """Return a digest of files (or of all files below folders) by name and content."""
    total = hashlib.sha256()
    for path in paths:
        members = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
        for member in members:
            with member.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(f"{digest} {member.relative_to(path.parent).as_posix()}\n".encode())
    return total.hexdigest()
