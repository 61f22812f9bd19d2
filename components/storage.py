"""File access on local disks and, through Beam, on object stores."""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import hashlib
import io
import json
import os
import posixpath
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydantic import BaseModel, ConfigDict

from dermrobust.attacks.errors import UserError
from dermrobust.components import s3

_CHUNK = 1 << 20
_PARTIAL = ".partial-"
_WHOLE = "s3://"
"""Beginning of URIs of the store where a file appears only when it is complete; see `s3.put`."""

_BROUGHT = ("gs", "hdfs", "s3")
"""Schemes whose file systems Beam brings. Beam, which takes seconds to import, is asked about others alone."""

UNUSABLE = "Look for the bucket, the credentials, and the packages of the store: pip install 'dermrobust[s3]'"
"""Advice for an object store that refuses a call."""


def _file_systems(uri: str) -> Any:
    """Return Beam's file systems, for a URI.

    Raises:
        UserError: none of them is that of the URI.
    """
    # Beam takes seconds to import; commands that only read local files must do without it.
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    # A Beam pipeline sets them when it is made; a command that makes none would have no options for S3.
    if FileSystems._pipeline_options is None:
        FileSystems.set_options(PipelineOptions([]))
    if uri.startswith("s3://"):
        s3.keep_clients()
    _check_known(uri)
    return FileSystems


def _check_known(uri: str) -> None:
    from apache_beam.io.filesystem import FileSystem

    # A store whose package is not installed is not among them; the local file system has no scheme.
    known = {kind.scheme() for kind in FileSystem.get_all_subclasses()} - {None}
    scheme = uri.partition("://")[0]
    if scheme not in known:
        schemes = ", ".join(f"{name}://" for name in sorted(known))
        raise UserError(
            f"'{uri}': there is no file system for {scheme}:// here. Give a local path without a scheme, or one of "
            f"{schemes}; further ones come with packages: pip install 'apache-beam[gcp]' for gs://"
        )


def check_scheme(uri: str) -> None:
    """Raise `UserError` if a URI is of no file system that is known here; those that Beam brings are not looked up."""
    if not is_local(uri) and uri.partition("://")[0] not in _BROUGHT:
        _file_systems(uri)


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
    return bool(_file_systems(uri).exists(uri))


def open_read(uri: str) -> BinaryIO:
    """Open a file for reading; it is never decompressed, whatever its name."""
    if is_local(uri):
        return Path(uri).open("rb")
    return cast(
        BinaryIO, _file_systems(uri).open(uri, mime_type="application/octet-stream", compression_type="uncompressed")
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
        _put(io.BytesIO(content), partial)


def read_json(uri: str) -> Any:
    """Return the content of a JSON file."""
    return json.loads(read_bytes(uri))


def write_json(uri: str, value: Any) -> None:
    """Write a JSON file atomically, with sorted keys, so that equal values give equal bytes."""
    write_bytes(uri, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


@contextlib.contextmanager
def atomic_file(uri: str) -> Iterator[str]:
    """Yield a temporary path; the file is renamed to `uri` when the context ends without an error.

    Interrupted workers leave no incomplete file under the final name, and repeated ones replace the file. Stores where
    this holds anyway get the file under its final name.
    """
    make_folder(posixpath.dirname(uri))
    if uri.startswith(_WHOLE):
        yield uri
        return
    # A random name, since Beam may run the same bundle twice at once.
    partial = f"{uri}{_PARTIAL}{uuid.uuid4().hex[:8]}"
    try:
        yield partial
        if is_local(uri):
            Path(partial).replace(uri)
        else:
            _file_systems(uri).rename([partial], [uri])
    except BaseException:
        with contextlib.suppress(Exception):
            remove(partial)
        raise


@contextlib.contextmanager
def local_writing(uri: str) -> Iterator[str]:
    """Yield a path on the local disk, for writers that know no other; the file appears at `uri` as in `atomic_file`."""
    with atomic_file(uri) as partial:
        if is_local(partial):
            yield partial
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, posixpath.basename(uri))
            yield str(path)
            with path.open("rb") as file:
                _put(file, partial)


@contextlib.contextmanager
def local_writing_folder(uri: str) -> Iterator[str]:
    """Yield a folder on the local disk, for writers that know no other; its files end at `uri`."""
    if is_local(uri):
        yield uri
        return
    with tempfile.TemporaryDirectory() as folder:
        yield folder
        upload(Path(folder), uri)


def _put(source: BinaryIO, uri: str) -> None:
    """Write what a file holds to an object store."""
    file_systems = _file_systems(uri)
    if uri.startswith(_WHOLE):
        s3.put(source, uri, file_systems._pipeline_options)
        return
    with file_systems.create(uri, compression_type="uncompressed") as target:
        shutil.copyfileobj(source, target, _CHUNK)


def local_file(uri: str) -> str:
    """Return the path of a file on the local disk, for readers that know no other.

    A file on an object store is copied once per process, and again if its size or its time of change differ.

    Raises:
        FileNotFoundError: an object store has no such file.
    """
    if is_local(uri):
        return uri
    matches = _file_systems(uri).match([uri])[0].metadata_list
    if not matches:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), uri)
    (match,) = matches
    return _copied(uri, match.size_in_bytes, match.last_updated_in_seconds)


