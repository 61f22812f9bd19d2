"""A Spark cluster of separate processes on loopback, shared by all tests of the runner."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Virtual machines that live for seconds: what the second compiler takes is more than what it gives.
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
SCRIPT = Path(__file__).parents[2] / "scripts" / "spark-local"


def missing() -> str | None:
    """The reason why there can be no cluster here, if there is one."""
    if importlib.util.find_spec("pyspark") is None:
        return "pyspark is not installed: make spark"
    if shutil.which("java") is None:
        return "there is no Java on PATH"
    return None


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a cluster of two workers with one core each."""
    if (reason := missing()) is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("spark") / "cluster"
    run = [sys.executable, str(SCRIPT)]
    place = ["--folder", str(folder)]
    # For the cluster, and for the driver in this process.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JDK_JAVA_OPTIONS", JAVA_OPTIONS)
        # Workers import what tests define.
        environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
        subprocess.run([*run, "start", "--workers", "2", "--port", "0", *place], check=True, env=environment)
        yield folder
        from dermrobust.components.runners.spark.connection import disconnect

        disconnect()
        subprocess.run([*run, "stop", *place], check=True)


@pytest.fixture(scope="session")
def master(cluster: Path) -> str:
    return (cluster / "url").read_text().strip()
