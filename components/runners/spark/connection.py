"""Connection of this process to a Spark cluster."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.runners.spark.agreement import Agreement, installed
from dermrobust.components.runners.spark.errors import marking_user_errors, raising_errors_of_workers

_CONNECT_SECONDS, _REGISTER_SECONDS, _EXECUTOR_SECONDS = 3, 25, 120
"""Time for a socket, for the registration of the application, and for a worker to take part."""
_LOOPBACK = ("127.", "localhost", "[::1]")
_ENVIRONMENT = ("TF_ENABLE_ONEDNN_OPTS", "TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND", "PYDANTIC_DISABLE_PLUGINS")
"""Environment variables of this process that workers get: they change results, or suppress messages."""


@dataclass(frozen=True)
class Cluster:
    """Address and properties of a cluster.

    Attributes:
        master: URL of the master, such as "spark://127.0.0.1:7077" or "local[2]".
        properties: properties of Spark as (key, value).
    """

    master: str
    properties: tuple[tuple[str, str], ...] = ()


@dataclass
class Connection:
    """A Spark application; it lives as long as this process, so that workers keep their models.

    Attributes:
        cluster: the cluster.
        context: its `pyspark.SparkContext`.
        agreements: what workers were found to agree with, by root.
    """

    cluster: Cluster
    context: Any
    agreements: dict[str | None, Agreement] = field(default_factory=dict)

    def agreement(self, root: str | None) -> Agreement:
        """Return what workers must agree with; the first time, ask those that are there.

        Args:
            root: folder or URI that all machines share; None: files are not shared.

        Raises:
            UserError: no worker answers, one has other versions, or one cannot read files below the root.
        """
        if root not in self.agreements:
            expected = Agreement(installed(), *(() if root is None else _reach_file(root)))
            self._ask(expected)
            self.agreements[root] = expected
        return self.agreements[root]

    def _ask(self, agreement: Agreement) -> None:
        self._await_executor()
        tasks = 2 * self.context.defaultParallelism
        with raising_errors_of_workers():
            self.context.parallelize(range(tasks), tasks).foreachPartition(_Check(agreement))

    def _await_executor(self) -> None:
        """Wait for the first worker to give this application a core; Spark itself would wait for ever."""
        if not self.cluster.master.startswith("spark://"):
            return
        tracker = self.context._jsc.sc().statusTracker()
        until = time.monotonic() + _EXECUTOR_SECONDS
        # The driver is listed too.
        while len(tracker.getExecutorInfos()) < 2:
            if time.monotonic() > until:
                raise UserError(
                    f"beam.options: the Spark master '{self.cluster.master}' gave this application no core within "
                    f"{_EXECUTOR_SECONDS} s. Start workers with a free core and enough memory, or free occupied ones"
                )
            time.sleep(0.1)


def _reach_file(root: str) -> tuple[str, str]:
    """Return the URI and the content of a file below the root, which workers are asked to read."""
    uri = storage.join(root, "work", "reach")
    if not storage.exists(uri):
        storage.write_bytes(uri, uuid.uuid4().hex.encode())
    return uri, storage.read_bytes(uri).decode()


_connections: list[Connection] = []
"""The one that this process has, if any: there is one `SparkContext` in a process."""
_connecting = threading.Lock()


def connected(cluster: Cluster) -> Connection:
    """Return the connection to a cluster; a new one takes the place of one to another cluster.

    Raises:
        UserError: Spark or Java is missing, or the master does not answer.
    """
    with _connecting:
        if _connections and _connections[0].cluster == cluster and not _stopped(_connections[0].context):
            return _connections[0]
        if _connections:
            _connections.pop().context.stop()
        _check_master(cluster.master)
        _check_java()
        _connections.append(Connection(cluster, _start(cluster)))
        return _connections[0]


def disconnect() -> None:
    """End this process's application; its workers are free for others."""
    with _connecting:
        while _connections:
            _connections.pop().context.stop()


def _stopped(context: Any) -> bool:
    return context._jsc is None or bool(context._jsc.sc().isStopped())


def _check_java() -> None:
    if shutil.which("java") is None and not Path(os.environ.get("JAVA_HOME", ""), "bin", "java").is_file():
        raise UserError("beam.runner: Spark needs Java 17 or newer: install it, or set JAVA_HOME to its folder")


def _check_master(master: str) -> None:
    """Raise a UserError if there is nothing to connect to; Spark itself would try for a minute."""
    if not master.startswith("spark://"):
        return
    places = [place.rpartition(":") for place in master.removeprefix("spark://").split(",")]
    reasons = []
    for host, _, port in places:
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
        except (OSError, ValueError) as error:
            reasons.append(f"{host}:{port}: {error}")
    if len(reasons) == len(places):
        raise UserError(
            f"beam.options: there is no Spark master at '{master}' ({'; '.join(reasons)}). "
            "Start one, such as scripts/spark-local start, or correct --spark_master"
        )


def _start(cluster: Cluster) -> Any:
    """Return a new `SparkContext`."""
    from pyspark import SparkConf, SparkContext

    # Spark starts this Python on all machines; whether it is the same one is checked there.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    configuration = SparkConf().setMaster(cluster.master).setAppName("dermrobust")
    for key, value in {**_properties(cluster.master), **dict(cluster.properties)}.items():
        configuration.set(key, value)
    # The JVM of this process; on a busy machine its start alone takes many seconds.
    SparkContext._ensure_initialized()
    try:
        with raising_errors_of_workers():
            return _within(_REGISTER_SECONDS, lambda: SparkContext(conf=configuration))
    except TimeoutError:
        SparkContext._gateway.proc.kill()
        SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None
        raise UserError(
            f"beam.options: '{cluster.master}' did not accept this application within {_REGISTER_SECONDS} s. "
            f"It must be a master of the Spark version that is installed here, {_version()}"
        ) from None


def _properties(master: str) -> Mapping[str, str]:
    environment = {f"spark.executorEnv.{name}": os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    # A user interface of the application would listen on all interfaces.
    found = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", **environment}
    if not master.startswith("spark://") or master.removeprefix("spark://").startswith(_LOOPBACK):
        found |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    return found


def _version() -> str:
    import pyspark

    return pyspark.__version__


def _within(seconds: float, work: Callable[[], Any]) -> Any:
    """Return what a function returns.

    Raises:
        TimeoutError: it takes longer; its thread goes on.
    """
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError
    if errors:
        raise errors[0]
    return results[0]


@dataclass(frozen=True)
class _Check:
    agreement: Agreement

    def __call__(self, elements: Iterable[Any]) -> None:
        del elements
        with marking_user_errors():
            self.agreement.check()
