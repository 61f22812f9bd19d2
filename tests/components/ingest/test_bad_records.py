"""Whatever a record's file or metadata hold, ingest survives: the record is set aside with its reason, and counted."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tensorflow_metadata.proto.v0 import statistics_pb2

from dermrobust.attacks.errors import UserError
from dermrobust.components import image_validation, raw_dataset
from dermrobust.components.image_validation import BadRecord, Reason, check_image
from dermrobust.components.ingest.datasets.folder.source import FolderSource
from dermrobust.components.ingest.image_sources import index_images, read_image
from dermrobust.components.ingest.quarantine import QuarantinedRecord, check
from dermrobust.models.image_formats import MAX_PIXELS
from dermrobust.models.pixels import from_encoded
from dermrobust.models.preprocessing import Preprocessing
from tests.datasets import (
    Ingested,
    Row,
    draw,
    drawn_files,
    encoded,
    folder_params,
    ingest,
    metadata_rows,
    png_claiming,
    write_archive,
    write_folder_data_set,
    write_table,
)


def one_bit_bmp() -> bytes:
    """A file that Pillow reads and TensorFlow does not."""
    buffer = io.BytesIO()
    Image.fromarray(draw(0)).convert("1").save(buffer, "BMP")
    return buffer.getvalue()


def jpeg_claiming(content: bytes, height: int, width: int) -> bytes:
    """A JPEG file whose header gives another size."""
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


@dataclass(frozen=True)
class Bad:
    """A record that cannot be used.

    Attributes:
        name: its image id, unless `row` gives another.
        reason: why it cannot be used.
        detail: what the quarantine table must say.
        file: the content of its image file; None: there is none.
        row: what differs in its metadata.
    """

    name: str
    reason: Reason
    detail: str
    file: bytes | None
    row: tuple[tuple[str, str], ...] = ()


JPEG = encoded(draw(0), "JPEG")
BAD = (
    Bad("absent.png", Reason.MISSING_FILE, "no file", None),
    Bad("cut.jpg", Reason.TRUNCATED_IMAGE, "remature end", JPEG[:-100]),
    Bad("cut_and_ended.jpg", Reason.TRUNCATED_IMAGE, "remature end", JPEG[:-100] + b"\xff\xd9"),
    Bad("claiming.jpg", Reason.TRUNCATED_IMAGE, "remature end", jpeg_claiming(JPEG, 6900, 7100)),
    Bad("head.jpg", Reason.TRUNCATED_IMAGE, "300 bytes without a complete header", JPEG[:300]),
    Bad("text.jpg", Reason.NOT_AN_IMAGE, "19 bytes", b"This is no picture."),
    Bad("empty.png", Reason.NOT_AN_IMAGE, "0 bytes", b""),
    Bad("page.png", Reason.NOT_AN_IMAGE, "JPEG, PNG, BMP or GIF", b"%PDF-1.7 and so on"),
    Bad("bits.bmp", Reason.NOT_AN_IMAGE, "TensorFlow cannot decode", one_bit_bmp()),
    Bad("bomb.png", Reason.DECOMPRESSION_BOMB, "", png_claiming(100_000, 100_000)),
    Bad("large.png", Reason.DECOMPRESSION_BOMB, "50005000 x 1 pixels", png_claiming(50_005_000, 1)),
    Bad("dot.png", Reason.TOO_SMALL, "1 x 1 pixels", encoded(np.zeros((1, 1, 3), np.uint8))),
    Bad("wart.jpg", Reason.UNKNOWN_LABEL, "'wart' is none of akiec, bcc", JPEG, (("dx", "wart"),)),
    Bad("blank.jpg", Reason.UNKNOWN_LABEL, "'' is none of", JPEG, (("dx", ""),)),
    Bad("forty.jpg", Reason.INVALID_METADATA, "'forty'", JPEG, (("age", "forty"),)),
    Bad("ancient.jpg", Reason.INVALID_METADATA, "between 0 and 130", JPEG, (("age", "1040"),)),
    Bad("unborn.jpg", Reason.INVALID_METADATA, "between 0 and 130", JPEG, (("age", "-1"),)),
    Bad("twin.jpg", Reason.DUPLICATE_ID, "the id stands in 2 rows", JPEG),
    Bad("twin.jpg", Reason.DUPLICATE_ID, "the id stands in 2 rows", JPEG, (("dx", "mel"),)),
    Bad("alias.jpg", Reason.DUPLICATE_ID, "its image stands in 2 rows", JPEG),
    Bad("alias", Reason.DUPLICATE_ID, "its image stands in 2 rows", None),
)
GOOD = metadata_rows()


def row_of(bad: Bad) -> Row:
    row = {"lesion_id": "LX", "image_id": bad.name, "dx": "nv", "age": "40", "sex": "male", "localization": "back"}
    return row | dict(bad.row)


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    """An ingest of good and bad records that tolerates any number of bad ones."""
    folder = tmp_path_factory.mktemp("bad_records")
    files = drawn_files(GOOD) | {bad.name: bad.file for bad in BAD if bad.file is not None}
    nameless = row_of(BAD[0]) | {"image_id": ""}
    write_folder_data_set(folder / "raw", [*GOOD, *(row_of(bad) for bad in BAD), nameless], files)
    return ingest(folder_params(folder / "raw", max_bad_fraction=1.0), folder)


def ingested_ids(result: Ingested) -> list[str]:
    folder = raw_dataset.folder(result.dataset)
    return [
        record["image"]["id"].decode()
        for split, counts in raw_dataset.shard_counts(folder).items()
        for index in range(len(counts))
        for record in raw_dataset.read_shard(folder, split, index).as_numpy_iterator()
    ]


@pytest.mark.parametrize("bad", BAD, ids=[f"{index}-{bad.name}" for index, bad in enumerate(BAD)])
def test_each_kind_of_bad_record_is_quarantined_with_its_reason(ingested: Ingested, bad: Bad) -> None:
    (row, *_) = [row for row in ingested.quarantine() if row["id"] == bad.name]
    assert row["reason"] == bad.reason
    assert bad.detail in row["detail"]


def test_a_row_without_an_image_id_is_named_by_its_number(ingested: Ingested) -> None:
    number = 1 + len(GOOD) + len(BAD) + 1
    assert {"id": f"row {number}", "reason": "invalid_metadata", "detail": f"row {number} has no image id"} in (
        ingested.quarantine()
    )


def test_every_bad_record_is_counted_once_and_no_good_one(ingested: Ingested) -> None:
    rows = ingested.quarantine()
    assert list(rows[0]) == ["id", "reason", "detail"]
    assert Counter(row["reason"] for row in rows) == Counter(bad.reason for bad in BAD) + Counter(["invalid_metadata"])
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)


def test_the_data_set_holds_the_good_records_and_no_bad_one(ingested: Ingested) -> None:
    assert sorted(ingested_ids(ingested)) == [row["image_id"] for row in GOOD]


def test_too_many_bad_records_stop_the_stage_and_the_commonest_reasons_are_told(tmp_path: Path) -> None:
    files = drawn_files(GOOD) | {bad.name: bad.file for bad in BAD if bad.file is not None}
    write_folder_data_set(tmp_path / "raw", [*GOOD, *map(row_of, BAD)], files)
    allowed = (len(BAD) - 1) / (len(BAD) + len(GOOD))
    with pytest.raises(UserError) as raised:
        ingest(folder_params(tmp_path / "raw", max_bad_fraction=allowed), tmp_path)
    message = str(raised.value)
    assert f"{len(BAD)} of {len(BAD) + len(GOOD)} records" in message
    listed = re.findall(r"^ +(\d+)  (\w+) \(such as ", message, flags=re.MULTILINE)
    commonest = Counter(bad.reason for bad in BAD).most_common()
    assert len(commonest) > 5, "or five would be all"
    assert [int(count) for count, _ in listed] == [count for _, count in commonest[:5]]
    assert {reason for _, reason in listed[:3]} == {reason for reason, _ in commonest[:3]}
    assert len(Ingested(tmp_path).quarantine()) == len(BAD), "the table is written, so that one can look it up"


def test_as_many_bad_records_as_allowed_are_tolerated() -> None:
    bad = [QuarantinedRecord("a", Reason.MISSING_FILE, "")] * 2
    check(bad, total=100, max_bad_fraction=0.02)
    with pytest.raises(UserError, match=r"2 of 99 records"):
        check(bad, total=99, max_bad_fraction=0.02)


def test_a_data_set_of_bad_records_alone_is_refused_in_words(tmp_path: Path) -> None:
    write_folder_data_set(tmp_path / "raw", metadata_rows(10), files={})
    with pytest.raises(UserError, match=r"10 of 10 records .*\n.*10  missing_file \(such as IMG_00"):
        ingest(folder_params(tmp_path / "raw", max_bad_fraction=0.5), tmp_path)


def test_a_table_without_rows_is_refused_in_words(tmp_path: Path) -> None:
    write_folder_data_set(tmp_path / "raw", metadata_rows(1), files={})
    (tmp_path / "raw" / "metadata.csv").write_text("image_id,dx\n")
    with pytest.raises(UserError, match="no rows"):
        ingest(folder_params(tmp_path / "raw"), tmp_path)


# Archives


def archived(folder: Path, files: dict[str, bytes]) -> FolderSource:
    """A folder data set whose images are in `images.zip`."""
    folder.mkdir(parents=True)
    write_archive(folder / "images.zip", files)
    write_table(folder / "metadata.csv", GOOD)
    return FolderSource(images="images.zip")


def test_damaged_members_of_an_archive_are_quarantined(tmp_path: Path) -> None:
    files = drawn_files(GOOD)
    names = list(files)
    source = archived(tmp_path / "raw", files)
    archive = tmp_path / "raw" / "images.zip"
    content = bytearray(archive.read_bytes())
    content[content.index(files[names[3]]) + 50] ^= 0xFF
    archive.write_bytes(content)
    short = files[names[5]][:300]
    write_archive(tmp_path / "raw" / "short.zip", files | {names[5]: short})
    result = ingest(folder_params(tmp_path / "raw", source=source, max_bad_fraction=0.1), tmp_path / "altered")
    assert [(row["id"], row["reason"]) for row in result.quarantine()] == [("IMG_0003", "truncated_image")]
    source = FolderSource(images="short.zip")
    result = ingest(folder_params(tmp_path / "raw", source=source, max_bad_fraction=0.1), tmp_path / "short")
    assert [(row["id"], row["reason"]) for row in result.quarantine()] == [("IMG_0005", "truncated_image")]


def test_a_damaged_compressed_member_is_a_bad_record(tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.png", draw(0).tobytes())
    causes = set()
    for position in range(40, 60):
        damaged = bytearray(path.read_bytes())
        damaged[position] ^= 0xFF
        copy = tmp_path / f"{position}.zip"
        copy.write_bytes(damaged)
        with pytest.raises(BadRecord) as raised:
            read_image(index_images([copy], (".png",))["x.png"])
        assert raised.value.reason is Reason.TRUNCATED_IMAGE
        causes.add(type(raised.value.__cause__))
    assert zlib.error in causes, "which Python does not turn into an error of archives"


def test_an_archive_that_is_cut_off_is_an_error_of_the_user(tmp_path: Path) -> None:
    source = archived(tmp_path / "raw", drawn_files(GOOD))
    archive = tmp_path / "raw" / "images.zip"
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"images\.zip' is not a complete zip archive"):
        ingest(folder_params(tmp_path / "raw", source=source), tmp_path)


def test_unsafe_names_in_an_archive_write_nothing_outside(tmp_path: Path) -> None:
    files = drawn_files(GOOD)
    unsafe = ["../{}", "/tmp/{}", "a/../../{}", "C:/{}", "./{}"]
    source = archived(
        tmp_path / "raw",
        {unsafe[index % 5].format(name): content for index, (name, content) in enumerate(files.items())},
    )
    before = set(tmp_path.parent.iterdir())
    result = ingest(folder_params(tmp_path / "raw", source=source), tmp_path / "output")
    assert sorted(ingested_ids(result)) == [row["image_id"] for row in GOOD]
    assert set(tmp_path.parent.iterdir()) == before
    assert {path.name for path in tmp_path.rglob("*") if path.suffix in (".png", ".jpg")} == set()


# What may be missing


def test_an_absent_lesion_id_or_age_is_no_error_and_counted_as_missing(tmp_path: Path) -> None:
    rows = [dict(row) for row in GOOD]
    for row in rows[::6]:
        row["lesion_id"] = ""
    for row, age in zip(rows[::5], ["", "NA", "unknown", "nan"] * 3, strict=True):
        row["age"] = age
    write_folder_data_set(tmp_path / "raw", rows)
    result = ingest(folder_params(tmp_path / "raw"), tmp_path)
    assert result.quarantine() == []
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    statistics.ParseFromString((tmp_path / "statistics" / "statistics.binpb").read_bytes())
    missing: Counter[str] = Counter()
    for dataset in statistics.datasets:
        for feature in dataset.features:
            stats = feature.num_stats if feature.HasField("num_stats") else feature.string_stats
            missing[feature.path.step[0]] += stats.common_stats.num_missing
    assert +missing == Counter({"lesion/id": 10, "age": 12})


# Images


def test_an_image_may_be_as_large_as_the_limit_and_no_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_validation, "MAX_PIXELS", 20 * 30)
    assert check_image(encoded(draw(0, 20, 30))) == image_validation.ImageSize(height=20, width=30)
    with pytest.raises(BadRecord, match="21 x 30 pixels; at most 600"):
        check_image(encoded(draw(0, 30, 21))[:200])


def test_a_bomb_is_refused_by_its_header() -> None:
    assert len(png_claiming(100_000, 100_000)) < 100
    for width, height in ((100_000, 100_000), (MAX_PIXELS + 1, 1), (7072, 7072)):
        with pytest.raises(BadRecord) as raised:
            check_image(png_claiming(width, height))
        assert raised.value.reason is Reason.DECOMPRESSION_BOMB, (width, height)


FILES = [encoded(draw(0, 20, 24), name) for name in ("JPEG", "PNG", "BMP", "GIF")]


@settings(max_examples=300)
@given(content=st.sampled_from(FILES), position=st.integers(0, 700), byte=st.integers(0, 255), cut=st.integers(0, 3000))
def test_what_passes_is_decoded_by_preprocess(content: bytes, position: int, byte: int, cut: int) -> None:
    """A damaged file is either a bad record or an image, never a crash of this stage or of the next."""
    damaged = bytearray(content)
    damaged[position % len(damaged)] = byte
    altered = bytes(damaged[: len(damaged) - cut if cut < len(damaged) else None])
    try:
        check_image(altered)
    except BadRecord:
        return
    assert from_encoded(altered, Preprocessing(image_size=8)).shape == (8, 8, 3)


@given(share=st.floats(0.0, 0.98), quality=st.integers(60, 100))
@settings(max_examples=40, deadline=None)
def test_a_jpeg_whose_scan_was_cut_and_ended_is_truncated(share: float, quality: int) -> None:
    """Pillow and TensorFlow both take it for an image, and fill what is missing with gray."""
    buffer = io.BytesIO()
    Image.fromarray(draw(3)).save(buffer, "JPEG", quality=quality)
    content = buffer.getvalue()
    assert check_image(content).height == draw(3).shape[0]
    scan = content.index(b"\xff\xda") + 14
    end = scan + int(share * (len(content) - 2 - scan))

    with pytest.raises(BadRecord, match="truncated_image"):
        check_image(content[:end] + b"\xff\xd9")


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_whole_jpegs_of_every_mode_are_accepted(mode: str, progressive: bool) -> None:
    buffer = io.BytesIO()
    Image.fromarray(draw(4)).convert(mode).save(buffer, "JPEG", progressive=progressive)

    size = check_image(buffer.getvalue())

    assert (size.height, size.width) == draw(4).shape[:2]


def test_bytes_that_libjpeg_skips_are_no_damage() -> None:
    before_the_end = JPEG[:-2] + b"\x00" * 20 + JPEG[-2:]

    assert check_image(before_the_end) == check_image(JPEG)
