"""Options shared by commands, and the handling of user errors."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dermrobust.pipeline.cli.terminal import echo_error

if TYPE_CHECKING:
    from dermrobust.pipeline.config import PipelineConfig

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Config file; default: pipeline_config.json in the current folder, otherwise the embedded default.",
)
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key: --set evaluate.epsilons=[1,2]."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable results on stdout.")


def user_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command to end with one message and exit code 2 for a `UserError`, or what the system refuses."""

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        from dermrobust.attacks.errors import UserError

        try:
            return command(*args, **kwargs)
        except UserError as error:
            echo_error(error)
            sys.exit(2)
        except Exception as error:
            from dermrobust.pipeline.failures import store_refusal, system_refusal

            refusal = (system_refusal(error) if isinstance(error, OSError) else None) or store_refusal(error)
            if refusal is None:
                raise
            echo_error(refusal)
            sys.exit(2)

    return guarded


def config_from(path: Path | None, overrides: tuple[str, ...]) -> PipelineConfig:
    """Return the config that the options select."""
    from dermrobust.pipeline.config_files import load_config

    return load_config(path, overrides)
