"""Config of the run that makes the data set of a model of the zoo again."""

from __future__ import annotations

from pathlib import Path

from dermrobust.attacks.errors import UserError
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.config_files import load_config
from dermrobust.pipeline.zoo.card import CONFIG


def split_config(folder: Path, root: str, data: Path | None) -> PipelineConfig:
    """Return the config of a model's ingest.

    Args:
        folder: folder of the model.
        root: root of the run.
        data: folder of the raw files; None: as the environment variable in the model's config says.

    Raises:
        UserError: there is no config.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"'{path}' is missing; see: dermrobust zoo verify")
    overrides = [f"root={root}", *([] if data is None else [f"ingest.path={data}"])]
    return load_config(path, overrides)
