"""Terminal table of classifiers that refer images."""

from __future__ import annotations

from rich import box
from rich.table import Table

from dermrobust.attacks.threat import Norm
from dermrobust.components.evaluation.conditions import of_referral
from dermrobust.components.evaluation.names import CLEAN, WORST_CASE
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.pipeline.report.wording import number

_METRICS = {
    "coverage": "coverage",
    "accuracy": "acc.",
    "balanced_accuracy": "balanced acc.",
    "unreferred_missed": "missed",
}


def referral_table(evaluation: Evaluation, rates: list[float]) -> Table:
    """Return the table of all images, clean and in the worst case at each budget, for each model and referral rate."""
    table = Table(title="With referral; the worst case knows of the rejector", box=box.SIMPLE_HEAD)
    table.add_column("model", no_wrap=True)
    for name in ("rate", "epsilon", *_METRICS.values(), "n"):
        table.add_column(name, justify="right", no_wrap=True)
    norm = Norm(evaluation.about.norm)
    for model in evaluation.models:
        for rate in rates:
            for attack, epsilon in ((CLEAN, 0.0), *((WORST_CASE, epsilon) for epsilon in evaluation.about.epsilons)):
                under = of_referral(rate, attack)
                found = [evaluation.figure(model, under, epsilon, metric) for metric in _METRICS]
                figures = (number(each.value if each else None) for each in found)
                count = "" if found[0] is None else str(found[0].n)
                table.add_row(model, f"{rate:g}", "" if attack == CLEAN else norm.written(epsilon), *figures, count)
    table.caption = "acc.: of images that are not referred; missed: malignancies called benign and not referred"
    return table
