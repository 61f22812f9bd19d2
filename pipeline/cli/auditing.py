"""The command that evaluates a user's own model on the user's own images."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dermrobust.pipeline.cli.options import json_option, user_errors

if TYPE_CHECKING:
    from dermrobust.pipeline.audit import Audit
    from dermrobust.pipeline.outcomes import RunResult

_there = click.Path(path_type=Path, exists=False)


@click.command()
@click.option("--model", required=True, type=_there, help="A .keras file, or the folder of a SavedModel.")
@click.option("--data", required=True, type=_there, help="Folder of images.")
@click.option(
    "--labels",
    required=True,
    type=_there,
    help="Table with image_id and dx (also lesion_id, age, sex, localization), or with a column for each class.",
)
@click.option("--control", type=_there, help="An undefended model, to compare with.")
@click.option("--suite", default="auto", show_default=True, help="Attacks: paper, standard or auto.")
@click.option("--epsilon", "epsilons", multiple=True, help='Budget, repeatable; default: "linf:1/255", 2, 4 and 8.')
@click.option("--batch-size", type=click.IntRange(1, 4096), default=64, show_default=True, help="Images a step.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of random starts.")
@click.option("--limit", type=click.IntRange(1), help="Use so many images, drawn at random.")
@click.option("--classes", help="Classes in the order of the model's outputs: a,b,c, or a JSON file with a list.")
@click.option("--malignant", help="Classes that must not be taken for benign ones: a,b.")
@click.option(
    "--input-size", help="Size of the input: 224, or 300x400 (height, width); default: as the model declares."
)
@click.option("--input-range", type=click.Choice(["0..1", "0..255", "-1..1"]), help="Values of black and white.")
@click.option("--mean", help="Subtracted then, for each channel: 0.485,0.456,0.406.")
@click.option("--std", help="Divided by then, for each channel: 0.229,0.224,0.225.")
@click.option("--outputs", type=click.Choice(["logits", "probabilities"]), help="What the model returns.")
@click.option("--signature", help="Signature of the SavedModel.")
@click.option("--output", "root", default="output/audit", show_default=True, help="Folder of results.")
@click.option("--force", is_flag=True, help="Do all work again even if nothing changed.")
@json_option
@user_errors
def audit(as_json: bool, force: bool, **options: Any) -> None:
    """Evaluate your own classifier on your own images, as the pipeline evaluates its models.

    What the model takes and returns is found out where it is not given, and said in the end. Options about input and
    outputs hold for the control, too.
    """
    from rich.console import Console

    from dermrobust.pipeline.cli.library_output import library_output_to
    from dermrobust.pipeline.cli.progress import progress_on
    from dermrobust.pipeline.config import PipelineConfig
    from dermrobust.pipeline.local_files import library_log

    wanted = _audit(options)
    config = PipelineConfig(root=wanted.root)
    with library_output_to(library_log(config)) as stderr:
        from dermrobust.pipeline.audit import run_audit

        result = run_audit(wanted, progress_on(Console(file=stderr)), force=force)
    for node in result.nodes:
        if node.message and node.status in ("failed", "refused"):
            click.echo(f"error: {node.message}", err=True)
    _print(config, wanted, result, as_json)
    sys.exit(result.exit_code)


def _audit(options: dict[str, Any]) -> Audit:
    """Return what the options ask for.

    Raises:
        UserError: an option's value does not fit.
    """
    from pydantic import ValidationError

    from dermrobust.attacks.errors import UserError
    from dermrobust.pipeline.audit import Audit
    from dermrobust.pipeline.config_errors import explain

    values = {
        **{name: options[name] for name in ("model", "data", "labels", "control", "root", "batch_size", "seed")},
        **{name: options[name] for name in ("limit", "outputs", "signature")},
        "attacks": options["suite"],
        "classes": _classes(options["classes"]),
        "malignant": _words(options["malignant"]),
        "image_size": _image_size(options["input_size"]),
        "input": _input(options),
    }
    if options["epsilons"]:
        values["epsilons"] = [float(text) if _is_number(text) else text for text in options["epsilons"]]
    try:
        return Audit.model_validate(values)
    except ValidationError as error:
        raise UserError(f"these options do not fit:\n{explain(error, Audit)}") from error


def _input(options: dict[str, Any]) -> dict[str, Any] | None:
    """Return how images are scaled; mean and standard deviation above 2 speak of 0 to 255."""
    given, mean, std = options["input_range"], _numbers("--mean", options["mean"]), _numbers("--std", options["std"])
    if given is None and mean is None and std is None:
        return None
    bytes_meant = mean is not None and max(mean) > 2.0
    return {"range": given or ("0..255" if bytes_meant else "0..1"), "mean": mean, "std": std}


def _image_size(text: str | None) -> int | list[int | str] | None:
    """Return a side, or height and width; parts that are no numbers are left to validation."""
    if text is None or text.isdecimal():
        return None if text is None else int(text)
    return [int(part) if part.isdecimal() else part for part in text.split("x")]


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    from dermrobust.attacks.errors import UserError

    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"{option} {text}: expected one number, or three with commas between them") from None


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(","))


def _classes(text: str | None) -> tuple[str, ...] | None:
    """Return class names of a list with commas, or of a JSON file."""
    from dermrobust.attacks.errors import UserError

    if text is None or not text.endswith(".json"):
        return _words(text)
    try:
        names = json.loads(Path(text).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--classes: '{text}' cannot be read as JSON: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"--classes: '{text}' must hold a list of names in the order of the model's outputs")
    return tuple(names)


def _print(config: Any, wanted: Audit, result: RunResult, as_json: bool) -> None:
    from dermrobust.components.foreign_files import ADOPTION, FOREIGN
    from dermrobust.models.foreign.spec import Adoption
    from dermrobust.pipeline.audit import ADOPTED, DATA
    from dermrobust.pipeline.cli.results import print_places, print_summary, report_of, run_summary

    outputs = {name: result.output(ADOPTED.format(name), "model") for name in wanted.models()}
    models = {name: artifact for name, artifact in outputs.items() if artifact is not None}
    examples = result.output(DATA, "examples")
    remarks = [] if examples is None else examples.read_json(ADOPTION)
    page = report_of(config, result)
    if as_json:
        found = {name: {**model.read_json(FOREIGN), **model.read_json(ADOPTION)} for name, model in models.items()}
        click.echo(json.dumps({**run_summary(config, result, page), "data": remarks, "models": found}, indent=1))
        return
    for remark in remarks:
        click.echo(f"data: {remark}")
    for name, model in models.items():
        adoption = Adoption.model_validate(model.read_json(ADOPTION))
        for line in (*adoption.findings, *(f"note: {note}" for note in adoption.notes)):
            click.echo(f"{name}: {line}")
    print_summary(result)
    print_places(result, page)
