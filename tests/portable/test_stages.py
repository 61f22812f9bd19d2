"""The stages of the pipeline on Beam's portable runner: the same bytes as on the in-process engine.

`make test-portable` runs them, with `JOB_ENDPOINT=host:port` on any job service.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.engine_runs import execute, published
from tests.portable.conftest import WORKERS, Pool, Service

pytestmark = pytest.mark.portable

SEVERAL_SHARDS = {"ingest": {"dataset": {"dataset": "synthetic", "count": 120}, "shard_size": 10}}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a run on the in-process engine."""
    root = tmp_path_factory.mktemp("engines") / "alone"
    assert [node.message for node in execute(root, None, SEVERAL_SHARDS).nodes if not node.ok] == []
    return root


def test_the_same_bytes_from_a_job_service(alone: Path, service: Service, pool: Pool, tmp_path: Path) -> None:
    root = tmp_path / "root"
    # Trainings run in this process anyway. They are found only if the service makes the same examples.
    shutil.copytree(alone / "artifacts" / "model", root / "artifacts" / "model")
    before = len(pool.log.read_text().splitlines())

    result = execute(root, None, SEVERAL_SHARDS, runner="PortableRunner", options=list(service.options))

    assert [node.message for node in result.nodes if not node.ok] == []
    found = {node.node for node in result.nodes if node.status == "cached"}
    assert found == {"train[vanilla]", "train[fgsm]"}
    assert published(root) == published(alone)
    shards = list((root / "artifacts").glob("predictions/*/predictions/part-*"))
    assert len(shards) >= 2 * WORKERS
    started = [line for line in pool.log.read_text().splitlines()[before:] if line.startswith("worker_pool: ")]
    # Prism has one process for a job; where a given service has its workers is not known here.
    if service.name == "local_job_service_main":
        assert len(started) >= 10 * WORKERS
