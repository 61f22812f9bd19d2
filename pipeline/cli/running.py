"""Commands that run stages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dermrobust.pipeline.cli.options import config_from, config_option, json_option, set_option, user_errors
from dermrobust.pipeline.cli.terminal import echo_json
from dermrobust.pipeline.stages import STAGES

if TYPE_CHECKING:
    from dermrobust.components.progress import Progress
    from dermrobust.pipeline.config import PipelineConfig
    from dermrobust.pipeline.outcomes import RunResult

_SHORT = {
    "ingest": "Read images and metadata; split them by lesion.",
    "preprocess": "Resize the images to the input of the network.",
    "train": "Train the baseline and the online defences.",
    "augment": "Craft adversarial examples; train the static defences.",
    "evaluate": "Attack every model, measure it, apply the gate.",
    "export": "Export the blessed model as a SavedModel.",
}
"""Summaries of the stages in the list of commands, which cuts longer ones."""
_ABOUT = {
    "ingest": "Read images and metadata, split them by group, and quarantine unusable records.",
    "preprocess": "Decode, crop and resize the images to the input size of the network.",
    "train": "Train the baseline, and the models that are hardened while they train.",
    "augment": "Craft adversarial examples on the baseline, and train hardened models on them.",
    "evaluate": "Attack every model through its own gradients, slice the metrics, and apply the gate.",
    "export": "Export the blessed model as a SavedModel; exit code 3 if it is not blessed.",
}
_stage = click.Choice(STAGES)


@click.command(short_help="Run the pipeline; unchanged work is not repeated.")
@config_option
@set_option
@click.option(
    "--from", "first", type=_stage, default=STAGES[0], help="First stage; the outputs of earlier stages must exist."
)
@click.option("--to", "last", type=_stage, default=STAGES[-1], help="Last stage.")
@click.option("--force", is_flag=True, help="Repeat the work of these stages even if nothing changed.")
@json_option
@user_errors
def run(
    config_path: Path | None, overrides: tuple[str, ...], first: str, last: str, force: bool, as_json: bool
) -> None:
    """Run the pipeline, or a part of it; unchanged work is not repeated."""
    _run(config_path, overrides, first, last, force, as_json)


def stage_commands() -> list[click.Command]:
    """Return a command for each stage."""
    return [_stage_command(stage) for stage in STAGES]


def _stage_command(stage: str) -> click.Command:
    @click.command(stage, short_help=_SHORT[stage], help=f"{_ABOUT[stage]} Uses the outputs of earlier stages.")
    @config_option
    @set_option
    @click.option("--force", is_flag=True, help="Repeat the work even if nothing changed.")
    @json_option
    @user_errors
    def command(config_path: Path | None, overrides: tuple[str, ...], force: bool, as_json: bool) -> None:
        _run(config_path, overrides, stage, stage, force, as_json)

    return command


def _run(
    config_path: Path | None, overrides: tuple[str, ...], first: str, last: str, force: bool, as_json: bool
) -> None:
    from dermrobust.attacks.errors import UserError

    if STAGES.index(first) > STAGES.index(last):
        raise UserError(f"--from {first} comes after --to {last}; the stages are {', '.join(STAGES)}")
    config = config_from(config_path, overrides)
    from dermrobust.pipeline.cli.progress import with_progress

    def work(progress: Progress) -> RunResult:
        from dermrobust.pipeline.runner import run_pipeline

        return run_pipeline(config, progress, first=first, last=last, force=force)

    result = with_progress(config, work)
    _print_result(config, result, as_json)
    sys.exit(result.exit_code)


def _print_result(config: PipelineConfig, result: RunResult, as_json: bool) -> None:
    from dermrobust.pipeline.cli.results import print_places, print_summary, print_verdict, report_of, run_summary

    page = report_of(config, result)
    if as_json:
        echo_json(run_summary(config, result, page))
        return
    print_summary(result)
    print_places(result, page)
    print_verdict(config, result)
