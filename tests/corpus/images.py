"""Image files and rows of metadata, which one ingest reads together."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.corpus.case import Case, Outcome, written
from tests.datasets import draw, encoded, png_chunk, png_claiming, png_file

HEIGHT, WIDTH = draw(0).shape[:2]
JPEG, PNG, BMP = (encoded(draw(0), name) for name in ("JPEG", "PNG", "BMP"))
_SKIPPED = b"\x00" * 20
"""Bytes between two parts of a JPEG file, which decoders skip."""


def saved(mode: str, file_format: str, **options: object) -> bytes:
    """The drawn image in another mode of pixels."""
    buffer = io.BytesIO()
    Image.fromarray(draw(0)).convert(mode).save(buffer, file_format, **options)
    return buffer.getvalue()


def animated() -> bytes:
    frames = [Image.fromarray(draw(seed)) for seed in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved("RGB", "JPEG", exif=exif)


def sixteen_bit() -> bytes:
    """A PNG of 16 bits a channel, which Pillow cannot write in color."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in draw(0).astype(np.uint16) * 257)
    return png_file(struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0), zlib.compress(rows))


def claiming(content: bytes, height: int, width: int) -> bytes:
    """A JPEG file whose header gives another size."""
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def arithmetic() -> bytes:
    """A JPEG whose header says that its scan is coded arithmetically, which it is not."""
    return JPEG.replace(b"\xff\xc0", b"\xff\xc9", 1)


def skipped_and_cut() -> bytes:
    """Harmless bytes between two segments, and a scan of which a part is missing."""
    at = JPEG.index(b"\xff\xdb")
    return JPEG[:at] + _SKIPPED + JPEG[at:-100] + b"\xff\xd9"


def skipped() -> bytes:
    """Harmless bytes between two segments and after the scan."""
    at = JPEG.index(b"\xff\xdb")
    return JPEG[:at] + _SKIPPED + JPEG[at:-2] + _SKIPPED + JPEG[-2:]


def markers_after_the_end() -> bytes:
    """Harmless bytes, and millions of places where they might be."""
    return skipped() + b"\xff\xdb" * (2 << 20)


def with_chunk(kind: bytes, content: bytes) -> bytes:
    """The PNG with one more chunk after its header."""
    at = 8 + 25
    return PNG[:at] + png_chunk(kind, content) + PNG[at:]


def altered(content: bytes, at: bytes, offset: int) -> bytes:
    """A file in which a byte after some bytes is another."""
    changed = bytearray(content)
    changed[content.index(at) + offset] ^= 0x55
    return bytes(changed)


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.png")
    return folder / "pipe.png"


def linked(name: str, target: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).symlink_to(target)
        return folder / name

    return make


def linked_to_an_image(folder: Path) -> Path:
    written(JPEG, "target.of_a_link")(folder)
    return linked("link.jpg", "target.of_a_link")(folder)


def a_folder(folder: Path) -> Path:
    (folder / "folder.jpg").mkdir()
    return folder / "folder.jpg"


def nothing(folder: Path) -> Path:
    return folder


