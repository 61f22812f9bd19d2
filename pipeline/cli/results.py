"""Terminal output of a run's results."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from dermrobust.attacks.threat import Norm
from dermrobust.components.evaluation import files
from dermrobust.components.evaluation.certificate_params import CertificateSettings
from dermrobust.components.evaluation.conditions import family_of
from dermrobust.components.evaluation.metrics.registry import METRICS
from dermrobust.components.evaluation.names import CLEAN, CONSTANT, WORST_CASE
from dermrobust.components.evaluation.reading import metric_rows, read_evaluation
from dermrobust.components.evaluation.referral_params import ReferralSettings
from dermrobust.components.evaluation.schemas import OVERALL
from dermrobust.pipeline.cli.certificates_table import certificates_table
from dermrobust.pipeline.cli.console import Console
from dermrobust.pipeline.cli.referral_table import referral_table
from dermrobust.pipeline.cli.terminal import printable

if TYPE_CHECKING:
    from pathlib import Path

    from dermrobust.components.evaluation.adaptive import AdaptiveLoss
    from dermrobust.components.evaluation.checks import Check
    from dermrobust.components.evaluation.metrics.metric import Metric
    from dermrobust.components.evaluation.reading import Evaluation
    from dermrobust.pipeline.config import PipelineConfig
    from dermrobust.pipeline.outcomes import RunResult

_Place = tuple[str, str, float]


def print_summary(result: RunResult) -> None:
    """Print the table model x attack: accuracy, balanced accuracy, n; nothing when nothing was evaluated."""
    evaluation = result.output("evaluate", "evaluation")
    if evaluation is None:
        return
    shown = {metric.name for metric in METRICS.resolve_all() if "terminal" in metric.places}
    rows = [row for row in metric_rows(evaluation.uri) if row["slice"] == OVERALL and row["metric"] in shown]
    found = read_evaluation(evaluation.uri)
    console = Console()
    # Conditions beyond a norm have a table of their own: their strengths are no budgets.
    console.print(summary_table([row for row in rows if family_of(row["attack"] or "") is None]))
    if found.threats:
        console.print(threats_table(found))
    if found.about.certificates:
        console.print(_certificates(found))
    if found.about.referral:
        settings = ReferralSettings.model_validate(found.about.referral)
        console.print(referral_table(found, list(settings.rates)))
    if found.adaptive:
        console.print(adaptive_table(found.adaptive, Norm(found.about.norm)))
    console.print(checks_table(found.checks or ()))


def _certificates(found: Evaluation) -> Table:
    """Return the table of the smoothed classifiers of an evaluation."""
    from dermrobust.pipeline.certifying import summaries

    settings = CertificateSettings.model_validate(found.about.certificates)
    return certificates_table(list(summaries(found.table(files.CERTIFICATES), settings)))


def summary_table(rows: list[dict[str, Any]]) -> Table:
    """Return the table for rows of `metric_rows` that cover all images."""
    # Clean images have no norm; one evaluation has one.
    norm = Norm(next((row["norm"] for row in rows if row["norm"]), Norm.LINF))
    how = "by random search" if norm is Norm.L0 else "through its own gradients"
    table = Table(title=f"Test images; each model attacked {how}", box=box.SIMPLE_HEAD)
    for name in ("model", "attack"):
        table.add_column(name, no_wrap=True)
    shown = [metric for metric in METRICS.resolve_all() if "terminal" in metric.places]
    for name in ("epsilon", *_columns(shown), "n"):
        table.add_column(name, justify="right", no_wrap=True)
    floor = _floor(rows, shown[0].name)
    previous = None
    for (model, attack, epsilon), cells in _clean_first(_grouped(rows)).items():
        if previous not in (None, model):
            table.add_section()
        previous = model
        first, *others = (cells.get(metric.name, {}) for metric in shown)
        budget = "" if attack == CLEAN else norm.written(epsilon)
        figures = (_with_interval(first), *(_number(each.get("value")) for each in others))
        # The constant classifier answers the same under every attack: one row says it.
        fell = bool(first) and floor is not None and model != CONSTANT and first["value"] < floor
        table.add_row(
            model,
            "any" if model == CONSTANT else attack,
            budget,
            *figures,
            str(first.get("n", "")),
            style="red" if fell else None,
        )
    if floor is not None:
        table.caption = "red: worse than the constant classifier, which always answers the most frequent class"
    return table


def _floor(rows: list[dict[str, Any]], metric: str) -> float | None:
    """Return the constant classifier's figure, which is the same under every attack; None: it was not measured."""
    values = (row["value"] for row in rows if (row["model"], row["attack"], row["metric"]) == (CONSTANT, CLEAN, metric))
    return next(values, None)


