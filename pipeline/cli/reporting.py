"""Commands that write what a run found for people to read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dermrobust.pipeline.cli.options import config_from, config_option, json_option, set_option, user_errors
from dermrobust.pipeline.cli.terminal import echo, echo_json

if TYPE_CHECKING:
    from rich.table import Table

    from dermrobust.components.evaluation.rows import Figure
    from dermrobust.pipeline.report.comparing import Compared

_output = click.Path(path_type=Path, dir_okay=False)


@click.command(short_help="Write the report of a run as one HTML page.")
@config_option
@set_option
@click.option("--run", "run_id", help="A run's id; default: the latest with an evaluation.")
@click.option("--output", type=_output, help="The page; default: <root>/report/report.html. The card goes beside it.")
@user_errors
def report(config_path: Path | None, overrides: tuple[str, ...], run_id: str | None, output: Path | None) -> None:
    """Write the report of a run as one HTML page, and a model card beside it."""
    config = config_from(config_path, overrides)
    from dermrobust.pipeline.reporting import REPORT, report_folder, write_report

    page = output or report_folder(config) / REPORT
    for path in write_report(config, run_id, page.parent, page.name):
        echo(path)


@click.command("open", short_help="Show the report of a run in the browser.")
@config_option
@set_option
@click.option("--run", "run_id", help="A run's id; default: the latest with an evaluation.")
@user_errors
def open_report(config_path: Path | None, overrides: tuple[str, ...], run_id: str | None) -> None:
    """Write the report of a run, print its address and open it in the browser."""
    config = config_from(config_path, overrides)
    from dermrobust.pipeline.reporting import report_folder, write_report

    page, _ = write_report(config, run_id, report_folder(config))
    echo(page.resolve().as_uri())
    if click.launch(page.resolve().as_uri()):
        echo("there is no browser here; open the address above", err=True)


@click.command(short_help="Log a finished run to MLflow.")
@config_option
@set_option
@click.option("--run", "run_id", help="A run's id; default: the latest with an evaluation.")
@click.option("--uri", envvar="MLFLOW_TRACKING_URI", show_envvar=True, help="Tracking server: http://127.0.0.1:5000")
@click.option("--experiment", default="dermrobust", show_default=True, help="Name of the experiment; it is created.")
@user_errors
def track(
    config_path: Path | None, overrides: tuple[str, ...], run_id: str | None, uri: str | None, experiment: str
) -> None:
    """Log a finished run to MLflow: parameters, figures by slice, report, model card and exported model.

    A run that was logged before is not logged again.
    """
    config = config_from(config_path, overrides)
    from dermrobust.pipeline.tracking import mlflow

    tracked = mlflow.track(config, run_id, uri=uri, experiment=experiment)
    echo(f"{'logged' if tracked.new else 'logged before'}: experiment {tracked.experiment}, run {tracked.run}")


@click.command(short_help="Show two runs side by side.")
@click.argument("first")
@click.argument("second")
@config_option
@set_option
@click.option("--output", type=_output, help="Write the comparison as an HTML page, too.")
@json_option
@user_errors
def compare(
    first: str,
    second: str,
    config_path: Path | None,
    overrides: tuple[str, ...],
    output: Path | None,
    as_json: bool,
) -> None:
    """Show two runs side by side, and say whether they can be compared.

    FIRST and SECOND are ids of runs; ROOT:ID names a run of another root, and a root by itself its latest evaluation.
    """
    config = config_from(config_path, overrides)
    from dermrobust.pipeline.comparing import compare_runs, write_comparison

    compared = compare_runs(config, first, second)
    if output is not None:
        write_comparison(compared, output)
    if as_json:
        echo_json(_as_json(compared))
        return
    from dermrobust.pipeline.cli.console import Console

    console = Console()
    for difference in compared.differences:
        console.print(f"not comparable: {difference}", soft_wrap=True)
    console.print(f"first:  {compared.first.name}\nsecond: {compared.second.name}")
    from dermrobust.pipeline.report import wording

    for metric in wording.metrics_for("terminal", compared.first.evaluation.metrics):
        console.print(_table(compared, metric))
    if output is not None:
        echo(output)


def _as_json(compared: Compared) -> dict[str, Any]:
    return {
        "first": compared.first.lineage.run,
        "second": compared.second.lineage.run,
        "comparable": compared.comparable,
        "differences": list(compared.differences),
        "figures": [
            {
                **pair.place._asdict(),
                "first": None if pair.first is None else pair.first.value,
                "second": None if pair.second is None else pair.second.value,
                "change": pair.change,
                "intervals_overlap": pair.overlap,
            }
            for pair in compared.pairs
        ],
    }


def _table(compared: Compared, metric: str) -> Table:
    from rich import box
    from rich.table import Table

    from dermrobust.pipeline.report import wording

    title = f"{wording.metric(metric).label} of all test images; change: second minus first"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    table.add_column("attack", no_wrap=True)
    for name in ("first", "second", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("95 %", no_wrap=True)
    norm, model = compared.first.evaluation.about.norm, None
    for pair in compared.pairs:
        place = pair.place
        if place.metric == metric:
            if place.model != model:
                model = place.model
                table.add_section()
                table.add_row(model, style="bold")
            attack = (
                "  "
                + place.attack
                + (f" {wording.budget_under(place.attack, place.epsilon, norm)}" if place.epsilon else "")
            )
            figures = (_figure(pair.first), _figure(pair.second), wording.signed(pair.change))
            table.add_row(attack, *figures, pair.says.removeprefix("intervals ").removeprefix("only in "))
    return table


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    interval = f" [{figure.lower:.2f}, {figure.upper:.2f}]" if figure.has_interval else ""
    return f"{figure.value:.3f}{interval}"
