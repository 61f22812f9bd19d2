"""Job services on loopback that portable pipelines are sent to, and a pool of worker processes.

`JOB_ENDPOINT` names a service that runs already; `JOB_OPTIONS` replaces the options that say where its workers are.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PRISM = "github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0"
WORKERS = 2
_SECONDS = 120


@dataclass(frozen=True)
class Pool:
    """A pool of worker processes, and the file where it notes each that it starts."""

    address: str
    log: Path


@dataclass(frozen=True)
class Service:
    """A job service."""

    name: str
    options: tuple[str, ...]


@contextlib.contextmanager
def running(command: Sequence[str], output: Path, log: Path) -> Iterator[None]:
    """Run a process that can import what tests define; its outputs go to two files."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with output.open("wb") as out, log.open("wb") as errors:
        process = subprocess.Popen(command, stdout=out, stderr=errors, env=environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def waited_for(path: Path, log: Path) -> str:
    """The content of a file as soon as it has a line."""
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        if path.exists() and (text := path.read_text().strip()):
            return text
        time.sleep(0.1)
    raise TimeoutError(f"nothing is in {path}: {log.read_text()}")


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    folder = tmp_path_factory.mktemp("pool")
    command = [sys.executable, "-m", "dermrobust.components.runners.worker_pool", "--port", "0"]
    with running(command, folder / "address", folder / "log"):
        yield Pool(waited_for(folder / "address", folder / "log"), folder / "log")


@pytest.fixture(scope="module", params=["given", "local_job_service_main", "prism"])
def service(request: pytest.FixtureRequest, pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service of `JOB_ENDPOINT`, or else each of Beam's own."""
    given, folder = os.environ.get("JOB_ENDPOINT"), tmp_path_factory.mktemp("service")
    workers = ("--environment_type=EXTERNAL", f"--environment_config={pool.address}")
    if given or request.param == "given":
        if not given or request.param != "given":
            pytest.skip("JOB_ENDPOINT is set: only that service" if given else "JOB_ENDPOINT is not set")
        options = os.environ.get("JOB_OPTIONS")
        yield Service("given", (f"--job_endpoint={given}", *(workers if options is None else shlex.split(options))))
    elif request.param == "prism":
        port = free_port()
        command = [prism(), f"-job_port={port}", "-serve_http=false"]
        with running(command, folder / "output", folder / "log"):
            wait_for_port(port, folder / "log")
            yield Service("prism", (f"--job_endpoint=127.0.0.1:{port}", *workers))
    else:
        port_file = folder / "port"
        command = [sys.executable, "-m", "tests.portable.job_service"]
        with running([*command, "--port_file", str(port_file)], folder / "output", folder / "log"):
            endpoint = f"--job_endpoint=localhost:{waited_for(port_file, folder / 'log')}"
            yield Service("local_job_service_main", (endpoint, *workers, f"--direct_num_workers={WORKERS}"))


def prism() -> str:
    """The path of Prism, built once for the repository; skips where that cannot be done."""
    if found := shutil.which("prism"):
        return found
    target = REPOSITORY / "build" / "prism" / "prism"
    if not target.exists():
        if shutil.which("go") is None:
            pytest.skip("there is neither Prism nor a Go tool on PATH")
        built = subprocess.run(
            ["go", "install", PRISM], env={**os.environ, "GOBIN": str(target.parent)}, capture_output=True, text=True
        )
        if built.returncode:
            pytest.skip(f"Prism cannot be built: {built.stderr.strip().splitlines()[-1]}")
    return str(target)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, log: Path) -> None:
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on port {port}: {log.read_text()}")
