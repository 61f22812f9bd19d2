"""Commands that validate and describe the config."""

from __future__ import annotations

from pathlib import Path

import click

from dermrobust.pipeline.cli.options import config_from, config_option, json_option, set_option, user_errors
from dermrobust.pipeline.cli.terminal import echo, echo_json


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
        echo_json(checked.model_dump(mode="json"))
        return
    from dermrobust.pipeline.config_checks import uncovered_budgets, uncovered_threats

    echo("the config is valid")
    if budgets := (*uncovered_budgets(checked.evaluate), *uncovered_threats(checked.evaluate)):
        echo(f"note: no threshold of the gate covers {', '.join(map(str, budgets))}: a model may fall there")


@config.command()
@user_errors
def schema() -> None:
    """Print the JSON schema of the config: every key with its default, bounds and description."""
    from dermrobust.pipeline.config import PipelineConfig

    echo_json(PipelineConfig.model_json_schema())
