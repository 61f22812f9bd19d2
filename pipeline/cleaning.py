"""What killed runs left behind."""

from __future__ import annotations

from dermrobust.components import storage
from dermrobust.components.artifacts import ArtifactStore
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.history import KILLED, killed_runs
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import lock_path, run_lock
from dermrobust.pipeline.locks import locked_if_free


def clean_up(config: PipelineConfig, store: ArtifactStore, ledger: Ledger) -> None:
    """Record the end of runs that were killed, and delete the staging folders that nothing can resume."""
    for run in killed_runs(config, ledger):
        ledger.end_run(run, KILLED)
        run_lock(config, run).unlink(missing_ok=True)
    for key, uri in store.attempts():
        # An execution holds the lock of its fingerprint, and the operating system frees it when the process dies.
        with locked_if_free(lock_path(config, key)) as free:
            if free:
                storage.remove(uri)
