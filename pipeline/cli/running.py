"""Commands that run stages."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from dermrobust.pipeline.cli.options import config_from, config_option, json_option, set_option, user_errors
from dermrobust.pipeline.stages import STAGES

_ABOUT = {
    "ingest": "Read images and metadata, split them by lesion, set aside what cannot be used.",
    "preprocess": "Decode, crop and resize the images to what the network sees.",
    "train": "Train the baseline, and the models that are hardened while they train.",
    "augment": "Craft adversarial examples against the baseline, and train the hardened models on them.",
    "evaluate": "Attack every model through its own gradients, slice the metrics, and hold the gate.",
    "export": "Export the blessed model as a SavedModel; exit code 3 when it is not blessed.",
}
_stage = click.Choice(STAGES)


@click.command()
@config_option
@set_option
@click.option(
    "--from", "first", type=_stage, default=STAGES[0], help="Begin here; what it needs must be there already."
)
@click.option("--to", "last", type=_stage, default=STAGES[-1], help="End here.")
@click.option("--force", is_flag=True, help="Do the work of these stages again even if nothing changed.")
@json_option
@user_errors
def run(
    config_path: Path | None, overrides: tuple[str, ...], first: str, last: str, force: bool, as_json: bool
) -> None:
    """Run the whole pipeline, or a part of it; unchanged work is not done again."""
    _run(config_path, overrides, first, last, force, as_json)


def stage_commands() -> list[click.Command]:
    """Return a command for each stage."""
    return [_stage_command(stage) for stage in STAGES]


def _stage_command(stage: str) -> click.Command:
    @click.command(stage, help=f"{_ABOUT[stage]} Uses what earlier stages left.")
    @config_option
    @set_option
    @click.option("--force", is_flag=True, help="Do the work again even if nothing changed.")
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
    from rich.console import Console

    from dermrobust.pipeline.cli.library_output import library_output_to
    from dermrobust.pipeline.cli.progress import progress_on
    from dermrobust.pipeline.local_files import library_log

    with library_output_to(library_log(config)) as stderr:
        from dermrobust.pipeline.runner import run_pipeline

        progress = progress_on(Console(file=stderr))
        result = run_pipeline(config, progress, first=first, last=last, force=force)
    for node in result.nodes:
        if node.message and node.status in ("failed", "refused"):
            click.echo(f"error: {node.message}", err=True)
    _print_result(config, result, as_json)
    sys.exit(result.exit_code)


def _print_result(config: Any, result: Any, as_json: bool) -> None:
    from dermrobust.pipeline.cli.results import print_places, print_summary, report_of, run_summary

    page = report_of(config, result)
    if as_json:
        click.echo(json.dumps(run_summary(config, result, page), indent=1))
        return
    print_summary(result)
    print_places(result, page)
