"""Command that trains models for several seeds."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dermrobust.pipeline.cli.options import config_from, config_option, json_option, set_option, user_errors
from dermrobust.pipeline.cli.terminal import echo_json

if TYPE_CHECKING:
    from dermrobust.components.progress import Progress
    from dermrobust.pipeline.sweep import SweepResult


@click.command(short_help="Train every model for several seeds, side by side.")
@config_option
@set_option
@click.option("--seeds", required=True, metavar="SEEDS", help="Seeds of training: 0,1,2.")
@click.option("--models", metavar="NAMES", help="Models of the config: vanilla,fast; default: all.")
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for the table, a row for each model and seed.",
)
@json_option
@user_errors
def sweep(
    config_path: Path | None,
    overrides: tuple[str, ...],
    seeds: str,
    models: str | None,
    csv_path: Path | None,
    as_json: bool,
) -> None:
    """Train every model of the config for several seeds, and print validation figures of all.

    Each training is a unit of work for the Beam runner. Finished ones are not repeated, interrupted ones go on from
    their last epoch, and a failure stops only what needs the failed model.
    """
    from dermrobust.pipeline.cli.progress import with_progress

    config = config_from(config_path, overrides)
    wanted = _seeds(seeds)

    def work(progress: Progress) -> SweepResult:
        from dermrobust.pipeline.sweep import run_sweep

        return run_sweep(config, progress, seeds=wanted, models=None if models is None else _names(models))

    result = with_progress(config, work)
    _print(result, csv_path, as_json)
    sys.exit(result.exit_code)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _seeds(text: str) -> list[int]:
    from dermrobust.attacks.errors import UserError

    try:
        return [int(name) for name in _names(text)]
    except ValueError:
        raise UserError(f"--seeds {text}: expected whole numbers with commas between them, such as 0,1,2") from None


def _print(result: SweepResult, csv_path: Path | None, as_json: bool) -> None:
    """Print the models of all seeds, and write them to a file if there is one."""
    from dermrobust.pipeline.sweep_figures import spreads, trained_models, write_csv

    models = trained_models(result)
    if as_json:
        over_seeds = {
            model: {name: asdict(spread) for name, spread in figures.items()}
            for model, figures in spreads(models).items()
        }
        runs = {str(seed): run.run for seed, run in result.runs.items()}
        rows = [each.row() for each in models]
        values = {"exit_code": result.exit_code, "runs": runs, "models": rows, "over_seeds": over_seeds}
        echo_json(values)
    elif models:
        from dermrobust.pipeline.cli.sweep_output import print_sweep

        print_sweep(models)
    # Last: a file that cannot be written must not hide the figures.
    if csv_path is not None and models:
        write_csv(models, csv_path)
