"""Commands that show runs and their results."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dermrobust.pipeline.cli.options import config_from, config_option, json_option, set_option, user_errors


@click.command()
@config_option
@set_option
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Number of runs.")
@json_option
@user_errors
def runs(config_path: Path | None, overrides: tuple[str, ...], limit: int, as_json: bool) -> None:
    """List the latest runs and the outcome of each stage."""
    config = config_from(config_path, overrides)
    from dermrobust.pipeline.history import recent_runs

    listed = recent_runs(config, limit)
    if as_json:
        click.echo(json.dumps(listed, indent=1))
    else:
        from rich.console import Console

        from dermrobust.pipeline.cli.results import runs_table

        Console().print(runs_table(listed))


@click.group()
def show() -> None:
    """Show results."""


@show.command()
@config_option
@set_option
@click.option("--run", "run_id", help="Id of a run; default: the latest with an evaluation.")
@click.option("--slice", "slices", multiple=True, help="Only these slices, such as dx=mel; 'overall' for all images.")
@json_option
@user_errors
def metrics(
    config_path: Path | None, overrides: tuple[str, ...], run_id: str | None, slices: tuple[str, ...], as_json: bool
) -> None:
    """Print metrics by model, attack and slice."""
    config = config_from(config_path, overrides)
    from dermrobust.pipeline.history import evaluation_rows

    rows = evaluation_rows(config, run_id)
    if slices:
        rows = [row for row in rows if row["slice"] in slices]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        from dermrobust.pipeline.cli.results import metrics_listing

        click.echo(metrics_listing(rows))
