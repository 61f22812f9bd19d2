"""Small data sets for tests: drawn images, tables of metadata, and the stages that turn them into artifacts."""

from __future__ import annotations

import csv
import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from dermrobust.attacks.threat import Pixels
from dermrobust.components.artifacts import Artifact, ArtifactType
from dermrobust.components.beam_runtime import BeamRuntime
from dermrobust.components.component import Context
from dermrobust.components.ingest.component import IngestParams, SplitParams
from dermrobust.components.ingest.datasets.folder.source import FolderSource
from dermrobust.models.task import Task
from dermrobust.models.tasks.ham10000 import TASK

COLUMNS = ("lesion_id", "image_id", "dx", "age", "sex", "localization")

Row = dict[str, str]
"""A row of metadata as it stands in the table."""


def metadata_rows(count: int = 60, classes: Sequence[str] = TASK.class_names) -> list[Row]:
    """Rows in which two images show one lesion; with the default salt 60 of them put every class into train."""
    return [
        {
            "lesion_id": f"L{index // 2:04d}",
            "image_id": f"IMG_{index:04d}",
            "dx": classes[index // 2 % len(classes)],
            "age": str(20 + 5 * (index % 12)),
            "sex": ("male", "female")[index % 2],
            "localization": ("back", "face", "hand")[index % 3],
        }
        for index in range(count)
    ]


def draw(seed: int, height: int = 30, width: int = 40) -> Pixels:
    """A smooth picture with a little noise: uint8 [height, width, 3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width][..., np.newaxis]
    wave = np.sin(x / (3 + 5 * random.random(3)) + y / (3 + 5 * random.random(3)))
    return np.clip(128 + 90 * wave + random.normal(0, 4, wave.shape), 0, 255).astype(np.uint8)


def encoded(pixels: Pixels, file_format: str = "PNG") -> bytes:
    """An image file: PNG, JPEG, BMP or GIF."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format)
    return buffer.getvalue()


def drawn_files(rows: Iterable[Row], suffixes: Sequence[str] = (".png", ".jpg")) -> dict[str, bytes]:
    """A drawn image for each row by its file name; the suffixes take turns."""
    formats = {".png": "PNG", ".jpg": "JPEG"}
    names = [f"{row['image_id']}{suffixes[index % len(suffixes)]}" for index, row in enumerate(rows)]
    return {name: encoded(draw(seed), formats[Path(name).suffix]) for seed, name in enumerate(names)}


def write_table(path: Path, rows: Sequence[Mapping[str, str]], delimiter: str = ",") -> None:
    """A table with the columns of the first row."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Files below a folder, which is created."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def write_archive(path: Path, files: Mapping[str, bytes]) -> None:
    """A zip archive whose members are stored as they are, so that a test finds their bytes in it."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def write_folder_data_set(folder: Path, rows: Sequence[Row], files: Mapping[str, bytes] | None = None) -> None:
    """What the data set `folder` reads: `metadata.csv` and images beside it, drawn unless they are given."""
    write_files(folder, drawn_files(rows) if files is None else files)
    write_table(folder / "metadata.csv", rows)


FUNDUS = Task.model_validate(
    {
        "name": "fundus",
        "title": "Fundus photographs",
        "subject": "photograph",
        "class_names": ["normal", "referable"],
        "labels": {"referable": "referable retinopathy"},
        "class_key": "finding",
        "group_key": "patient/id",
        "critical": ["referable"],
        "critical_title": "referable retinopathy",
        "malignant": ["referable"],
        "features": [
            {"kind": "category", "name": "device", "values": ["topcon", "zeiss"]},
            {
                "kind": "number",
                "name": "pressure",
                "grouped_as": "pressure_group",
                "edges": [0, 15, 21],
                "maximum": 80,
                "unit": "mmHg",
            },
        ],
        "corruptions": ["brightness_down", "jpeg"],
    }
)
"""A task that has nothing in common with skin lesions."""


def write_fundus_data_set(folder: Path, patients: int = 120, height: int = 24, width: int = 36) -> list[Row]:
    """Write a folder data set of the task `FUNDUS`, with images that are not square, and return its rows.

    A patient has two photographs: a pale disc on black, with dark spots where the finding is referable.
    """
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    disc = np.hypot((y - height / 2) / height, (x - width / 2) / width) < 0.45
    rows: list[Row] = []
    files = {}
    for patient in range(patients):
        referable = patient % 2 == 1
        for eye in ("left", "right"):
            image = random.normal(150, 12, (height, width, 3)) * disc[..., None]
            if referable:
                for top, left in random.integers((6, 8), (height - 8, width - 10), (4, 2)):
                    image[top : top + 4, left : left + 4] *= 0.2
            name, pressure = f"{patient:03d}_{eye}", random.integers(10, 26)
            files[f"{name}.png"] = encoded(np.clip(image, 0, 255).astype(np.uint8))
            rows.append(
                {
                    "image_id": name,
                    "finding": "referable" if referable else "normal",
                    "patient_id": f"P{patient}",
                    "device": ("topcon", "zeiss", "")[patient % 3],
                    "pressure": str(pressure) if patient % 5 else "",
                }
            )
    write_folder_data_set(folder, rows, files)
    return rows


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_file(header: bytes, pixels: bytes | None) -> bytes:
    """A PNG of a header and packed pixels, which need not fit."""
    packed = b"" if pixels is None else png_chunk(b"IDAT", pixels)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + packed + png_chunk(b"IEND", b"")


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims a size."""
    return png_file(struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), zlib.compress(b"\0"))


def folder_params(
    path: Path,
    *,
    source: FolderSource | None = None,
    splits: SplitParams | None = None,
    max_bad_fraction: float = 0.0,
    shard_size: int = 512,
) -> IngestParams:
    """Parameters of ingest for a folder data set; by default no bad record is tolerated."""
    return IngestParams(
        dataset=source or FolderSource(),
        path=str(path),
        splits=splits or SplitParams(),
        max_bad_fraction=max_bad_fraction,
        shard_size=shard_size,
    )


@dataclass(frozen=True)
class Ingested:
    """Where ingest has written, whether or not it succeeded."""

    output: Path

    @property
    def dataset(self) -> Artifact:
        """The shards, as an input of later stages."""
        return self.artifact(ArtifactType.DATASET)

    def artifact(self, type_: ArtifactType) -> Artifact:
        """An output as an artifact, without a store."""
        return Artifact(type_, "test", "test", str(self.output / type_))

    def quarantine(self) -> list[Row]:
        """The rows of the quarantine table."""
        rows: list[Row] = pq.read_table(self.output / "quarantine" / "quarantine.parquet").to_pylist()
        return rows


def ingest(params: IngestParams, output: Path, beam: BeamRuntime | None = None) -> Ingested:
    """Run the stage ingest on Beam.

    Raises:
        UserError: as the stage does; what it wrote until then is found by `Ingested(output)`.
    """
    from dermrobust.components.ingest import executor

    types = (ArtifactType.DATASET, ArtifactType.STATISTICS, ArtifactType.QUARANTINE)
    outputs = {type_.value: str(output / type_) for type_ in types}
    work = str(output / "work")
    executor.run(Context(params=params, inputs={}, outputs=outputs, work_folder=work, beam=beam or BeamRuntime()))
    return Ingested(output)