def _images() -> list[Case]:
    """Files, each by the name that the table gives it."""
    accepted = {
        "gray.jpg": saved("L", "JPEG"),
        "cmyk.jpg": saved("CMYK", "JPEG"),
        "progressive.jpg": saved("RGB", "JPEG", progressive=True),
        "rotated by EXIF.jpg": rotated(),
        "bytes after the end.jpg": JPEG + b"PK\x03\x04 and a script",
        "bytes that decoders skip.jpg": skipped(),
        "PNG by another name.jpg": PNG,
        "UPPER CASE.JPG": JPEG,
        "palette.png": saved("P", "PNG"),
        "gray with alpha.png": saved("LA", "PNG"),
        "alpha.png": saved("RGBA", "PNG"),
        "gray.png": saved("L", "PNG"),
        "16 bits.png": sixteen_bit(),
        "animated.gif": animated(),
        "bitmap.bmp": BMP,
        "[brackets] and *stars?.png": PNG,
        "Hautläsion 皮膚.png": PNG,
        'quoted "name", with a comma.png': PNG,
        "'; DROP TABLE runs; --.png": PNG,
        "-rf.png": PNG,
        "line\nbreak.png": PNG,
        "%2e%2e%2f$(id)`id`.png": PNG,
    }
    refused = {
        "cut.jpg": (JPEG[:-100], "truncated_image: .*remature end"),
        "cut and ended.jpg": (JPEG[:-100] + b"\xff\xd9", "truncated_image: .*remature end"),
        "cut after skipped bytes.jpg": (skipped_and_cut(), "truncated_image: .*remature end"),
        "claims more.jpg": (claiming(JPEG, 6900, 7100), "truncated_image: .*remature end"),
        "head alone.jpg": (JPEG[:300], "truncated_image: 300 bytes without a complete header"),
        "cut.png": (PNG[:-200], "truncated_image"),
        "cut.gif": (animated()[:100], "truncated_image"),
        "cut.bmp": (BMP[:-200], "truncated_image"),
        "changed checksum.png": (altered(PNG, b"IDAT", 30), "truncated_image|not_an_image"),
        "changed header.png": (altered(PNG, b"IHDR", 5), "truncated_image|not_an_image"),
        "without pixels.png": (png_file(PNG[16:29], None), "truncated_image"),
        "text.jpg": (b"This is no picture.", "not_an_image: 19 bytes"),
        "page.png": (b"<html><script>alert(1)</script>", "not_an_image: .*JPEG, PNG, BMP or GIF"),
        "webp by another name.jpg": (saved("RGB", "WEBP"), "not_an_image"),
        "tiff by another name.png": (saved("RGB", "TIFF"), "not_an_image"),
        "document.png": (b"%PDF-1.7 and so on", "not_an_image"),
        "zeros.png": (bytes(5000), "not_an_image"),
        "empty.png": (b"", "not_an_image: 0 bytes"),
        "one bit.bmp": (saved("1", "BMP"), "not_an_image: TensorFlow cannot decode"),
        "dot.png": (encoded(np.zeros((1, 1, 3), np.uint8)), "too_small: 1 x 1 pixels"),
    }
    # Of these, decoders read as much as they need; what they make of it is not the drawn image.
    other_pixels = {
        "arithmetic coding.jpg": arithmetic(),
        "bomb of pixels.png": png_file(PNG[16:29], zlib.compress(bytes(100 << 20))),
    }
    harmful = {
        "bomb.png": (png_claiming(100_000, 100_000), "decompression_bomb"),
        "long bomb.png": (png_claiming(50_005_000, 1), "decompression_bomb: 50005000 x 1 pixels"),
        "bomb.jpg": (claiming(JPEG, 65_500, 65_500), "decompression_bomb"),
        "bomb.gif": (b"GIF89a\xff\xff\xff\xff" + animated()[10:], "decompression_bomb"),
        "bomb.bmp": (
            BMP[:18] + struct.pack("<ii", 60_000, 60_000) + BMP[26:],
            "decompression_bomb",
        ),
        "bomb of text.png": (
            with_chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(100 << 20))),
            "truncated_image|not_an_image",
        ),
        "negative chunk.png": (PNG[:33] + b"\xff\xff\xff\xffIDAT", "truncated_image"),
    }
    cases = []
    for name, content in accepted.items():
        cases.append(Case(name, written(content, name), Outcome.READ, row={"image_id": name}))
    name = "markers after the end.jpg"
    cases.append(Case(name, written(markers_after_the_end(), name), Outcome.READ, hostile=True, row={"image_id": name}))
    for name, content in other_pixels.items():
        cases.append(Case(name, written(content, name), Outcome.READ, "other pixels", True, {"image_id": name}))
    for name, (content, told) in refused.items():
        cases.append(Case(name, written(content, name), Outcome.QUARANTINED, told, row={"image_id": name}))
    for name, (content, told) in harmful.items():
        cases.append(
            Case(name, written(content, name), Outcome.QUARANTINED, told, hostile=True, row={"image_id": name})
        )
    return cases


