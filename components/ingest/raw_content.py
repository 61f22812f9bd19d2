"""Digest of the raw files that ingest reads, wherever they lie."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from dermrobust.attacks.errors import UserError
from dermrobust.components.component import Params
from dermrobust.components.ingest.component import IngestParams, raw_folder


def digest(params: Params) -> str:
    """Return a digest of the raw files that an ingest with these parameters reads; empty where it reads none.

    Raises:
        UserError: they are not there.
    """
    assert isinstance(params, IngestParams)
    if not params.dataset.needs_path:
        return ""
    return files_digest(params.dataset.files(raw_folder(params)))


def files_digest(paths: Iterable[Path]) -> str:
    """Return a digest of files (or of all files below folders) by name and content.

    Raises:
        UserError: a file cannot be read, or was deleted meanwhile.
    """
    total = hashlib.sha256()
    for path in paths:
        members = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
        for member in members:
            try:
                with member.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise UserError(f"ingest: '{member}' cannot be read: {error.strerror}") from error
            # Names are relative, so that moving the files changes nothing.
            total.update(f"{digest} {member.relative_to(path.parent).as_posix()}\n".encode())
    return total.hexdigest()
