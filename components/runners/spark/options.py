"""Beam options of the Spark runner."""

from __future__ import annotations

from argparse import ArgumentParser

from apache_beam.options.pipeline_options import PipelineOptions


class SparkOptions(PipelineOptions):
    """Options of the Spark runner; Beam's option parser finds them here."""

    @classmethod
    def _add_argparse_args(cls, parser: ArgumentParser) -> None:
        parser.add_argument("--spark_master", help="URL of the master, such as spark://127.0.0.1:7077.")
        parser.add_argument(
            "--spark_conf",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="Property of Spark, such as spark.executor.memory=2g; may be repeated.",
        )
