"""Ingest: a data set of lesion images becomes TFDS shards in three splits that share no lesion."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from dermrobust.attacks.errors import UserError
from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import NOT_IN_FINGERPRINT, Component, Params
from dermrobust.components.ingest.datasets.folder.source import FolderSource
from dermrobust.components.ingest.datasets.synthetic.source import SyntheticSource

_VARIABLE = re.compile(r"\$\{(\w+)\}")


class SplitParams(Params):
    """Shares of the lesions; what is left trains."""

    validation: float = Field(0.1, gt=0, lt=1, description="Share of lesions that tune.")
    test: float = Field(0.2, gt=0, lt=1, description="Share of lesions that are only ever evaluated on.")
    salt: str = Field("dermrobust", min_length=1, description="Another salt gives another split.")

    @model_validator(mode="after")
    def _something_trains(self) -> SplitParams:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together must leave a share to train on")
        return self


class IngestParams(Params):
    """Which images, and how they are split."""

    dataset: Literal["synthetic", "ham10000", "folder"] = Field("synthetic", description="Where the images come from.")
    path: str | None = Field(
        None,
        description="Folder of the raw files (ham10000, folder); ${NAME} stands for an environment variable.",
        json_schema_extra=NOT_IN_FINGERPRINT,
    )
    synthetic: SyntheticSource = Field(default_factory=SyntheticSource, description="For dataset = synthetic.")
    folder: FolderSource = Field(default_factory=FolderSource, description="For dataset = folder.")
    splits: SplitParams = Field(default_factory=SplitParams, description="Train, validation and test.")
    max_bad_fraction: float = Field(0.01, ge=0, le=1, description="Share of unusable records above which ingest fails.")


def raw_folder(params: IngestParams) -> Path:
    """Return the folder of the raw files.

    Raises:
        UserError: none is given, or the environment variable that it names is not set.
    """
    if not params.path:
        raise UserError(
            f"ingest: the data set '{params.dataset}' needs its folder: --set ingest.path=/where/the/files/are"
        )
    for name in _VARIABLE.findall(params.path):
        if name not in os.environ:
            raise UserError(
                f"ingest: ingest.path is '{params.path}', but the environment variable {name} is not set. Set it to "
                "the folder of the raw files, or give the folder itself: --set ingest.path=/where/the/files/are"
            )
    return Path(_VARIABLE.sub(lambda match: os.environ[match[1]], params.path)).expanduser()


INGEST = Component(
    name="ingest",
    params=IngestParams,
    inputs={},
    outputs={
        "dataset": ArtifactType.DATASET,
        "statistics": ArtifactType.STATISTICS,
        "quarantine": ArtifactType.QUARANTINE,
    },
    executor="dermrobust.components.ingest.executor:run",
    external_content="dermrobust.components.ingest.raw_content:digest",
    libraries=("tensorflow", "tensorflow-datasets", "tensorflow-metadata", "numpy", "pillow"),
)
