"""Images in folders and zip archives, found once and read by name."""

from __future__ import annotations

import functools
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from dermrobust.attacks.errors import UserError
from dermrobust.components.image_validation import BadRecord, Reason, check_file_size, read_image_file

_SEPARATOR = "\0"
"""Between an archive and its member in a locator: no path holds it, on disk or in an archive."""
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError)
"""Errors of reading a member of an archive whose data are cut off, altered or encrypted."""
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Methods that `zipfile` unpacks a bounded amount at a time; with others a few kilobytes can fill the memory."""


@functools.lru_cache(maxsize=8)
def _archive(path: str) -> zipfile.ZipFile:
    """Return an archive that stays open: its table of contents is read once per process.

    Raises:
        UserError: it is no zip archive, or only a part of one.
    """
    # A pipe would be waited for without end.
    if not Path(path).is_file():
        raise UserError(f"ingest: '{path}' is neither a folder nor a zip archive of images")
    try:
        return zipfile.ZipFile(path)
    except OSError as error:
        raise UserError(f"ingest: the archive '{path}' cannot be read: {error.strerror}") from error
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise UserError(
            f"ingest: '{path}' is not a complete zip archive: {error}. Download or pack it again."
        ) from error


def index_images(places: Iterable[Path], suffixes: tuple[str, ...]) -> dict[str, str]:
    """Return a locator for each image in folders and archives, by its file name.

    Nothing is extracted, so a name inside an archive is never a path on disk. The first of two equal names counts.

    Raises:
        UserError: an archive cannot be opened.
    """
    found: dict[str, str] = {}
    for place in places:
        if place.is_dir():
            for path in sorted(place.rglob("*")):
                if path.suffix.lower() in suffixes:
                    found.setdefault(path.name, str(path))
        else:
            for info in _archive(str(place)).infolist():
                name = PurePosixPath(info.filename).name
                if PurePosixPath(name).suffix.lower() in suffixes and not name.startswith("._"):
                    found.setdefault(name, f"{place}{_SEPARATOR}{info.filename}")
    return found


def read_image(locator: str) -> bytes:
    """Return the bytes behind a locator.

    Raises:
        BadRecord: there is no such file, it is no regular file, or it is too large to be an image.
    """
    if not locator:
        raise BadRecord(Reason.MISSING_FILE, "no file of this name was found")
    archive, separator, member = locator.partition(_SEPARATOR)
    try:
        return _read_member(archive, member) if separator else read_image_file(Path(locator))
    except (OSError, KeyError) as error:
        raise BadRecord(Reason.MISSING_FILE, f"'{member or PurePosixPath(locator).name}': {error}") from error
    except _DAMAGED as error:
        raise BadRecord(Reason.TRUNCATED_IMAGE, f"'{member}' in its archive: {error}") from error


def _read_member(archive: str, member: str) -> bytes:
    info = _archive(archive).getinfo(member)
    check_file_size(info.file_size)
    if info.compress_type not in _PACKED:
        raise BadRecord(Reason.NOT_AN_IMAGE, f"'{member}' is packed by a method other than deflate: pack it again")
    with _archive(archive).open(info) as file:
        # Without a size, as much as 2 GiB would be unpacked before the size that the archive states is looked at.
        return file.read(info.file_size)
