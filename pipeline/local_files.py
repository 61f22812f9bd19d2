"""Paths of files that are not artifacts: ledger, locks and logs."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dermrobust.components import storage
from dermrobust.pipeline.config import PipelineConfig

_BESIDE_REMOTE_ROOT = Path(".dermrobust")


def local_root(config: PipelineConfig) -> Path:
    """Return the folder of local files: the root, or a folder in `.dermrobust` here when that is on an object store.

    SQLite and file locks need a local file system. Each remote root has a folder of its own, named by a digest of its
    URI: in a common ledger the runs of one root would look like garbage of another.
    """
    if storage.is_local(config.root):
        return Path(config.root)
    return _BESIDE_REMOTE_ROOT / hashlib.sha256(config.root.rstrip("/").encode()).hexdigest()[:12]


def ledger_path(config: PipelineConfig) -> Path:
    """Return the path of the ledger of runs."""
    return local_root(config) / "ledger.sqlite"


def lock_path(config: PipelineConfig, name: str) -> Path:
    """Return the path of a named lock."""
    return local_root(config) / "locks" / f"{name}.lock"


def run_lock(config: PipelineConfig, run: str) -> Path:
    """Return the path of the lock that a run holds as long as its process lives."""
    return lock_path(config, f"run-{run}")


def garbage_lock(config: PipelineConfig) -> Path:
    """Return the path of the lock that is held while garbage is deleted, and while a run begins."""
    return lock_path(config, "garbage")


def crash_log(config: PipelineConfig, run: str, node: str) -> Path:
    """Return the path of the file for a traceback."""
    return local_root(config) / "logs" / run / f"{node}.log"


def library_log(config: PipelineConfig) -> Path:
    """Return the path of the file for the output of libraries."""
    return local_root(config) / "logs" / "libraries.log"


def export_directory(config: PipelineConfig) -> str:
    """Return the folder or URI that exported models are published to."""
    return config.export.directory or storage.join(config.root, "export")
