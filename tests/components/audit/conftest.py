"""A folder of images that the learned network knows, with its labels."""

from pathlib import Path

import pytest

from dermrobust.components.artifacts import Artifact
from dermrobust.components.audit.component import ADOPT_DATA, AdoptDataParams
from dermrobust.models.tasks.ham10000 import TASK
from tests.components.conftest import Workshop
from tests.datasets import Row, encoded, write_files, write_table
from tests.foreign_models import SIZE
from tests.small_networks import colored_images

COUNT = 90


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of images, and their labels."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder)
    return folder / "images", folder / "labels.csv"


def write_photos(folder: Path, count: int = COUNT, seed: int = 7, prefix: str = "P") -> list[Row]:
    """Write images and labels below a folder, and return the rows."""
    pixels, labels = colored_images(count, SIZE, seed=seed)
    names = [f"{prefix}{index:03d}" for index in range(count)]
    rows = [{"image_id": name, "dx": TASK.class_names[label]} for name, label in zip(names, labels, strict=True)]
    write_files(folder / "images", {f"{name}.png": encoded(image) for name, image in zip(names, pixels, strict=True)})
    write_table(folder / "labels.csv", rows)
    return rows


def data_params(photos: tuple[Path, Path], **changes: object) -> AdoptDataParams:
    """Parameters that adopt the photos."""
    values = {"images": str(photos[0]), "labels": str(photos[1]), "task": TASK, "preprocessing": {"image_size": SIZE}}
    return AdoptDataParams.model_validate({**values, **changes})


@pytest.fixture(scope="session")
def adopted_images(workshop: Workshop, photos: tuple[Path, Path]) -> Artifact:
    return workshop.make(ADOPT_DATA, data_params(photos), "adopted")["examples"]