def _places() -> list[Case]:
    """What stands where a file is expected."""
    made = {
        "pipe.png": (pipe, "missing_file: .*no regular file", True),
        "device.png": (linked("device.png", "/dev/zero"), "missing_file: .*no regular file", True),
        "circle.png": (linked("circle.png", "circle.png"), "missing_file", True),
        "nowhere.png": (linked("nowhere.png", "absent"), "missing_file", False),
        "folder.jpg": (a_folder, "missing_file: .*no regular file", False),
        "absent.png": (nothing, "missing_file: no file", False),
        "../metadata.csv": (nothing, "missing_file: no file", True),
        "/etc/passwd": (nothing, "missing_file: no file", True),
    }
    return [
        *(
            Case(name, make, Outcome.QUARANTINED, told, is_hostile, row={"image_id": name})
            for name, (make, told, is_hostile) in made.items()
        ),
        Case("link to an image", linked_to_an_image, Outcome.READ, row={"image_id": "link.jpg"}),
    ]


def _rows() -> list[Case]:
    """Rows whose image is as it should be."""
    rows = {
        "unknown class": ({"dx": "wart"}, "unknown_label: dx 'wart' is none of akiec, bcc"),
        "no class": ({"dx": ""}, "unknown_label: dx '' is none of"),
        "NaN for a class": ({"dx": "NaN"}, "unknown_label"),
        "age in words": ({"age": "forty"}, "invalid_metadata: .*'forty'"),
        "age 200": ({"age": "200"}, "invalid_metadata: .*between 0 and 130"),
        "negative age": ({"age": "-1"}, "invalid_metadata: .*between 0 and 130"),
        "infinite age": ({"age": "inf"}, "invalid_metadata"),
        "age with a decimal comma": ({"age": "40,5"}, "invalid_metadata"),
        "age with 400 digits": ({"age": "9" * 400}, "invalid_metadata"),
    }
    accepted = {
        "class in upper case": {"dx": "NV"},
        "margins": {"dx": " nv ", "age": " 40 "},
        "no lesion": {"lesion_id": ""},
        "no age": {"age": ""},
        "age NA": {"age": "NA"},
        "age NaN": {"age": "nan"},
        "age 4e1": {"age": "4e1"},
        "age 40.0": {"age": "40.0"},
        "sex in other words": {"sex": "X"},
        "formula": {"localization": "=HYPERLINK(0)"},
        "markup": {"localization": "<script>alert(1)</script>"},
    }
    cases = []
    for name, (row, told) in rows.items():
        image = f"{name}.jpg"
        cases.append(Case(name, written(JPEG, image), Outcome.QUARANTINED, told, row={"image_id": image, **row}))
    for name, row in accepted.items():
        image = f"{name}.jpg"
        cases.append(Case(name, written(JPEG, image), Outcome.READ, row={"image_id": image, **row}))
    twice = "duplicate_id: the id stands in 2 rows"
    image_twice = "duplicate_id: its image stands in 2 rows"
    return [
        *cases,
        Case("id twice", written(JPEG, "twin.jpg"), Outcome.QUARANTINED, twice, row={"image_id": "twin.jpg"}),
        Case("id twice, other class", nothing, Outcome.QUARANTINED, twice, row={"image_id": "twin.jpg", "dx": "mel"}),
        Case(
            "image twice", written(JPEG, "alias.jpg"), Outcome.QUARANTINED, image_twice, row={"image_id": "alias.jpg"}
        ),
        Case("image twice, no suffix", nothing, Outcome.QUARANTINED, image_twice, row={"image_id": "alias"}),
        Case("no id", nothing, Outcome.QUARANTINED, r"invalid_metadata: row \d+ has no image id", row={"image_id": ""}),
    ]


CASES = (*_images(), *_places(), *_rows())
