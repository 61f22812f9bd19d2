"""Zip archives of images. Each holds `good.png` and something else, whose outcome counts."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.corpus.case import Case, bad, good, hostile
from tests.datasets import draw, encoded

PNG = encoded(draw(0))
OTHER = "other.png"
_CENTRAL, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"


def archive(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> Callable[[Path], Path]:
    """Return a function that writes an archive of `good.png` and further members."""

    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "images.zip", "w", method) as result:
            result.writestr("good.png", PNG)
            for member, content in members:
                result.writestr(member, content)
        return folder / "images.zip"

    return make


def edited(make: Callable[[Path], Path], edit: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    """Return a function that writes a file and then changes its bytes."""

    def made(folder: Path) -> Path:
        path = make(folder)
        path.write_bytes(edit(path.read_bytes()))
        return path

    return made


def _last(content: bytes, mark: bytes, offset: int, value: bytes) -> bytes:
    """Overwrite bytes behind the last occurrence of a mark."""
    at = content.rindex(mark) + offset
    return content[:at] + value + content[at + len(value) :]


def encrypted(content: bytes) -> bytes:
    """Set the flag of encryption of the last member, in both of its headers."""
    return _last(_last(content, _CENTRAL, 8, b"\x01\0"), _LOCAL, 6, b"\x01\0")


def claiming(size: int) -> Callable[[bytes], bytes]:
    """Return a function that states another unpacked size of the last member, in both of its headers."""
    value = struct.pack("<I", size)
    return lambda content: _last(_last(content, _CENTRAL, 24, value), _LOCAL, 22, value)


def altered(content: bytes) -> bytes:
    """Change a byte of the last member."""
    at = content.rindex(_LOCAL) + 200
    return content[:at] + bytes((content[at] ^ 0xFF,)) + content[at + 1 :]


def link() -> zipfile.ZipInfo:
    """A member that an unpacking program would make a link of."""
    info = zipfile.ZipInfo(OTHER)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    info.create_system = 3
    return info


def many(folder: Path) -> Path:
    """5,000 members without content."""
    with zipfile.ZipFile(folder / "images.zip", "w") as result:
        result.writestr("good.png", PNG)
        for index in range(5_000):
            result.writestr(f"{index}.png", b"")
    return folder / "images.zip"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "images.zip")
    return folder / "images.zip"


def nested(folder: Path) -> Path:
    inner = archive()(folder)
    content = inner.read_bytes()
    return archive((OTHER, content))(folder)


_UNSAFE = ("../other.png", "/tmp/other.png", "a/../../other.png", "C:/other.png", "..\\other.png", "./other.png")
_BOMB = bytes(65 << 20)

CASES: tuple[Case, ...] = (
    good("a good one", archive((OTHER, PNG))),
    good("folders", archive(("a/b/c/other.png", PNG))),
    good("deflated", archive((OTHER, PNG), method=zipfile.ZIP_DEFLATED)),
    good("a member twice", archive((OTHER, PNG), (OTHER, PNG))),
    good("no images", archive(("read.me", b"text"))),
    good("files of macOS", archive(("__MACOSX/._other.png", b"x"))),
    good("bytes before it", edited(archive((OTHER, PNG)), lambda content: b"#!/bin/sh\n" + content)),
    good("a comment", edited(archive((OTHER, PNG)), lambda content: content[:-2] + b"\x02\0ab")),
    *(good(f"named {name}", archive((name, PNG)), hostile=True) for name in _UNSAFE),
    bad("cut", edited(archive((OTHER, PNG)), lambda content: content[:3000]), "not a complete zip archive"),
    bad("empty", edited(archive(), lambda content: b""), "not a complete zip archive"),
    bad("no archive", edited(archive(), lambda content: b"Rar!" + bytes(500)), "not a complete zip archive"),
    bad(
        "changed directory",
        edited(archive((OTHER, PNG)), lambda content: content.replace(_CENTRAL, b"PK\x01\x03")),
        "not a complete zip archive",
    ),
    bad("a changed byte", edited(archive((OTHER, PNG)), altered), "truncated_image: .*CRC", quarantined=True),
    bad("a cut image", archive((OTHER, PNG[:300])), "truncated_image", quarantined=True),
    bad("encrypted", edited(archive((OTHER, PNG)), encrypted), "truncated_image: .*encrypted", quarantined=True),
    bad(
        "an unknown method",
        edited(archive((OTHER, PNG)), lambda content: _last(content, _CENTRAL, 10, b"\x63\0")),
        "not_an_image: .*other than deflate",
        quarantined=True,
    ),
    bad("packed by bzip2", archive((OTHER, PNG), method=zipfile.ZIP_BZIP2), "other than deflate", quarantined=True),
    bad("an archive inside", nested, "not_an_image", quarantined=True),
    hostile("a bomb", archive((OTHER, _BOMB), method=zipfile.ZIP_DEFLATED), "decompression_bomb", quarantined=True),
    hostile(
        "a bomb that says it is small",
        edited(archive((OTHER, bytes(192 << 20)), method=zipfile.ZIP_DEFLATED), claiming(2000)),
        "truncated_image: .*CRC",
        quarantined=True,
    ),
    hostile(
        "a bomb by LZMA that says it is small",
        edited(archive((OTHER, bytes(16 << 20)), method=zipfile.ZIP_LZMA), claiming(2000)),
        "other than deflate",
        quarantined=True,
    ),
    hostile(
        "an image that says it is large",
        edited(archive((OTHER, PNG)), claiming(0xFFFF0000)),
        "decompression_bomb",
        quarantined=True,
    ),
    hostile("a link", archive((link(), b"/etc/passwd")), "not_an_image: 11 bytes", quarantined=True),
    hostile(
        "a header elsewhere",
        edited(archive((OTHER, PNG)), lambda c: _last(c, _CENTRAL, 42, b"\xff" * 4)),
        "Truncated file header|Bad magic number",
        quarantined=True,
    ),
    hostile("5,000 members", many, "not_an_image", quarantined=True),
    hostile("a pipe", pipe, "neither a folder nor a zip archive"),
)
