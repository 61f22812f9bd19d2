"""Pool of worker processes for Beam's portable runners, on loopback.

    python -m dermrobust.components.runners.worker_pool --port 50000

Runners start workers in it with the options `--environment_type=EXTERNAL --environment_config=127.0.0.1:50000`.

Beam's own pool, `apache_beam.runners.worker.worker_pool_main` (2.77), listens on all interfaces and starts whatever
`python` is on PATH, which hangs if that one has no Beam. This one listens on 127.0.0.1 and starts its own interpreter.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

HOST = "127.0.0.1"
_SECONDS = 10
"""Time that a worker has to end by itself."""
_WORKER = """
import sys
from apache_beam.runners.worker.sdk_worker import SdkHarness
SdkHarness(sys.argv[1], worker_id=sys.argv[2]).run()
"""


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Starts and stops a process of this interpreter for each worker that a runner asks for."""

    def __init__(self) -> None:
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def StartWorker(  # noqa: N802 - a method of Beam's protocol
        self, request: beam_fn_api_pb2.StartWorkerRequest, context: grpc.ServicerContext
    ) -> beam_fn_api_pb2.StartWorkerResponse:
        """Start a worker, which connects to the runner."""
        del context
        command = [sys.executable, "-c", _WORKER, request.control_endpoint.url, request.worker_id]
        try:
            worker = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        except OSError as error:
            # The runner tells its own caller.
            return beam_fn_api_pb2.StartWorkerResponse(error=f"the worker could not be started: {error}")
        with self._lock:
            self._workers[request.worker_id] = worker
        print(f"worker_pool: '{request.worker_id}' is process {worker.pid}", file=sys.stderr, flush=True)
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(  # noqa: N802 - a method of Beam's protocol
        self, request: beam_fn_api_pb2.StopWorkerRequest, context: grpc.ServicerContext
    ) -> beam_fn_api_pb2.StopWorkerResponse:
        """Stop a worker, if it has not ended."""
        del context
        with self._lock:
            worker = self._workers.pop(request.worker_id, None)
        if worker is not None:
            _end(worker)
        return beam_fn_api_pb2.StopWorkerResponse()

    def stop(self) -> None:
        """Stop all workers."""
        with self._lock:
            workers, self._workers = list(self._workers.values()), {}
        for worker in workers:
            _end(worker)


def _end(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    try:
        worker.wait(_SECONDS)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def serve(port: int) -> tuple[Any, WorkerPool, str]:
    """Start a pool; return its server, the pool, and its address.

    Args:
        port: port to listen on; 0: any free one.

    Raises:
        RuntimeError: the port is taken.
    """
    server, pool = grpc.server(ThreadPoolExecutor(4)), WorkerPool()
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    address = f"{HOST}:{server.add_insecure_port(f'{HOST}:{port}')}"
    server.start()
    return server, pool, address


def main() -> int:
    """Print the address, and serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=50000, help="port to listen on; 0: any free one")
    arguments = parser.parse_args()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        server, pool, address = serve(arguments.port)
    except RuntimeError as error:
        print(
            f"worker_pool: port {arguments.port} of {HOST} cannot be used: {error}. Give another --port",
            file=sys.stderr,
        )
        return 2
    print(address, flush=True)
    stopped.wait()
    server.stop(None)
    pool.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
