"""Artifacts and shards of records that were changed after they were written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from dermrobust.components.artifacts import MANIFEST, ArtifactStore, ArtifactType, Provenance
from dermrobust.components.examples import encode, encode_pixels
from dermrobust.components.image_record import ImageRecord
from dermrobust.models.task import IMAGE
from dermrobust.models.tasks.ham10000 import TASK
from tests.corpus.case import Case, bad, good, hostile
from tests.datasets import draw, png_claiming

_FILES = {"model.json": b'{"name": "x"}', "deep/model.keras": bytes(5000)}


def artifact(folder: Path) -> Path:
    """Publish an artifact below a root and return its folder."""
    store = ArtifactStore(str(folder / "output"))
    staged = Path(store.stage(ArtifactType.MODEL, "f" * 32))
    for name, content in _FILES.items():
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).write_bytes(content)
    return Path(store.publish(str(staged), ArtifactType.MODEL, "f" * 32, Provenance("test", {}, {}, {})).uri)


def changed(name: str, change: Callable[[bytes], bytes | None]) -> Callable[[Path], Path]:
    """Return a function that writes an artifact in which a file has other content, or is gone."""

    def make(folder: Path) -> Path:
        place = artifact(folder)
        content = change((place / name).read_bytes())
        if content is None:
            (place / name).unlink()
        else:
            (place / name).write_bytes(content)
        return place

    return make


def edited(**values: object) -> Callable[[bytes], bytes]:
    """Return a function that changes keys of a manifest."""
    return lambda content: json.dumps({**json.loads(content), **values}).encode()


def piped(folder: Path) -> Path:
    place = artifact(folder)
    (place / "model.json").unlink()
    os.mkfifo(place / "model.json")
    return place


ARTIFACTS: tuple[Case, ...] = (
    good("as it was written", artifact),
    bad("a file cut", changed("model.json", lambda content: content[:-1]), "has 12 bytes instead of 13"),
    bad("a file longer", changed("model.json", lambda content: content + b" "), "has 14 bytes instead of 13"),
    bad("a file gone", changed("model.json", lambda content: None), "model.json' is missing"),
    bad("a bit flipped", changed("deep/model.keras", lambda content: b"\1" + content[1:]), "was changed: its SHA-256"),
    bad("JSON edited", changed("model.json", lambda content: content.replace(b"x", b"y")), "was changed: its SHA-256"),
    bad("manifest empty", changed(MANIFEST, lambda content: b""), "cannot be read: it was cut or changed"),
    bad("manifest cut", changed(MANIFEST, lambda content: content[:-20]), "cannot be read: it was cut or changed"),
    bad("manifest of another kind", changed(MANIFEST, lambda content: b"[]"), "cannot be read"),
    bad("manifest with a further key", changed(MANIFEST, edited(extra=1)), "cannot be read"),
    hostile("manifest without files", changed(MANIFEST, edited(files=[])), "does not have the digest that it states"),
    hostile("manifest with another digest", changed(MANIFEST, edited(digest="0" * 64)), "does not have the digest"),
    hostile(
        "manifest that names a file outside",
        changed(MANIFEST, edited(files=[{"path": "../../../../etc/passwd", "size": 1, "sha256": "0" * 64}])),
        "does not have the digest",
    ),
    hostile("manifest nested 100,000 times", changed(MANIFEST, lambda content: b"[" * 100_000), "cannot be read"),
    hostile("a pipe for a file", piped, "bytes instead of"),
)


def record(**values: object) -> bytes:
    """A record as preprocess writes it, with other values."""
    features = ImageRecord("a", "mel", "L1", TASK.parse_metadata({"age": "40"})).features(TASK)
    return encode({IMAGE: encode_pixels(draw(0, 16, 16)), **features, **values})  # type: ignore[dict-item]


def shard(*records: bytes) -> Callable[[Path], Path]:
    """Return a function that writes a shard."""

    def make(folder: Path) -> Path:
        path = folder / "test-00000-of-00001.tfrecord"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for one in records:
                writer.write(one)
        return path

    return make


def rewritten(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    """Return a function that writes a shard of two records and then changes its bytes."""

    def make(folder: Path) -> Path:
        path = shard(record(), record())(folder)
        path.write_bytes(change(path.read_bytes()))
        return path

    return make


def flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:at] + bytes((content[at] ^ 1,)) + content[at + 1 :]


def headless(content: bytes) -> Callable[[Path], Path]:
    """Return a function that writes a record without its length, whose content takes that place."""

    def make(folder: Path) -> Path:
        path = shard(content)(folder)
        path.write_bytes(path.read_bytes()[12:])
        return path

    return make


_DAMAGED = "the shard '.*tfrecord' is damaged: "
_TOO_LONG = "the record at byte [0-9]+ says that it has [0-9,]+ bytes, and the file has"

SHARDS: tuple[Case, ...] = (
    good("two records", shard(record(), record())),
    good("no record", shard()),
    bad("cut in a record", rewritten(lambda content: content[:-50]), _DAMAGED + "truncated record"),
    bad("a bit of the length flipped", rewritten(flipped(0)), _DAMAGED + _TOO_LONG),
    bad("a bit of a record flipped", rewritten(flipped(100)), _DAMAGED + "corrupted record"),
    bad("text", rewritten(lambda content: b"id,dx\n" * 100), _DAMAGED + _TOO_LONG),
    bad("no example", shard(b"text"), _DAMAGED + ".*parse"),
    bad("an empty example", shard(b""), _DAMAGED + ".*Feature: .* is required"),
    bad("text for a label", shard(record(label="mel")), _DAMAGED + ".*label"),
    bad("a label of no class", shard(record(label=7)), _DAMAGED + "a label is none of 0 to 6"),
    bad("a label below 0", shard(record(label=-1)), _DAMAGED + "a label is none of 0 to 6"),
    bad("no image", shard(record(**{IMAGE: b""})), _DAMAGED + "Input is empty"),
    bad("text for an image", shard(record(**{IMAGE: b"text"})), _DAMAGED + "Unknown image file format"),
    bad(
        "images of two sizes",
        shard(record(), record(**{IMAGE: encode_pixels(draw(0, 8, 8))})),
        _DAMAGED + ".*must have the same shape",
    ),
    bad("an id that is no text", shard(record(**{"image/id": b"\xff\xfe"})), _DAMAGED + ".*utf-8"),
    hostile("a bomb", shard(record(**{IMAGE: png_claiming(100_000, 100_000)})), _DAMAGED + "PNG size too large"),
    hostile("a length of 2^64 bytes", rewritten(lambda content: b"\xff" * 8 + content[8:]), _DAMAGED + _TOO_LONG),
    hostile("a length of 2^60 bytes with its checksum", headless(b"\xff" * 7 + b"\x0f"), _DAMAGED + _TOO_LONG),
)
