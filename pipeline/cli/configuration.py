"""Commands that validate and describe the config."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dermrobust.pipeline.cli.options import config_from, config_option, json_option, set_option, user_errors


@click.group()
def config() -> None:
    """Validate a config, or describe its keys."""


@config.command()
@config_option
@set_option
@json_option
@user_errors
def validate(config_path: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Validate a config; with --json, print it with all defaults filled in."""
    checked = config_from(config_path, overrides)
    if as_json:
        click.echo(checked.model_dump_json(indent=1))
        return
    from dermrobust.pipeline.config_checks import uncovered_budgets, uncovered_threats

    click.echo("the config is valid")
    if budgets := (*uncovered_budgets(checked.evaluate), *uncovered_threats(checked.evaluate)):
        click.echo(f"note: no threshold of the gate covers {', '.join(map(str, budgets))}: a model may fall there")


@config.command()
@user_errors
def schema() -> None:
    """Print the JSON schema of the config: every key with its default, bounds and description."""
    from dermrobust.pipeline.config import PipelineConfig

    click.echo(json.dumps(PipelineConfig.model_json_schema(), indent=1))
