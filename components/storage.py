"""Files wherever Beam can reach them: a local disk, or an object store by its URI."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import posixpath
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydantic import BaseModel, ConfigDict

_CHUNK = 1 << 20
_PARTIAL = ".partial-"


def _file_systems() -> Any:
    """Return Beam's file systems; Beam takes seconds to import, so local files are reached without it."""
    from apache_beam.io.filesystems import FileSystems

    return FileSystems


class FileEntry(BaseModel):
    """A file of an artifact, by its path relative to the artifact."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    size: int
    sha256: str


def is_local(uri: str) -> bool:
    """Tell whether a URI is a path of this machine."""
    return "://" not in uri


def join(uri: str, *parts: str) -> str:
    """Append parts to a URI."""
    return posixpath.join(uri, *parts)


def exists(uri: str) -> bool:
    """Tell whether a file (or, locally, a folder) is there."""
    if is_local(uri):
        return Path(uri).exists()
    return bool(_file_systems().exists(uri))


def open_read(uri: str) -> BinaryIO:
    """Open a file as it is, without guessing a compression from its name."""
    if is_local(uri):
        return Path(uri).open("rb")
    return cast(
        BinaryIO, _file_systems().open(uri, mime_type="application/octet-stream", compression_type="uncompressed")
    )


def read_bytes(uri: str) -> bytes:
    """Return a file's content."""
    with open_read(uri) as file:
        return file.read()


def write_bytes(uri: str, content: bytes) -> None:
    """Write a file, its folder too; a reader sees all of it or nothing."""
    with atomic_file(uri) as partial:
        if is_local(partial):
            Path(partial).write_bytes(content)
            return
        with _file_systems().create(partial, compression_type="uncompressed") as file:
            file.write(content)


def read_json(uri: str) -> Any:
    """Return the content of a JSON file."""
    return json.loads(read_bytes(uri))


def write_json(uri: str, value: Any) -> None:
    """Write JSON with sorted keys, so that equal values give equal bytes."""
    write_bytes(uri, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


@contextlib.contextmanager
def atomic_file(uri: str) -> Iterator[str]:
    """Give a path to write to; what was written appears under `uri` when the context ends without an error.

    A worker that is stopped leaves no half file behind under the final name, and one that is repeated replaces it.
    """
    make_folder(posixpath.dirname(uri))
    partial = f"{uri}{_PARTIAL}{uuid.uuid4().hex[:8]}"
    try:
        yield partial
        if is_local(uri):
            Path(partial).replace(uri)
        else:
            _file_systems().rename([partial], [uri])
    except BaseException:
        with contextlib.suppress(Exception):
            remove(partial)
        raise


def remove_partial_files(uri: str) -> None:
    """Delete what killed processes left below a URI: files that `atomic_file` did not finish."""
    for name in list_files(uri):
        if _PARTIAL in name:
            remove(join(uri, name))


def make_folder(uri: str) -> None:
    """Create a folder and its parents where the file system has folders."""
    if is_local(uri):
        Path(uri).mkdir(parents=True, exist_ok=True)


def list_files(uri: str) -> list[str]:
    """Return all files below a URI, relative to it, in sorted order."""
    root = uri.rstrip("/") + "/"
    if is_local(uri):
        # Path.rglob would fail on a folder that another run removes meanwhile.
        found = (Path(folder, name) for folder, _, names in os.walk(root) for name in names)
        return sorted(path.relative_to(root).as_posix() for path in found)
    matches = _file_systems().match([f"{root}**"])[0].metadata_list
    return sorted(match.path[len(root) :] for match in matches)


def remove(uri: str) -> None:
    """Delete a file or a folder with all it holds; a missing one is fine."""
    if is_local(uri):
        # Beam would take brackets and stars in the path for a pattern.
        path = Path(uri)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    elif exists(uri) or list_files(uri):
        _file_systems().delete([uri])


def move(source: str, target: str) -> None:
    """Rename a folder; its target must not exist."""
    if is_local(source):
        make_folder(posixpath.dirname(target))
        # An error where something lies already: `Path.replace` would replace an empty folder.
        if Path(target).exists():
            raise FileExistsError(f"'{target}' exists already")
        Path(source).rename(target)
        return
    names = list_files(source)
    _file_systems().rename([join(source, name) for name in names], [join(target, name) for name in names])


def upload(folder: Path, uri: str) -> None:
    """Copy a local folder's files to a URI."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            write_bytes(join(uri, path.relative_to(folder).as_posix()), path.read_bytes())


def entries(uri: str) -> Iterator[FileEntry]:
    """Yield every file below a URI with its size and SHA-256."""
    for name in list_files(uri):
        digest, size = hashlib.sha256(), 0
        with open_read(join(uri, name)) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
        yield FileEntry(path=name, size=size, sha256=digest.hexdigest())
