"""Whatever a record's file or metadata hold, ingest survives: the record is set aside with its reason, and counted."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tensorflow_metadata.proto.v0 import statistics_pb2

from dermrobust.attacks.errors import UserError
from dermrobust.components import image_validation, storage
from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.beam_runtime import BeamRuntime
from dermrobust.components.image_validation import BadRecord, Reason, check_image
from dermrobust.components.ingest.image_sources import index_images, read_image
from dermrobust.components.ingest.quarantine import QuarantinedRecord, check
from dermrobust.models.pixels import from_encoded
from dermrobust.models.preprocessing import Preprocessing
from tests.datasets import (
    Ingested,
    draw,
    drawn_files,
    encoded,
    folder_params,
    ingest,
    metadata_rows,
    write_folder_data_set,
)

JPEG = encoded(draw(0), "JPEG")
GOOD = metadata_rows()


BAD: dict[Reason, list[tuple[dict[str, str], bytes | None]]] = {
    Reason.MISSING_FILE: [({}, None)] * 5,
    Reason.NOT_AN_IMAGE: [({}, b"text")] * 4,
    Reason.UNKNOWN_LABEL: [({"dx": "wart"}, JPEG)] * 3,
    Reason.TRUNCATED_IMAGE: [({}, JPEG[:300])] * 2,
    Reason.INVALID_METADATA: [({"age": "forty"}, JPEG)],
    Reason.TOO_SMALL: [({}, encoded(np.zeros((1, 1, 3), np.uint8)))],
}


def test_too_many_bad_records_stop_the_stage_and_the_commonest_reasons_are_told(tmp_path: Path) -> None:
    bad = {f"{reason}_{index}.jpg": one for reason, found in BAD.items() for index, one in enumerate(found)}
    rows = [{**GOOD[0], "lesion_id": "LX", "image_id": name, **row} for name, (row, _) in bad.items()]
    files = drawn_files(GOOD) | {name: content for name, (_, content) in bad.items() if content is not None}
    write_folder_data_set(tmp_path / "raw", [*GOOD, *rows], files)
    allowed = (len(bad) - 1) / (len(bad) + len(GOOD))
    with pytest.raises(UserError) as raised:
        ingest(folder_params(tmp_path / "raw", max_bad_fraction=allowed), tmp_path)
    message = str(raised.value)
    assert f"{len(bad)} of {len(bad) + len(GOOD)} records" in message
    listed = re.findall(r"^ +(\d+)  (\w+) \(such as ", message, flags=re.MULTILINE)
    assert [int(count) for count, _ in listed] == [5, 4, 3, 2, 1], "five of six reasons"
    assert [reason for _, reason in listed[:4]] == list(BAD)[:4]
    assert len(Ingested(tmp_path).quarantine()) == len(bad), "the table is written, so that one can look it up"


def test_bundles_that_are_retried_count_no_record_twice(tmp_path: Path) -> None:
    """As a cluster does after the loss of a worker; here Beam repeats every bundle."""
    rows = [*GOOD, {**GOOD[0], "image_id": "absent"}]
    write_folder_data_set(tmp_path / "raw", rows, drawn_files(GOOD))
    params = folder_params(tmp_path / "raw", max_bad_fraction=0.5)

    once = ingest(params, tmp_path / "once")
    retried = ingest(params, tmp_path / "retried", beam=BeamRuntime(options=("--direct_runner_bundle_repeat=2",)))

    assert [row["id"] for row in retried.quarantine()] == ["absent"]
    for type_ in (ArtifactType.DATASET, ArtifactType.STATISTICS, ArtifactType.QUARANTINE):
        found, expected = (list(storage.entries(result.artifact(type_).uri)) for result in (retried, once))
        assert found == expected


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


@given(share=st.floats(0.0, 0.98), quality=st.integers(60, 100), skipped=st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_a_jpeg_whose_scan_was_cut_and_ended_is_truncated(share: float, quality: int, skipped: int) -> None:
    """Pillow and TensorFlow both take it for an image, and fill what is missing with gray."""
    buffer = io.BytesIO()
    Image.fromarray(draw(3)).save(buffer, "JPEG", quality=quality)
    content = buffer.getvalue()
    # Bytes that libjpeg skips, with a warning that ends the strict check of what follows.
    at = content.index(b"\xff\xdb")
    content = content[:at] + bytes(skipped) + content[at:]
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
