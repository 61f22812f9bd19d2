"""File access on local disks and, through Beam, on object stores."""

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
    """Return Beam's file systems."""
    # Beam takes seconds to import; commands that only read local files must do without it.
    from apache_beam.io.filesystems import FileSystems

    return FileSystems


class FileEntry(BaseModel):
    """File of an artifact.

    Attributes:
        path: path relative to the artifact.
        size: size in bytes.
        sha256: SHA-256 of the content, in hexadecimal digits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    size: int
    sha256: str


def is_local(uri: str) -> bool:
    """Return whether a URI is a local path."""
    return "://" not in uri


def absolute(uri: str) -> str:
    """Return a URI that means the same in every process of this machine, whatever its working folder."""
    return str(Path(uri).absolute()) if is_local(uri) else uri


def join(uri: str, *parts: str) -> str:
    """Return a URI with parts appended."""
    return posixpath.join(uri, *parts)


def exists(uri: str) -> bool:
    """Return whether a file or, on a local disk, a folder exists."""
    if is_local(uri):
        return Path(uri).exists()
    return bool(_file_systems().exists(uri))


def open_read(uri: str) -> BinaryIO:
    """Open a file for reading; it is never decompressed, whatever its name."""
    if is_local(uri):
        return Path(uri).open("rb")
    return cast(
        BinaryIO, _file_systems().open(uri, mime_type="application/octet-stream", compression_type="uncompressed")
    )


def read_bytes(uri: str) -> bytes:
    """Return the content of a file."""
    with open_read(uri) as file:
        return file.read()


def write_bytes(uri: str, content: bytes) -> None:
    """Write a file atomically, creating its folder."""
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
    """Write a JSON file atomically, with sorted keys, so that equal values give equal bytes."""
    write_bytes(uri, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


@contextlib.contextmanager
def atomic_file(uri: str) -> Iterator[str]:
    """Yield a temporary path; the file is renamed to `uri` when the context ends without an error.

    Interrupted workers leave no incomplete file under the final name, and repeated ones replace the file.
    """
    make_folder(posixpath.dirname(uri))
    # A random name, since Beam may run the same bundle twice at once.
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
    """Delete the temporary files that killed processes left below a URI; see `atomic_file`."""
    for name in list_files(uri):
        if _PARTIAL in name:
            remove(join(uri, name))


def make_folder(uri: str) -> None:
    """Create a folder and its parents; a no-op on object stores, which have none."""
    if is_local(uri):
        Path(uri).mkdir(parents=True, exist_ok=True)


def list_files(uri: str) -> list[str]:
    """Return the paths of all files below a URI, relative to it and sorted."""
    root = uri.rstrip("/") + "/"
    if is_local(uri):
        # Path.rglob raises if another run removes a folder meanwhile; os.walk skips it.
        found = (Path(folder, name) for folder, _, names in os.walk(root) for name in names)
        return sorted(path.relative_to(root).as_posix() for path in found)
    matches = _file_systems().match([f"{root}**"])[0].metadata_list
    return sorted(match.path[len(root) :] for match in matches)


def folders(uri: str) -> list[str]:
    """Return the names of the folders in a folder, sorted; on object stores, of those that hold a file."""
    if is_local(uri):
        return sorted(path.name for path in Path(uri).iterdir() if path.is_dir()) if Path(uri).is_dir() else []
    return sorted({name.split("/")[0] for name in list_files(uri) if "/" in name})


def remove(uri: str) -> None:
    """Delete a file or a folder with its content, if it exists."""
    if is_local(uri):
        # Beam treats brackets and stars in a path as a pattern.
        path = Path(uri)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    elif exists(uri) or list_files(uri):
        _file_systems().delete([uri])


def move(source: str, target: str) -> None:
    """Rename a folder.

    Raises:
        FileExistsError: the target exists; object stores do not check this.
    """
    if is_local(source):
        make_folder(posixpath.dirname(target))
        # `Path.rename` replaces an empty folder without an error.
        if Path(target).exists():
            raise FileExistsError(f"'{target}' exists already")
        Path(source).rename(target)
        return
    names = list_files(source)
    _file_systems().rename([join(source, name) for name in names], [join(target, name) for name in names])


def upload(folder: Path, uri: str) -> None:
    """Copy the files of a local folder to a URI."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            write_bytes(join(uri, path.relative_to(folder).as_posix()), path.read_bytes())


def sizes(uri: str) -> dict[str, int]:
    """Return the sizes in bytes of all files below a URI, by their paths relative to it."""
    root = uri.rstrip("/") + "/"
    if is_local(uri):
        return {name: Path(root, name).stat().st_size for name in list_files(uri)}
    matches = _file_systems().match([f"{root}**"])[0].metadata_list
    return {match.path[len(root) :]: int(match.size_in_bytes) for match in matches}


def entry(uri: str, name: str) -> FileEntry:
    """Return the size and SHA-256 of a file below a URI."""
    digest, size = hashlib.sha256(), 0
    with open_read(join(uri, name)) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return FileEntry(path=name, size=size, sha256=digest.hexdigest())


def entries(uri: str) -> Iterator[FileEntry]:
    """Yield the size and SHA-256 of every file below a URI."""
    for name in list_files(uri):
        yield entry(uri, name)
