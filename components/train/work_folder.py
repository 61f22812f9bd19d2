"""Local work folder of a training, mirrored to storage that TensorFlow does not write to."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dermrobust.components import storage


class WorkFolder:
    """Files of a work in progress on the local disk.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path, mirror: str | None) -> None:
        """Use a local folder, and a URI to which `publish` copies it; None: the folder itself outlives a crash."""
        self.path, self._mirror = path, mirror
        self._published = self._files()

    def publish(self) -> None:
        """Bring the mirror up to date: new and changed files in the order of their names, then deletions.

        In this order a checkpoint's index follows its data, and a crash in between leaves an older checkpoint whole.
        """
        if self._mirror is None:
            return
        files = self._files()
        for name, version in files.items():
            if self._published.get(name) != version:
                storage.write_bytes(storage.join(self._mirror, name), (self.path / name).read_bytes())
        for name in self._published.keys() - files.keys():
            storage.remove(storage.join(self._mirror, name))
        self._published = files

    def _files(self) -> dict[str, tuple[int, int]]:
        """Return size and time of change of each file by its relative path."""
        names = storage.list_files(str(self.path))
        stats = {name: (self.path / name).stat() for name in names}
        return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


@contextlib.contextmanager
def local_work(uri: str) -> Iterator[WorkFolder]:
    """Give a local folder with the files below a URI: the very folder where the URI is local, else a mirrored copy."""
    if storage.is_local(uri):
        yield WorkFolder(Path(uri), None)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in storage.list_files(uri):
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(storage.read_bytes(storage.join(uri, name)))
        yield WorkFolder(Path(folder), uri)