def local_folder(uri: str) -> str:
    """Return the path of a folder on the local disk with all files below a URI; see `local_file`.

    Its name follows from the versions of its files: once they change, the files are in another folder.
    """
    if is_local(uri):
        return uri
    copies = {name: local_file(join(uri, name)) for name in list_files(uri)}
    folder = _copies() / hashlib.sha256(repr(sorted(copies.items())).encode()).hexdigest()[:16]
    for name, copied in copies.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(copied, folder / name)
    return str(folder)


@functools.cache
def _copied(uri: str, size: int, changed: float) -> str:
    """Copy a file of a size and time of change, which only tell its versions apart, and return the path of the copy."""
    version = hashlib.sha256(f"{uri} {size} {changed}".encode()).hexdigest()[:16]
    path = _copies() / f"{version}-{posixpath.basename(uri)}"
    partial = path.with_name(f"{path.name}{_PARTIAL}{uuid.uuid4().hex[:8]}")
    with open_read(uri) as file, partial.open("wb") as target:
        shutil.copyfileobj(file, target, _CHUNK)
    partial.replace(path)
    return str(path)


@functools.lru_cache(maxsize=1)
def _copies() -> Path:
    """Return the folder of copies, which is deleted when the process ends."""
    folder = tempfile.mkdtemp(prefix="dermrobust-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


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
    """Return the paths of all files below a URI, relative to it and sorted.

    Raises:
        UserError: an object store has a file whose name leads out of the URI.
    """
    root = uri.rstrip("/") + "/"
    if is_local(uri):
        # Path.rglob raises if another run removes a folder meanwhile; os.walk skips it.
        found = (Path(folder, name) for folder, _, names in os.walk(root) for name in names)
        return sorted(path.relative_to(root).as_posix() for path in found)
    return sorted(_sizes(root))


def _sizes(root: str) -> dict[str, int]:
    """Return the sizes of the files of an object store below a URI that ends in a slash; see `sizes`."""
    found = {}
    for match in _file_systems(root).match([f"{root}**"])[0].metadata_list:
        name = match.path[len(root) :]
        # A store takes any text for a name; on a local disk such a path would lead out of the folder.
        if name.startswith("/") or ".." in name.split("/"):
            raise UserError(f"'{root}' has an object whose name is no path below it: '{match.path}'; delete it")
        found[name] = int(match.size_in_bytes)
    return found


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
        return
    # Not the folder by its name: Beam's file systems differ in whether that deletes what is in it.
    names = [uri] if exists(uri) else [join(uri, name) for name in list_files(uri)]
    if names:
        _file_systems(uri).delete(names)


def check_usable(root: str) -> None:
    """Raise `UserError` if nothing can be written below a root on an object store, or it is of no known file system.

    For a local root the ledger tells.
    """
    if is_local(root):
        return
    probe = join(root, f"{_PARTIAL}{uuid.uuid4().hex[:8]}")
    try:
        _file_systems(root)
        write_bytes(probe, b"-")
        remove(probe)
    except UserError as error:
        raise UserError(f"root: {error}") from error
    # Beam hands on what the library of each store raises.
    except Exception as error:
        raise UserError(f"root: '{root}' cannot be written to: {error}. {UNUSABLE}") from error


def move(source: str, target: str) -> None:
    """Rename a folder; on an object store its files are copied and, once all copies are there, deleted.

    Raises:
        FileExistsError: the target exists; object stores do not check this.
        OSError: a file cannot be moved. Files whose copy failed are where they were, with all others.
    """
    if is_local(source):
        make_folder(posixpath.dirname(target))
        # `Path.rename` replaces an empty folder without an error.
        if Path(target).exists():
            raise FileExistsError(f"'{target}' exists already")
        try:
            Path(source).rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _move_to_another_device(source, target)
        return
    copy_objects(source, target)
    remove(source)


def copy_objects(source: str, target: str) -> None:
    """Copy the files below a URI of an object store to another one, within the store.

    Not Beam's rename, which deletes what it copied even if a part cannot be copied.

    Raises:
        OSError: a file cannot be copied.
    """
    names = list_files(source)
    if not names:
        return
    results = _file_systems(source).copy([join(source, name) for name in names], [join(target, name) for name in names])
    # Beam's file system of S3 returns (source, target, error) for each file; others raise.
    failed = [(place, error) for place, _, error in results or () if error is not None]
    if failed:
        place, error = failed[0]
        raise OSError(f"{len(failed)} of {len(names)} files could not be copied, such as '{place}': {error}")


def _move_to_another_device(source: str, target: str) -> None:
    """Copy a folder beside its target, so that the target exists whole or not at all, and delete the source."""
    partial = f"{target}{_PARTIAL}{uuid.uuid4().hex[:8]}"
    try:
        shutil.copytree(source, partial)
        Path(partial).rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(source)


def upload(folder: Path, uri: str) -> None:
    """Copy the files of a local folder to a URI."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with local_writing(join(uri, path.relative_to(folder).as_posix())) as copy:
                shutil.copyfile(path, copy)


def sizes(uri: str) -> dict[str, int]:
    """Return the sizes in bytes of all files below a URI, by their paths relative to it.

    Raises:
        UserError: see `list_files`.
    """
    root = uri.rstrip("/") + "/"
    if is_local(uri):
        found = {}
        for name in list_files(uri):
            # Another process may delete a file after it was listed.
            with contextlib.suppress(FileNotFoundError):
                found[name] = Path(root, name).stat().st_size
        return found
    return _sizes(root)


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
