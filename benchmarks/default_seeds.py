"""The embedded default with other seeds: whether its models end the same.

    python -m benchmarks.default_seeds [--seeds 10]

Each seed draws other lesions and starts from other weights. A row holds balanced accuracy on the test images, the
outcome of the run, the self-checks that failed, and the time (with whatever else ran on the machine).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time

from benchmarks.measure import machine
from dermrobust import load_evaluation, run
from dermrobust.components.evaluation.checks import Status
from dermrobust.components.evaluation.names import CLEAN, WORST_CASE
from dermrobust.pipeline.api.evaluation import Evaluation
from dermrobust.pipeline.config_files import load_config

_COLUMNS = (
    ("vanilla", CLEAN),
    ("vanilla", WORST_CASE),
    ("static", "transfer"),
    ("static", WORST_CASE),
    ("online", CLEAN),
    ("online", WORST_CASE),
)


def main() -> int:
    """Print a Markdown table; return whether all seeds had the same outcome."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds, from 0")
    options = parser.parse_args()
    names = ["seed", *(f"{model}: {attack}" for model, attack in _COLUMNS), "outcome", "failed checks", "seconds"]
    print(f"{machine()}\n\n| {' | '.join(names)} |\n|{'---|' * len(names)}", flush=True)
    outcomes = set()
    for seed in range(options.seeds):
        started = time.perf_counter()
        config = load_config(None, [f"seed={seed}", f"ingest.dataset.seed={seed}"])
        with tempfile.TemporaryDirectory() as root:
            result = run(config.model_copy(update={"root": root}))
            evaluation = load_evaluation(root)
            outcome = "exported" if result.exit_code == 0 else "refused"
            outcomes.add(outcome)
            row = [str(seed), *_figures(evaluation), outcome, _failed(evaluation)]
        print(f"| {' | '.join(row)} | {time.perf_counter() - started:.0f} |", flush=True)
    return 0 if len(outcomes) == 1 else 1


def _figures(evaluation: Evaluation) -> list[str]:
    (budget,) = evaluation.about.epsilons
    figures = (
        evaluation.figure(model, attack, 0.0 if attack == CLEAN else budget, "balanced_accuracy")
        for model, attack in _COLUMNS
    )
    return ["–" if figure is None else f"{figure.value:.3f}" for figure in figures]


def _failed(evaluation: Evaluation) -> str:
    return (
        ", ".join(f"{check.model or 'all'}: {check.name}" for check in evaluation.checks if check.status is Status.FAIL)
        or "–"
    )


if __name__ == "__main__":
    sys.exit(main())
