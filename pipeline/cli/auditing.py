"""Command that evaluates a user's own model on the user's own images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dermrobust.pipeline.cli.options import json_option, user_errors
from dermrobust.pipeline.cli.terminal import echo, echo_json, echo_lines
from dermrobust.pipeline.cli.zoo import zoo_option

if TYPE_CHECKING:
    from dermrobust.components.progress import Progress
    from dermrobust.pipeline.audit_settings import Audit
    from dermrobust.pipeline.config import PipelineConfig
    from dermrobust.pipeline.outcomes import RunResult
    from dermrobust.pipeline.zoo.reproducing import Reproduction

_there = click.Path(path_type=Path, exists=False)


@click.command(short_help="Evaluate your own classifier on your own images.")
@click.option(
    "--model",
    required=True,
    help='A .keras file, the folder of a SavedModel, or a model of the zoo: "zoo:NAME". As black boxes: an .onnx file, '
    "or the address of a served model: http://HOST:PORT/v1/models/NAME.",
)
@click.option("--data", required=True, type=_there, help="Folder of images.")
@click.option(
    "--labels",
    required=True,
    type=_there,
    help="Table with image_id and dx (also lesion_id, age, sex, localization), or with a column for each class.",
)
@click.option("--control", help="Undefended model to compare with, as for --model.")
@zoo_option
@click.option(
    "--suite",
    help="Attacks: paper, standard, auto, auto-screened, auto-standard, auto-plus, minimal, black-box or sparse; "
    "default: auto, for black boxes black-box, under L0 sparse, for a model of the zoo those of its card.",
)
@click.option(
    "--epsilon",
    "epsilons",
    multiple=True,
    help='Budget, repeatable, such as "linf:4/255", "l2:0.5", "l1:12" or "l0:24"; default: "linf:1/255", 2, 4 and 8, '
    "or for a model of the zoo those of its card.",
)
@click.option(
    "--threat",
    "threats",
    multiple=True,
    help='Threat model beyond a norm, repeatable: "colour:1", "geometry:0.5", "colour+geometry:1", "patch:0.05".',
)
@click.option(
    "--certify",
    "sigmas",
    multiple=True,
    type=float,
    metavar="SIGMA",
    help="Certify by randomized smoothing with noise of this deviation, where a pixel is 0 to 1; repeatable.",
)
@click.option(
    "--refer",
    "rates",
    multiple=True,
    type=float,
    metavar="RATE",
    help="Measure selective prediction that refers this share of the validation images; repeatable.",
)
@click.option("--validation-data", type=_there, help="Folder of other images, to fit what refers images to.")
@click.option("--validation-labels", type=_there, help="Table of their labels, as for --labels.")
@click.option(
    "--batch-size", type=click.IntRange(1, 4096), default=64, show_default=True, help="Images per gradient step."
)
@click.option(
    "--gradient-precision",
    type=click.Choice(["float32", "bfloat16"]),
    help="Precision of an attack's gradients; bfloat16 is faster on CPUs with AMX or AVX-512-BF16, and success is "
    "decided in float32 either way. Default: float32, or for a model of the zoo that of its card.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Seed of random starts.")
@click.option("--limit", type=click.IntRange(1), help="Number of images, drawn at random; default: all.")
@click.option("--classes", help="Classes in the order of the model's outputs: a,b,c, or a JSON file with a list.")
@click.option("--malignant", help="Classes that must not be taken for benign ones: a,b.")
@click.option(
    "--input-size", help="Size of the input: 224, or 300x400 (height, width); default: as the model declares."
)
@click.option(
    "--input-range",
    type=click.Choice(["0..1", "0..255", "-1..1"]),
    help="Values of black and white; default: detected.",
)
@click.option("--mean", help="Mean to subtract, per channel: 0.485,0.456,0.406.")
@click.option("--std", help="Standard deviation to divide by, per channel: 0.229,0.224,0.225.")
@click.option(
    "--returns",
    "outputs",
    type=click.Choice(["logits", "probabilities"]),
    help="Kind of the model's outputs; default: detected.",
)
@click.option("--signature", help="Signature of the SavedModel or of the served model.")
@click.option(
    "--trust-model",
    is_flag=True,
    help="Accept operations of a SavedModel that might touch files or run code; the report says so.",
)
@click.option("--output", "root", default="output/audit", show_default=True, help="Folder of results.")
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path, dir_okay=False), help="Config file; only `beam` is used."
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of `beam`: --set beam.runner=FlinkRunner.",
)
@click.option("--force", is_flag=True, help="Repeat all work even if nothing changed.")
@json_option
@user_errors
def audit(as_json: bool, force: bool, **options: Any) -> None:
    """Evaluate your own classifier on your own images, as the pipeline evaluates its models.

    Input format and outputs of the model are detected unless they are given, and printed at the end. Options about
    them also apply to the control. Those of a model of the zoo are on its card, with whose figures the audit ends if
    the images are the card's test split.

    Exit code 3: a self-check fails, so that the gate refuses the model; of a black box one always does.
    """
    from dermrobust.pipeline.cli.audit_options import audit_settings
    from dermrobust.pipeline.cli.progress import with_progress
    from dermrobust.pipeline.config import PipelineConfig

    settings = audit_settings(options)
    config = PipelineConfig(root=settings.root)

    def work(progress: Progress) -> RunResult:
        from dermrobust.pipeline.audit import run_audit

        return run_audit(settings, progress, force=force)

    result = with_progress(config, work)
    _print(config, settings, result, as_json, _reproduction(settings, result, options))
    sys.exit(result.exit_code)


def _reproduction(settings: Audit, result: RunResult, options: dict[str, Any]) -> Reproduction | None:
    """Return the figures of a model of the zoo beside its card's; None for other models, and without an evaluation."""
    evaluation = result.output("evaluate", "evaluation")
    if evaluation is None or not options["model"].startswith("zoo:"):
        return None
    from dermrobust.components.evaluation.reading import read_evaluation
    from dermrobust.pipeline.audit_settings import MODEL
    from dermrobust.pipeline.zoo.catalog import read_card
    from dermrobust.pipeline.zoo.reproducing import reproduction
    from dermrobust.pipeline.zoo.split_digest import audited_digest

    card = read_card(Path(settings.model).parent)
    return reproduction(card, read_evaluation(evaluation.uri), MODEL, audited_digest(settings))


