"""Small runs of the pipeline on an engine, and the bytes that they publish."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from dermrobust.components.progress import Silent
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.graph import build_graph
from dermrobust.pipeline.outcomes import RunResult
from dermrobust.pipeline.runner import run_graph

SMALL: dict[str, Any] = {
    "ingest": {"dataset": {"dataset": "synthetic", "count": 120}},
    "preprocess": {"image_size": 16},
    "train": {"network": "tiny", "epochs": 1, "warmup_epochs": 0, "xla": False},
    "augment": {"models": {"fgsm": ["fgsm"]}, "attacks": {"fgsm": {"attack": "fgsm"}}},
    "evaluate": {
        "epsilons": [4],
        "attacks": {
            "pgd": {"attack": "pgd", "steps": 2},
            "universal": {"attack": "universal", "passes": 1, "images": 16},
        },
        "gate": {
            "candidate": "fgsm",
            "baseline": "vanilla",
            "thresholds": [{"metric": "accuracy", "attack": "pgd", "epsilon": 4, "min": 0.0}],
        },
    },
}


def execute(root: Path, ids: Collection[str] | None, changes: dict[str, Any], **beam: Any) -> RunResult:
    """Run nodes of the small config, with some sections replaced, on a Beam runner; None: all but the export."""
    config = PipelineConfig.model_validate({**SMALL, **changes, "root": str(root), "beam": beam})
    graph = build_graph(config)
    wanted = frozenset(node.id for node in graph if node.id != "export") if ids is None else frozenset(ids)
    nodes = [node for node in graph if node.id in wanted]
    return run_graph(config, nodes, Silent(), settings={}, selected=wanted, force=False)


def published(root: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of the files of each artifact, by type and fingerprint."""
    manifests = {path.parent: json.loads(path.read_bytes()) for path in root.glob("artifacts/*/*/manifest.json")}
    return {
        str(folder.relative_to(root / "artifacts")): {file["path"]: file["sha256"] for file in manifest["files"]}
        for folder, manifest in manifests.items()
    }
