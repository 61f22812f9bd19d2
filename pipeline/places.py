"""Where a pipeline keeps what is no artifact: ledger, crash logs, checkpoints. Always on a local disk."""

from __future__ import annotations

from pathlib import Path

from dermrobust.components import storage
from dermrobust.pipeline.config import PipelineConfig

_BESIDE_REMOTE_ROOT = Path(".dermrobust")


def local_root(config: PipelineConfig) -> Path:
    """Return the root itself, or a folder of the current directory when the root is on an object store."""
    return Path(config.root) if storage.is_local(config.root) else _BESIDE_REMOTE_ROOT


def ledger_path(config: PipelineConfig) -> Path:
    """Return the file of the ledger of runs."""
    return local_root(config) / "ledger.sqlite"


def lock_path(config: PipelineConfig, name: str) -> Path:
    """Return the file whose lock lets one run at a time do what `name` stands for."""
    return local_root(config) / "locks" / f"{name}.lock"


def crash_log(config: PipelineConfig, run: str, node: str) -> Path:
    """Return the file for a traceback."""
    return local_root(config) / "logs" / run / f"{node}.log"


def library_log(config: PipelineConfig) -> Path:
    """Return the file for what libraries print."""
    return local_root(config) / "logs" / "libraries.log"


def export_directory(config: PipelineConfig) -> str:
    """Return where exported models are published."""
    return config.export.directory or storage.join(config.root, "export")
