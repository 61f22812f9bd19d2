"""Images are found in folders and archives by their names, and read by what is found."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from dermrobust.components.image_validation import BadRecord
from dermrobust.components.ingest.image_sources import index_images, read_image

NAMES = ("a::b.jpg", "c.zip::d.jpg", "plain.jpg", "with space.jpg")


@pytest.fixture(params=["folder", "archive"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "folder":
        for name in NAMES:
            (tmp_path / name).write_bytes(name.encode())
        return tmp_path
    with zipfile.ZipFile(tmp_path / "images::all.zip", "w") as archive:
        for name in NAMES:
            archive.writestr(f"deeper/{name}", name)
    return tmp_path / "images::all.zip"


def test_every_name_leads_to_its_file(place: Path) -> None:
    found = index_images([place], (".jpg",))

    assert set(found) == set(NAMES)
    assert {name: read_image(locator).decode() for name, locator in found.items()} == {name: name for name in NAMES}


def test_what_is_gone_is_a_bad_record(place: Path) -> None:
    found = index_images([place], (".jpg",))

    with pytest.raises(BadRecord, match="missing_file"):
        read_image(found["plain.jpg"] + "x")
