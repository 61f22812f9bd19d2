"""Beam's local job service, whose jobs have as many workers as `--direct_num_workers` says.

Beam 2.77 reads that option where a runner is given a pipeline, not where the service is: its jobs have one worker.
"""

from __future__ import annotations

import signal
import sys

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability import local_job_service_main
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner, RunnerResult

_run = FnApiRunner.run_via_runner_api


def run_with_workers(
    runner: FnApiRunner, pipeline: beam_runner_api_pb2.Pipeline, options: PipelineOptions
) -> RunnerResult:
    """Run a pipeline with the number of workers of its options, which reach the service as text."""
    runner._num_workers = int(options.view_as(DirectOptions).direct_num_workers)
    return _run(runner, pipeline, options)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    FnApiRunner.run_via_runner_api = run_with_workers
    local_job_service_main.run(sys.argv[1:])
