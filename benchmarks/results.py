"""The tables of docs/results.md, from the latest evaluation below a root.

python -m benchmarks.results output/ham10000
"""

from __future__ import annotations

import sys
from typing import Any

from dermrobust.components.evaluation.checks import Check
from dermrobust.components.evaluation.names import CONSTANT
from dermrobust.components.evaluation.reading import read_evaluation
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.history import evaluation_rows, latest_evaluation

Rows = list[dict[str, Any]]
_BESIDE_ACCURACY = ("balanced_accuracy", "macro_auc", "attack_success_rate", "malignant_to_benign")


def _find(rows: Rows, **place: Any) -> dict[str, Any]:
    return next((row for row in rows if all(row[name] == value for name, value in place.items())), {})


def _text(row: dict[str, Any]) -> str:
    return f"{row['value']:.3f} [{row['lower']:.2f}, {row['upper']:.2f}]" if row else "–"


def _conditions(rows: Rows) -> list[tuple[str, float]]:
    found = {
        (row["attack"], row["epsilon"]) for row in rows if row["slice"] == "overall" and row["epsilon"] is not None
    }
    return sorted(found, key=lambda place: (place[0] != "none", place[0], place[1]))


def overall(rows: Rows) -> list[str]:
    """Return the lines of the table model x attack."""
    lines = [
        f"| model | attack | epsilon | accuracy | {' | '.join(_BESIDE_ACCURACY).replace('_', ' ')} | n |",
        "|---" * (len(_BESIDE_ACCURACY) + 5) + "|",
    ]
    for model in dict.fromkeys(row["model"] for row in rows):
        # The constant classifier answers the same under every attack: one row says it.
        for attack, epsilon in [("none", 0.0)] if model == CONSTANT else _conditions(rows):
            here = {"model": model, "attack": attack, "epsilon": epsilon, "slice": "overall"}
            accuracy = _find(rows, **here, metric="accuracy")
            others = [_text(_find(rows, **here, metric=name)) for name in _BESIDE_ACCURACY]
            budget = "" if attack == "none" else f"{epsilon:g}/255"
            cells = [
                model,
                "any" if model == CONSTANT else attack,
                budget,
                _text(accuracy),
                *others,
                str(accuracy.get("n", "")),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def by_class(rows: Rows, attack: str, epsilon: float) -> list[str]:
    """Return the lines of the table model x lesion class: recall under one attack."""
    classes = sorted({row["slice"] for row in rows if row["slice"].startswith("dx=")})
    head = []
    for name in classes:
        n = _find(rows, attack=attack, epsilon=epsilon, slice=name, metric="accuracy").get("n", 0)
        head.append(f"{name.removeprefix('dx=')} (n = {n})")
    lines = [f"| model | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for model in dict.fromkeys(row["model"] for row in rows):
        here = {"model": model, "attack": attack, "epsilon": epsilon, "metric": "accuracy"}
        cells = [_text(_find(rows, **here, slice=name)) for name in classes]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return lines


def objections(checks: tuple[Check, ...]) -> list[str]:
    """Return the lines of the table of self-checks that do not pass."""
    lines = ["| status | model | check | what it means |", "|---|---|---|---|"]
    standing = sorted((check for check in checks if check.status != "pass"), key=lambda check: check.status)
    return lines + [
        f"| {check.status} | {check.model or 'all'} | {check.title} | {check.sentence} |" for check in standing
    ]


def main() -> None:
    """Print the tables as Markdown."""
    config = PipelineConfig(root=sys.argv[1])
    rows = evaluation_rows(config, None)
    print("\n".join(overall(rows)))
    checks = read_evaluation(latest_evaluation(config).uri).checks or ()
    print(f"\n{sum(check.status == 'pass' for check in checks)} of {len(checks)} self-checks pass:\n")
    print("\n".join(objections(checks)))
    measured = _conditions(rows)
    for attack, epsilon in (("none", 0.0), ("worst_case", 1.0), ("worst_case", 4.0)):
        if (attack, epsilon) in measured:
            print(f"\nRecall by lesion class, {attack}" + (f" at {epsilon:g}/255" if epsilon else "") + ":\n")
            print("\n".join(by_class(rows, attack, epsilon)))


if __name__ == "__main__":
    main()
