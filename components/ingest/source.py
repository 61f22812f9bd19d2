"""Base of data sets: how a config describes one."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from dermrobust.models.task import Task


class Source(BaseModel, abc.ABC):
    """A data set with its parameters; its subclass lies in `datasets/<name>/source.py` and imports no TensorFlow.

    A subclass declares a field `dataset: Literal["<name>"]` beside its parameters.

    Attributes:
        builder: "module:Class" of the TFDS builder, a subclass of `datasets.builder.ImageBuilder`. As text, because
            builders import TensorFlow, and because a fingerprint follows such text.
        drawn: whether a program draws the images, so that they show nobody.
        needs_path: whether the data set is read from `ingest.path`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    builder: ClassVar[str]
    drawn: ClassVar[bool] = False
    needs_path: ClassVar[bool] = True

    dataset: str = Field(description="Name of the data set.")

    @property
    @abc.abstractmethod
    def resolved_task(self) -> Task:
        """Classification problem of the data set."""

    def files(self, folder: Path) -> Sequence[Path]:
        """Return the files and folders below `ingest.path` whose content shapes the result.

        Raises:
            UserError: one of them is not there.
        """
        del folder
        return ()
