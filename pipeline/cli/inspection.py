"""Commands that show runs and their results."""

from __future__ import annotations

from pathlib import Path

import click

from dermrobust.pipeline.cli.options import config_from, config_option, json_option, set_option, user_errors
from dermrobust.pipeline.cli.terminal import echo, echo_json, echo_lines


@click.group(short_help="List the latest runs; delete some.", invoke_without_command=True)
@config_option
@set_option
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Number of runs.")
@json_option
@click.pass_context
@user_errors
def runs(
    context: click.Context, config_path: Path | None, overrides: tuple[str, ...], limit: int, as_json: bool
) -> None:
    """List the latest runs and the outcome of each stage."""
    if context.invoked_subcommand is not None:
        return
    config = config_from(config_path, overrides)
    from dermrobust.pipeline.history import recent_runs

    listed = recent_runs(config, limit)
    if as_json:
        echo_json(listed)
    else:
        from dermrobust.pipeline.cli.console import Console
        from dermrobust.pipeline.cli.results import runs_table

        Console().print(runs_table(listed))


@runs.command(short_help="Delete runs from the ledger.")
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@config_option
@set_option
@user_errors
def delete(names: tuple[str, ...], config_path: Path | None, overrides: tuple[str, ...]) -> None:
    """Delete runs from the ledger. `dermrobust gc --delete` then deletes the artifacts that no other run reaches."""
    from dermrobust.pipeline.garbage import forget

    forget(config_from(config_path, overrides), names)
    echo(f"{len(names)} deleted; what they alone used is shown by: dermrobust gc")


@click.command(short_help="Show and delete what no run reaches.")
@click.option("--delete", "deleted", is_flag=True, help="Delete it; without this option it is only shown.")
@click.option("--only-user", is_flag=True, help="Confirm that all runs in a root on an object store started here.")
@config_option
@set_option
@json_option
@user_errors
def gc(deleted: bool, only_user: bool, config_path: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show what no recorded run reaches: artifacts, unfinished work and damaged results, with their sizes.

    A run that was interrupted goes on from its unfinished work, so let it end before you delete that. Runs that were
    started in another folder or on another machine, in the same root on an object store, are not known here.
    """
    from dermrobust.pipeline.garbage import collect, disk_use

    config = config_from(config_path, overrides)
    found = collect(config, only_user=only_user) if deleted else disk_use(config)
    if as_json:
        items = [{"place": item.place, "reason": item.reason, "bytes": item.size} for item in found.garbage]
        echo_json({"kept": found.kept, "garbage": items, "deleted": deleted})
        return
    for item in found.garbage:
        echo(f"{_size(item.size):>10}  {item.reason:<18}  {item.place}")
    what = "deleted" if deleted else "can be deleted with --delete"
    echo(f"{_size(found.kept)} used by runs, {_size(found.freed)} {what}")


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


@click.group()
def show() -> None:
    """Show results."""


@show.command()
@config_option
@set_option
@click.option("--run", "run_id", help="Id of a run; default: the latest with an evaluation.")
@click.option("--model", multiple=True, help="Only these models.")
@click.option("--attack", multiple=True, help="Only these attacks; 'none' for clean images.")
@click.option(
    "--epsilon", multiple=True, type=float, help="Only these budgets in 1/255, under L0 in pixels; 0 for clean images."
)
@click.option("--metric", multiple=True, help="Only these metrics, such as balanced_accuracy.")
@click.option(
    "--slice",
    "slices",
    multiple=True,
    help="Slices, such as dx=mel, or dx for every class; default: overall, that is all images.",
)
@click.option("--all", "every_slice", is_flag=True, help="All slices.")
@json_option
@user_errors
def metrics(
    config_path: Path | None,
    overrides: tuple[str, ...],
    run_id: str | None,
    slices: tuple[str, ...],
    every_slice: bool,
    as_json: bool,
    **columns: tuple[str | float, ...],
) -> None:
    """Print metrics by model, attack and slice.

    Options with several values are given several times: --model vanilla --model fast.
    """
    config = config_from(config_path, overrides)
    from dermrobust.components.evaluation.schemas import OVERALL
    from dermrobust.pipeline.cli.filters import RowFilter
    from dermrobust.pipeline.history import evaluation_rows

    chosen = RowFilter(
        {name: values for name, values in columns.items() if values},
        slices=None if every_slice else slices or (OVERALL,),
    )
    rows = chosen.apply(evaluation_rows(config, run_id))
    if as_json:
        echo_json(rows)
    else:
        from dermrobust.pipeline.cli.results import metrics_listing

        echo_lines(metrics_listing(rows))