def _columns(metrics: list[Metric]) -> tuple[str, ...]:
    """Return headings: the first metric is shown with its interval."""
    first, *others = (metric.label().lower() for metric in metrics)
    return (f"{first} (95 %)", *(name.replace("accuracy", "acc.") for name in others))


def threats_table(evaluation: Evaluation) -> Table:
    """Return the table of accuracy under threat models beyond a norm: each search, and the worst case."""
    names = (*evaluation.about.searches, WORST_CASE)
    table = Table(title="Accuracy under threats beyond a norm", box=box.SIMPLE_HEAD)
    for name in ("model", "threat"):
        table.add_column(name, no_wrap=True)
    for name in (*names, "n"):
        table.add_column(name.replace("_", " "), justify="right", no_wrap=True)
    for model in evaluation.about.models:
        for threat in evaluation.threats:
            found = [evaluation.under(threat, name, model, "accuracy") for name in names]
            figures = (_number(None if figure is None else figure.value) for figure in found)
            table.add_row(model, str(threat), *figures, "" if found[-1] is None else str(found[-1].n))
    return table


def adaptive_table(losses: tuple[AdaptiveLoss, ...], norm: Norm) -> Table:
    """Return the table of what an attacker who has the model takes from it, at budgets of a norm."""
    table = Table(
        title="Accuracy on another model's examples, and what an adaptive attack removes", box=box.SIMPLE_HEAD
    )
    for name in ("model", "crafted as"):
        table.add_column(name, no_wrap=True)
    for name in ("epsilon", "transferred", "adaptive (worst case)", "removed"):
        table.add_column(name, justify="right", no_wrap=True)
    for loss in losses:
        figures = (_number(value) for value in (loss.transferred, loss.adaptive, loss.removed))
        table.add_row(loss.model, loss.attack, norm.written(loss.epsilon), *figures)
    return table


def checks_table(checks: tuple[Check, ...]) -> Table:
    """Return the table of the self-checks that do not pass; its title counts all."""
    counts = Counter(str(check.status) for check in checks)
    title = ", ".join(f"{counts[status]} {status}" for status in ("fail", "warn", "pass") if counts[status])
    table = Table(title=f"Self-checks: {title}", box=box.SIMPLE_HEAD, show_header=len(checks) > counts["pass"])
    for name in ("", "model", "check", "what it means"):
        table.add_column(name, no_wrap=name != "what it means")
    for status in ("fail", "warn"):
        for check in checks:
            if check.status == status:
                table.add_row(status, check.model or "all", check.title, check.sentence)
    return table


def _grouped(rows: list[dict[str, Any]]) -> dict[_Place, dict[str, dict[str, Any]]]:
    groups: dict[_Place, dict[str, dict[str, Any]]] = {}
    for row in rows:
        repeated = row["model"] == CONSTANT and row["attack"] != CLEAN
        if row["attack"] is not None and row["epsilon"] is not None and not repeated:
            groups.setdefault((row["model"], row["attack"], row["epsilon"]), {})[row["metric"]] = row
    return groups


def _clean_first(groups: dict[_Place, dict[str, dict[str, Any]]]) -> dict[_Place, dict[str, dict[str, Any]]]:
    """Return groups with the models in their order and each model's clean images before its attacks."""
    models = list(dict.fromkeys(model for model, _, _ in groups))
    places = sorted(groups, key=lambda place: (models.index(place[0]), place[1] != CLEAN))
    return {place: groups[place] for place in places}


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def _with_interval(row: dict[str, Any]) -> str:
    if not row:
        return "-"
    if row.get("lower") is None:
        return _number(row["value"])
    return f"{_number(row['value'])} [{row['lower']:.2f}, {row['upper']:.2f}]"


