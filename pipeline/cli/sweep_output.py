"""Terminal output of a sweep."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from dermrobust.pipeline.cli.console import Console
from dermrobust.pipeline.sweep_figures import FIGURES, TrainedModel, spreads

_HEADINGS = dict(zip(FIGURES, ("accuracy", "balanced", "robust", "robust balanced"), strict=True))


def print_sweep(models: Sequence[TrainedModel]) -> None:
    """Print the table of a sweep, and the reason for each model that is not there."""
    console = Console()
    console.print(_table(models))
    for each in models:
        if each.message:
            line = f"{each.model}, seed {each.seed}: {each.status}: {each.message}"
            console.print(line, style="red", soft_wrap=True)


def _table(models: Sequence[TrainedModel]) -> Table:
    """Return the table model x seed, with mean and sample standard deviation (sd) over the seeds of each model."""
    table = Table(title="Validation images; robust: under PGD at the budget of training", box=box.SIMPLE_HEAD)
    table.add_column("model", no_wrap=True)
    for name in ("seed", *_HEADINGS.values(), "epoch"):
        table.add_column(name, justify="right")
    for model, over_seeds in spreads(models).items():
        for each in (each for each in models if each.model == model):
            figures = (_number(each.figures.get(name)) for name in _HEADINGS)
            epoch = each.status if each.epoch is None else f"{each.epoch}/{each.epochs}"
            table.add_row(model, str(each.seed), *figures, epoch, style="red" if each.message else None)
        found = [over_seeds.get(name) for name in _HEADINGS]
        table.add_row(model, "mean", *(_number(None if each is None else each.mean) for each in found))
        table.add_row(model, "sd", *(_number(None if each is None else each.deviation) for each in found))
        table.add_section()
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
