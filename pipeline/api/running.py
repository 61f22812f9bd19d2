"""Execution of a pipeline: the function `dermrobust.run`."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dermrobust.attacks.errors import UserError
from dermrobust.components.progress import Progress, Silent
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.config_files import load_config, validated
from dermrobust.pipeline.outcomes import RunResult
from dermrobust.pipeline.runner import run_pipeline
from dermrobust.pipeline.stages import STAGES


def run(
    config: Mapping[str, Any] | str | Path | PipelineConfig | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    first: str = STAGES[0],
    last: str = STAGES[-1],
    force: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Run a pipeline, or a part of it; unchanged work is not repeated.

    Args:
        config: keys of `pipeline_config.json` as a mapping, or the path of such a file; None: as the command does,
            `pipeline_config.json` in the current folder, otherwise the embedded default.
        changes: values of keys such as "evaluate.gate.candidate", which replace those of the config.
        first: stage to begin with; the outputs of earlier stages must exist.
        last: stage to end with.
        force: whether to repeat the work of these stages even if nothing changed.
        progress: receiver of progress reports; default: none.

    Returns:
        The outcome of the run: its id, the outcomes of its nodes, `exit_code`, and `output(node, name)` for artifacts.

    Raises:
        UserError: the config or a stage is not valid.
    """
    for stage in (first, last):
        if stage not in STAGES:
            raise UserError(f"there is no stage '{stage}'; there are: {', '.join(STAGES)}")
    return run_pipeline(read_config(config, changes or {}), progress or Silent(), first=first, last=last, force=force)


def read_config(
    config: Mapping[str, Any] | str | Path | PipelineConfig | None, changes: Mapping[str, Any]
) -> PipelineConfig:
    """Return the config that the arguments `config` and `changes` of `run` mean.

    Raises:
        UserError: it is not valid.
    """
    if isinstance(config, PipelineConfig) and not changes:
        return config
    overrides = [f"{key}={json.dumps(value, default=str)}" for key, value in changes.items()]
    if config is None or isinstance(config, str | Path):
        return load_config(None if config is None else Path(config), overrides)
    values = config.model_dump(mode="json") if isinstance(config, PipelineConfig) else copy.deepcopy(dict(config))
    return validated(values, overrides, "the config")