def _print(
    config: PipelineConfig, settings: Audit, result: RunResult, as_json: bool, reproduced: Reproduction | None
) -> None:
    """Print what was detected of the models and images, then the results."""
    from dermrobust.components.artifacts import read_as
    from dermrobust.components.foreign_files import ADOPTION, FOREIGN
    from dermrobust.models.foreign.spec import Adoption
    from dermrobust.pipeline.audit import ADOPTED, DATA
    from dermrobust.pipeline.cli.results import print_places, print_summary, report_of, run_summary
    from dermrobust.pipeline.cli.zoo_output import reproduction_json, reproduction_listing

    outputs = {name: result.output(ADOPTED.format(name), "model") for name in settings.models()}
    models = {name: artifact for name, artifact in outputs.items() if artifact is not None}
    examples = result.output(DATA, "examples")
    remarks = [] if examples is None else examples.read_json(ADOPTION)
    page = report_of(config, result)
    if as_json:
        found = {name: {**model.read_json(FOREIGN), **model.read_json(ADOPTION)} for name, model in models.items()}
        values = {**run_summary(config, result, page), "data": remarks, "models": found}
        if reproduced is not None:
            values["zoo"] = reproduction_json(reproduced)
        echo_json(values)
        return
    for remark in remarks:
        echo(f"data: {remark}")
    for name, model in models.items():
        adoption = read_as(Adoption, model, ADOPTION)
        for line in (*adoption.findings, *(f"note: {note}" for note in adoption.notes)):
            echo(f"{name}: {line}")
    print_summary(result)
    if reproduced is not None:
        echo_lines(f"{reproduction_listing(reproduced)}\n")
    print_places(result, page)
