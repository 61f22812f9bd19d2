"""Object store in memory, as Beam sees one: "memory://..."; it has files and no folders."""

import io
import posixpath
from collections.abc import Iterator
from typing import Any, BinaryIO

from apache_beam.io.filesystem import CompressionTypes, FileMetadata, FileSystem

FILES: dict[str, bytes] = {}
"""Content of each file by its URI; an importing test clears it."""


class _Upload(io.BytesIO):
    def __init__(self, uri: str) -> None:
        super().__init__()
        self._uri = uri

    def close(self) -> None:
        FILES[self._uri] = self.getvalue()
        super().close()


class MemoryFileSystem(FileSystem):
    """Found by Beam because it is a subclass with a scheme."""

    @classmethod
    def scheme(cls) -> str:
        return "memory"

    def join(self, basepath: str, *paths: str) -> str:
        return posixpath.join(basepath, *paths)

    def split(self, path: str) -> tuple[str, str]:
        return posixpath.split(path)

    def mkdirs(self, path: str) -> None:
        raise NotImplementedError

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for uri in [uri for uri in FILES if uri.startswith(dir_or_prefix)]:
            yield FileMetadata(uri, len(FILES[uri]))

    def create(self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO) -> BinaryIO:
        return _Upload(path)

    def open(self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO) -> BinaryIO:
        return io.BytesIO(FILES[path])

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        FILES.update(
            {target: FILES[source] for source, target in zip(source_file_names, destination_file_names, strict=True)}
        )

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        self.copy(source_file_names, destination_file_names)
        self.delete(source_file_names)

    def exists(self, path: str) -> bool:
        return path in FILES

    def delete(self, paths: list[str]) -> None:
        for path in paths:
            for uri in [uri for uri in FILES if uri == path or uri.startswith(f"{path}/")]:
                del FILES[uri]

    def size(self, path: str) -> int:
        return len(FILES[path])

    def last_updated(self, path: str) -> float:
        raise NotImplementedError

    def checksum(self, path: str) -> Any:
        raise NotImplementedError

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, self.size(path))
