"""Archives of photographs."""

from __future__ import annotations

import functools
import io
import zipfile
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from benchmarks.fuzz_targets.changes import changed


def _archive(contents: list[bytes], method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for index, content in enumerate(contents):
            archive.writestr(f"folder/{index}.png", content)
    return buffer.getvalue()


@functools.cache
def _photos() -> tuple[bytes, ...]:
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (12, 12, 3), np.uint8)
    files = []
    for name in ("PNG", "JPEG", "GIF", "BMP"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, name)
        files.append(buffer.getvalue())
    return tuple(files)


def archives() -> SearchStrategy[bytes]:
    """Return archives of photographs with a few changes."""
    photo = st.deferred(lambda: st.sampled_from(_photos()))
    methods = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    valid = st.builds(_archive, st.lists(st.one_of(photo, changed(photo)), min_size=1, max_size=2), methods)
    return st.one_of(valid, changed(valid))


def read_archive(content: bytes, folder: Path) -> None:
    """Read all photographs of an archive."""
    from dermrobust.components.image_record import IMAGE_SUFFIXES
    from dermrobust.components.image_validation import BadRecord, check_image
    from dermrobust.components.ingest import image_sources

    path = folder / "images.zip"
    path.write_bytes(content)
    # An archive stays open: the next one has the same name.
    image_sources._archive.cache_clear()
    for locator in image_sources.index_images([path], IMAGE_SUFFIXES).values():
        try:
            check_image(image_sources.read_image(locator))
        except BadRecord:
            continue
