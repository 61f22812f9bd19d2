"""Trainings for several seeds: the function `dermrobust.sweep`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dermrobust.components.progress import Progress, Silent
from dermrobust.pipeline.api.running import read_config
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.sweep import SweepResult, run_sweep


def sweep(
    config: Mapping[str, Any] | str | Path | PipelineConfig | None = None,
    *,
    seeds: Sequence[int],
    models: Sequence[str] | None = None,
    changes: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> SweepResult:
    """Train the models of a config for several seeds, side by side; finished trainings are not repeated.

    Args:
        config: see `dermrobust.run`.
        seeds: seeds of training; each is a run of its own.
        models: names of models of the config; default: all.
        changes: values of keys such as "train.epochs", which replace those of the config.
        progress: receiver of progress reports; default: none.

    Returns:
        The outcome: `runs`, the outcome of each seed as `dermrobust.run` returns it, and `exit_code`.

    Raises:
        UserError: the config, a seed or a name is not valid, or the Beam engine cannot be used.
    """
    return run_sweep(read_config(config, changes or {}), progress or Silent(), seeds=seeds, models=models)
