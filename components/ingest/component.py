"""Component that turns a data set into TFDS shards in three splits that share no group of images."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.plugins import Selected
from dermrobust.components.component import NOT_IN_FINGERPRINT, Component, Params
from dermrobust.components.ingest.registry import DATASETS
from dermrobust.components.ingest.source import Source
from dermrobust.components.registry import ArtifactType
from dermrobust.models.task import Task

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_FORMER = ("synthetic", "folder")
"""Keys that held the parameters of one data set each before `dataset` held those of the selected one."""


class SplitParams(Params):
    """Fractions of the groups in each split, and the salt of the hash that assigns them."""

    validation: float = Field(0.1, gt=0, lt=1, description="Fraction of groups in the validation split.")
    test: float = Field(0.2, gt=0, lt=1, description="Fraction of groups in the test split.")
    salt: str = Field("dermrobust", min_length=1, description="Salt of the split; another salt gives another split.")

    @model_validator(mode="after")
    def _something_trains(self) -> SplitParams:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together must leave a fraction to train on")
        return self


class IngestParams(Params):
    """Parameters of ingest."""

    dataset: Annotated[Source, Selected(DATASETS, "dataset")] = Field(
        "synthetic",
        validate_default=True,
        description='Data set: its name, or {"dataset": name} with its parameters beside the name.',
    )
    path: str | None = Field(
        None,
        description="Folder of the raw files; ${NAME} stands for an environment variable.",
        json_schema_extra=NOT_IN_FINGERPRINT,
    )
    splits: SplitParams = Field(default_factory=SplitParams, description="Train, validation and test split.")
    shard_size: int = Field(
        512,
        ge=1,
        le=65_536,
        description="Images of a shard, about. A shard is in the memory of a worker, and the work of one at a time.",
    )
    max_bad_fraction: float = Field(
        0.01, ge=0, le=1, description="Fraction of unusable records above which ingest fails."
    )

    @property
    def task(self) -> Task:
        """Classification problem of the data set."""
        return self.dataset.resolved_task

    @model_validator(mode="before")
    @classmethod
    def _refuse_former_keys(cls, values: Any) -> Any:
        for name in _FORMER if isinstance(values, dict) else ():
            if name in values:
                former = values[name] if isinstance(values[name], dict) else {}
                shown = json.dumps({"dataset": {"dataset": name, **former}})
                raise ValueError(f"the key '{name}' has become a part of 'dataset'. Write {shown}")
        return values


def raw_folder(params: IngestParams) -> Path:
    """Return the folder of the raw files.

    Raises:
        UserError: none is given, or the environment variable that it names is not set.
    """
    if not params.path:
        raise UserError(
            f"ingest: the data set '{params.dataset.dataset}' needs its folder: --set ingest.path=/where/the/files/are"
        )
    for name in _VARIABLE.findall(params.path):
        if name not in os.environ:
            raise UserError(
                f"ingest: ingest.path is '{params.path}', but the environment variable {name} is not set. Set it to "
                "the folder of the raw files, or give the folder itself: --set ingest.path=/where/the/files/are"
            )
    # Absolute: workers have working folders of their own.
    return Path(_VARIABLE.sub(lambda match: os.environ[match[1]], params.path)).expanduser().absolute()


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
    libraries=("tensorflow", "tensorflow-datasets", "tensorflow-metadata", "numpy", "pillow", "pyarrow"),
)
