"""Beam runner on Apache Spark, through PySpark: no job server."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import RunnerResult
from apache_beam.runners.runner import PipelineRunner
from apache_beam.transforms.environments import EmbeddedPythonEnvironment, Environment

from dermrobust.attacks.errors import UserError
from dermrobust.components.runners.spark.connection import Cluster, connected
from dermrobust.components.runners.spark.jobs import Jobs
from dermrobust.components.runners.spark.options import SparkOptions
from dermrobust.components.runners.spark.refusals import refuse_unsupported
from dermrobust.components.runners.spark.stages import Graph


def create(options: Sequence[str], root: str | None) -> PySparkRunner:
    """Return the runner.

    Args:
        options: Beam's options, with `--spark_master`.
        root: folder or URI that all machines must share; None: files are not shared.

    Raises:
        UserError: PySpark is not installed, or an option is missing or unknown.
    """
    if importlib.util.find_spec("pyspark") is None:
        raise UserError(
            "beam.runner: PySparkRunner needs pyspark, which is not installed: pip install 'dermrobust[spark]'"
        )
    return PySparkRunner(_cluster(options), root)


class PySparkRunner(PipelineRunner):
    """Runs bounded pipelines of the global window as jobs of a Spark cluster.

    Beam's optimizer makes stages out of the graph, and Beam's own bundle processor runs them in Spark's Python workers;
    Spark moves the elements, schedules and repeats.

    Args:
        cluster: the cluster.
        root: folder or URI that all machines must share, or None.
    """

    def __init__(self, cluster: Cluster, root: str | None = None) -> None:
        self._cluster, self._root = cluster, root

    def default_environment(self, options: PipelineOptions) -> Environment:
        """Return the environment of the workers: the Python that Spark starts."""
        del options
        return EmbeddedPythonEnvironment.default()

    def run_portable_pipeline(self, pipeline: beam_runner_api_pb2.Pipeline, options: PipelineOptions) -> RunnerResult:
        """Run a pipeline to its end.

        Raises:
            UserError: the pipeline is not supported, the cluster cannot be used, or a worker raised it.
            SparkJobError: a worker raised another error.
        """
        del options
        refuse_unsupported(pipeline)
        connection = connected(self._cluster)
        return Jobs(connection.context, Graph(pipeline), connection.agreement(self._root)).run()


def _cluster(options: Sequence[str]) -> Cluster:
    known = PipelineOptions(list(options))
    unknown = _unknown(options)
    if unknown:
        raise UserError(f"beam.options: unknown options: {' '.join(unknown)}. See docs/scaling.md")
    spark = known.view_as(SparkOptions)
    if not spark.spark_master:
        raise UserError(
            'beam.options: PySparkRunner needs the cluster: beam.options=["--spark_master=spark://host:7077"]'
        )
    properties = [text.partition("=") for text in spark.spark_conf]
    if wrong := [key for key, separator, _ in properties if not separator]:
        raise UserError(f"beam.options: --spark_conf takes KEY=VALUE, found '{wrong[0]}'")
    return Cluster(spark.spark_master, tuple((key, value) for key, _, value in properties))


def _unknown(options: Sequence[str]) -> list[str]:
    """Return the options that Beam's parser would ignore."""
    from apache_beam.options.pipeline_options import _BeamArgumentParser

    parser = _BeamArgumentParser()
    classes = {each for each in PipelineOptions.__subclasses__() if each.__module__.startswith("apache_beam.options")}
    for each in sorted({*classes, SparkOptions}, key=lambda each: each.__name__):
        each._add_argparse_args(parser)
    return list(parser.parse_known_args(list(options))[1])
