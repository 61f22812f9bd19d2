"""Digests of the user's files that adoption reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from dermrobust.attacks.errors import UserError
from dermrobust.components.audit.component import AdoptDataParams, AdoptModelParams
from dermrobust.components.audit.matching import image_files
from dermrobust.components.component import Params
from dermrobust.models.foreign.rest import read_rest
from dermrobust.models.foreign.spec import is_url


def data_digest(params: Params) -> str:
    """Return a digest of the images and tables of all splits.

    Raises:
        UserError: they are not there.
    """
    assert isinstance(params, AdoptDataParams)
    total = hashlib.sha256()
    for split, (folder, table) in params.sources().items():
        found = _digest([("labels", table), *((name, path) for name, path in sorted(image_files(folder).items()))])
        total.update(f"{split} {found}\n".encode())
    return total.hexdigest()


def model_digest(params: Params) -> str:
    """Return a digest of the model's files, or of what a server declares about a model.

    Raises:
        UserError: they are not there.
    """
    assert isinstance(params, AdoptModelParams)
    if is_url(params.model):
        # A server does not show its weights. Its version changes with them, as TensorFlow Serving counts it.
        endpoint = read_rest(params.model, params.signature, classes=1)
        return hashlib.sha256(endpoint.model_dump_json().encode()).hexdigest()
    path = Path(params.model)
    if path.is_dir():
        return _digest((item.relative_to(path).as_posix(), item) for item in sorted(path.rglob("*")) if item.is_file())
    return _digest([("model", path)])


def _digest(files: Iterable[tuple[str, Path]]) -> str:
    total = hashlib.sha256()
    for name, path in files:
        # A pipe or a device might never end.
        if path.exists() and not path.is_file():
            raise UserError(f"'{path}' is no regular file; move it away")
        try:
            with path.open("rb") as file:
                total.update(f"{hashlib.file_digest(file, 'sha256').hexdigest()} {name}\n".encode())
        except OSError as error:
            raise UserError(f"'{path}' cannot be read: {error.strerror}") from error
    return total.hexdigest()
