"""Earlier runs and their metrics, from the ledger and the artifacts."""

from __future__ import annotations

from typing import Any

from dermrobust.attacks.errors import UserError
from dermrobust.components.artifacts import Artifact, ArtifactStore, ArtifactType
from dermrobust.components.evaluation.reading import metric_rows
from dermrobust.components.integrity import check
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import ledger_path, run_lock
from dermrobust.pipeline.locks import locked_if_free

KILLED = "killed"
"""Status of a run whose process died before it could record its end."""


REMAKE = "Delete its folder, and make it again with: dermrobust run"
"""Advice for a damaged result."""


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
    ledger = _ledger(config)
    killed = killed_runs(config, ledger)
    return [{**run, "status": KILLED if run["id"] in killed else run["status"]} for run in ledger.runs(limit)]


def killed_runs(config: PipelineConfig, ledger: Ledger) -> frozenset[str]:
    """Return the ids of the runs that ended without a record, since their process died."""
    killed = set()
    for run in ledger.unfinished():
        with locked_if_free(run_lock(config, run)) as free:
            if free:
                killed.add(run)
    return frozenset(killed)


def evaluation_rows(config: PipelineConfig, run: str | None) -> list[dict[str, Any]]:
    """Return the metrics of a run, or of the latest that has any; see `metric_rows`.

    Raises:
        UserError: there is no such run, or nothing was evaluated.
    """
    return metric_rows(latest_evaluation(config, run).uri)


def latest_evaluation(config: PipelineConfig, run: str | None = None) -> Artifact:
    """Return the evaluation of a run, or of the latest that has one.

    Raises:
        UserError: there is no such run, nothing was evaluated, or the evaluation is gone.
    """
    found = _ledger(config).latest_output(ArtifactType.EVALUATION.value, run)
    if found is None:
        which = "no run has" if run is None else f"run '{run}' is not there or has not"
        raise UserError(f"{which} evaluated anything in '{config.root}'; see: dermrobust runs")
    evaluation = ArtifactStore(config.root).find(ArtifactType.EVALUATION, found[1])
    if evaluation is None:
        raise UserError(
            f"the evaluation of run '{found[0]}' is no longer in '{config.root}'; make it again with: "
            "dermrobust run --to evaluate"
        )
    check(evaluation, REMAKE)
    return evaluation