def report_of(config: PipelineConfig, result: RunResult) -> Path | None:
    """Write the report of a run that evaluated something, and return the page."""
    from dermrobust.pipeline.reporting import report_folder, write_report

    if result.output("evaluate", "evaluation") is None:
        return None
    page, _ = write_report(config, result.run, report_folder(config))
    return page


def print_places(result: RunResult, page: Path | None) -> None:
    """Print where the evaluation, its report and the exported model are."""
    console = Console()
    evaluation = result.output("evaluate", "evaluation")
    if evaluation is not None:
        console.print(f"evaluation: {evaluation.uri}", soft_wrap=True)
    if page is not None:
        console.print(f"report:     {page}", soft_wrap=True)
    if result.published is not None:
        console.print(f"exported:   {result.published}", soft_wrap=True)


def print_verdict(config: PipelineConfig, result: RunResult) -> None:
    """Print the verdict of the gate on the candidate; nothing when nothing was evaluated."""
    from dermrobust.pipeline.report.headline import headline
    from dermrobust.pipeline.reporting import evaluated_run

    if result.output("evaluate", "evaluation") is None:
        return
    found = headline(evaluated_run(config, result.run).evaluation)
    style = {"blessed": "green", "refused": "red"}.get(found.state)
    console = Console()
    console.print()
    sentences = (found.sentence, found.holds, found.floor)
    told = " ".join(sentence for sentence in sentences if sentence)
    console.print(f"{found.title}. {told}", style=style)


def metrics_listing(rows: list[dict[str, Any]]) -> str:
    """Return rows of metrics as text in columns."""
    # No `rich` table: an evaluation has tens of thousands of rows, and laying them out would take many seconds.
    names = ("model", "attack", "epsilon", "slice", "metric", "value", "n")
    return aligned((names, *map(_listed, rows)), right=("epsilon", "n"))


def aligned(lines: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """Return lines of cells as text in columns.

    Args:
        lines: headings, then rows.
        right: headings of the columns that are aligned to the right.
    """
    lines = [[printable(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    to_right = [name in right for name in lines[0]]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(line, widths, to_right, strict=True)
        ).rstrip()
        for line in lines
    )


def _listed(row: dict[str, Any]) -> tuple[str, ...]:
    epsilon = "" if row["epsilon"] is None else f"{row['epsilon']:g}"
    value = _with_interval(row)
    return row["model"], row["attack"] or "", epsilon, row["slice"], row["metric"], value, str(row["n"])


def run_summary(config: PipelineConfig, result: RunResult, page: Path | None) -> dict[str, Any]:
    """Return a run as JSON values."""
    return {
        "run": result.run,
        "exit_code": result.exit_code,
        "root": config.root,
        "exported": result.published,
        "report": None if page is None else str(page),
        "nodes": [
            {
                "node": node.node,
                "status": node.status,
                "seconds": round(node.seconds, 3),
                "message": node.message,
                "outputs": {name: artifact.uri for name, artifact in node.outputs.items()},
            }
            for node in result.nodes
        ],
    }


def runs_table(runs: list[dict[str, Any]]) -> Table:
    """Return runs as a table, each with the number of its nodes by what became of them."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("run", "started (UTC)", "status", "stages"):
        table.add_column(name, no_wrap=name != "stages")
    for run in runs:
        states = Counter(node["status"] for node in run["nodes"])
        seconds = sum(node["seconds"] for node in run["nodes"])
        bad = [node["node"] for node in run["nodes"] if node["status"] in ("failed", "refused")]
        text = ", ".join(f"{count} {state}" for state, count in states.items()) + f" in {seconds:.0f} s"
        text += f" ({', '.join(bad)})" if bad else ""
        table.add_row(run["id"], run["started"][:19].replace("T", " "), run["status"], text)
    return table
