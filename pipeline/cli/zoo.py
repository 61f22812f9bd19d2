"""Commands for the zoo: the trained models that come with the package."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dermrobust.pipeline.cli.options import json_option, user_errors
from dermrobust.pipeline.cli.terminal import echo, echo_json, echo_lines

if TYPE_CHECKING:
    from dermrobust.components.progress import Progress
    from dermrobust.pipeline.outcomes import RunResult

zoo_option = click.option(
    "--zoo",
    "zoo_path",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of another zoo; default: the models that come with the package.",
)


@click.group()
def zoo() -> None:
    """List, show, verify and add trained models with model cards."""


@zoo.command("list")
@zoo_option
@json_option
@user_errors
def list_models(zoo_path: Path | None, as_json: bool) -> None:
    """List the models with their headline figures."""
    from dermrobust.pipeline.zoo.catalog import read_cards, zoo_folder

    folder = zoo_folder(zoo_path)
    cards = read_cards(folder)
    if as_json:
        echo_json([card.model_dump(mode="json") for card in cards])
    elif not cards:
        echo(f"the zoo '{folder}' has no models yet")
    else:
        from dermrobust.pipeline.cli.zoo_output import cards_listing

        echo_lines(cards_listing(cards))


@zoo.command()
@click.argument("name")
@zoo_option
@json_option
@user_errors
def show(name: str, zoo_path: Path | None, as_json: bool) -> None:
    """Print the model card of a model; NAME is "ham10000/robust", or "robust" where that is unique."""
    from dermrobust.pipeline.zoo.card_text import render_card_text
    from dermrobust.pipeline.zoo.catalog import model_folder, read_card, zoo_folder

    card = read_card(model_folder(zoo_folder(zoo_path), name))
    if as_json:
        echo_json(card.model_dump(mode="json"))
    else:
        echo_lines(render_card_text(card), nl=False)


@zoo.command()
@click.argument("name", required=False)
@zoo_option
@user_errors
def verify(name: str | None, zoo_path: Path | None) -> None:
    """Check the digests of all files of a model, or of every model; exit code 2 if one differs."""
    from dermrobust.attacks.errors import UserError
    from dermrobust.pipeline.zoo.catalog import folders, model_folder, zoo_folder
    from dermrobust.pipeline.zoo.verifying import verify_folder

    folder = zoo_folder(zoo_path)
    chosen = (model_folder(folder, name),) if name else folders(folder)
    problems = []
    for each in chosen:
        try:
            card = verify_folder(each)
        except UserError as error:
            problems.append(str(error))
        else:
            echo(f"{card.full_name}: {len(card.files) + 1} files are as the card says")
    if problems:
        raise UserError("\n".join(problems))
    if not chosen:
        echo(f"the zoo '{folder}' has no models yet")


@zoo.command()
@click.argument("root")
@click.argument("model")
@click.argument("name")
@zoo_option
@click.option("--run", "run_id", help="A run's id; default: the latest with an evaluation.")
@click.option("--machine", help="Machine of the training; default: this one.")
@click.option("--minutes", type=click.FloatRange(0), help="Duration of the training; default: that of its execution.")
@click.option("--commit", help="Commit of the training; default: that of this checkout.")
@click.option("--license", help="License of the weights (SPDX); default: that of the images.")
@click.option("--allow-failed-checks", is_flag=True, help="Add the model although self-checks failed.")
@click.option("--replace", is_flag=True, help="Replace a model of this name.")
@user_errors
def add(
    root: str,
    model: str,
    name: str,
    zoo_path: Path | None,
    run_id: str | None,
    machine: str | None,
    minutes: float | None,
    commit: str | None,
    license: str | None,
    allow_failed_checks: bool,
    replace: bool,
) -> None:
    """Add a model of a finished run: MODEL of the run below ROOT becomes NAME.

    Weights, config and figures are those of the run; the model card is made from them.
    """
    from dermrobust.pipeline.cli.library_output import library_output_to
    from dermrobust.pipeline.zoo.catalog import zoo_folder

    folder = zoo_folder(zoo_path)
    # Not to the log of the root, which may not exist: nothing must be written to it.
    with tempfile.TemporaryDirectory() as log, library_output_to(Path(log, "libraries.log")):
        from dermrobust.pipeline.zoo.adding import add_model
        from dermrobust.pipeline.zoo.drafting import Stated

        stated = Stated(machine=machine, minutes=minutes, commit=commit, license=license)
        flags = {"allow_failed_checks": allow_failed_checks, "replace": replace}
        added = add_model(root, model, name, folder, run=run_id, stated=stated, **flags)
    echo(added)


@zoo.command()
@click.argument("name")
@click.argument("root")
@zoo_option
@click.option("--run", "run_id", help="Id of the audit's run; default: the latest with an evaluation.")
@click.option("--allow-failed-checks", is_flag=True, help="Add the figures although self-checks failed.")
@user_errors
def extend(name: str, root: str, zoo_path: Path | None, run_id: str | None, allow_failed_checks: bool) -> None:
    """Add the budgets of an audit below ROOT to the card of model NAME.

    The audit is one of that model on its own test split, with the attacks of its card.
    """
    from dermrobust.attacks.threat import Norm
    from dermrobust.pipeline.zoo.catalog import model_folder, zoo_folder
    from dermrobust.pipeline.zoo.extending import extend_card

    folder = model_folder(zoo_folder(zoo_path), name)
    card = extend_card(folder, root, run=run_id, allow_failed_checks=allow_failed_checks)
    norm = Norm(card.evaluation.norm)
    echo(f"{card.full_name}: budgets {', '.join(map(norm.written, card.epsilons))} ({norm})")


@zoo.command()
@click.argument("name")
@click.argument("output", type=click.Path(path_type=Path, file_okay=False))
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the data set's raw files (ingest.path).")
@zoo_option
@user_errors
def split(name: str, output: Path, data: Path | None, zoo_path: Path | None) -> None:
    """Write the test images that a model never saw, with their labels, to OUTPUT, for an audit."""
    from dermrobust.pipeline.cli.progress import with_progress
    from dermrobust.pipeline.zoo.catalog import model_folder, zoo_folder
    from dermrobust.pipeline.zoo.split_config import split_config

    folder = model_folder(zoo_folder(zoo_path), name)
    # The data set that the images are taken from is as large as the raw files, and nobody needs it afterwards.
    with tempfile.TemporaryDirectory() as root:
        config = split_config(folder, root, data)

        def work(progress: Progress) -> RunResult:
            from dermrobust.pipeline.runner import run_pipeline

            return run_pipeline(config, progress, first="ingest", last="ingest", force=False)

        result = with_progress(config, work)
        if result.exit_code:
            sys.exit(result.exit_code)
        from dermrobust.pipeline.zoo.split import write_verified_split

        for path in write_verified_split(folder, result, output):
            echo(path)
