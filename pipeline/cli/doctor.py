"""Command that checks whether this machine can run the pipeline."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dermrobust.pipeline.cli.options import config_from, config_option, json_option, set_option, user_errors
from dermrobust.pipeline.cli.terminal import echo, echo_json


@click.command(short_help="Check this machine, and run a small pipeline on it.")
@config_option
@set_option
@click.option("--quick", is_flag=True, help="Skip the self-test, which takes about a minute.")
@json_option
@user_errors
def doctor(config_path: Path | None, overrides: tuple[str, ...], quick: bool, as_json: bool) -> None:
    """Check versions, memory, disk and the Beam runner, and run a small pipeline as a self-test."""
    config = config_from(config_path, overrides)
    from dermrobust.pipeline.cli.library_output import library_output_to
    from dermrobust.pipeline.local_files import library_log

    findings = []
    with library_output_to(library_log(config)) as stderr:
        from dermrobust.pipeline.cli.console import Console
        from dermrobust.pipeline.cli.progress import progress_on
        from dermrobust.pipeline.diagnosis import diagnose

        for finding in diagnose(config, progress_on(Console(file=stderr)), self_test=not quick):
            findings.append(finding)
            if not as_json:
                echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.name}: {finding.detail}")
    if as_json:
        echo_json([finding.__dict__ for finding in findings])
    if not all(finding.ok for finding in findings):
        sys.exit(1)
