"""Earlier runs and their metrics, from the ledger and the artifacts."""

from __future__ import annotations

from typing import Any

from dermrobust.attacks.errors import UserError
from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.evaluation.reading import metric_rows
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.places import ledger_path


def _ledger(config: PipelineConfig) -> Ledger:
    path = ledger_path(config)
    if not path.exists():
        raise UserError(f"there are no runs in '{config.root}' yet; start one with: dermrobust run")
    return Ledger(path)


def recent_runs(config: PipelineConfig, limit: int) -> list[dict[str, Any]]:
    """Return the latest runs, newest first.

    Raises:
        UserError: nothing has run in this root.
    """
    return _ledger(config).runs(limit)


def evaluation_rows(config: PipelineConfig, run: str | None) -> list[dict[str, Any]]:
    """Return the metrics of a run, or of the latest that has any; see `metric_rows`.

    Raises:
        UserError: there is no such run, or nothing was evaluated.
    """
    found = _ledger(config).latest_output(ArtifactType.EVALUATION.value, run)
    if found is None:
        which = "no run has" if run is None else f"run '{run}' is not there or has not"
        raise UserError(f"{which} evaluated anything in '{config.root}'; see: dermrobust runs")
    return metric_rows(found[1])
