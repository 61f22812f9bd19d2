"""Validation figures of all trained models of a config, such as the variants of a training.

    python -m benchmarks.trainings --config configs/ham10000_robust.json [--root DIR] [--models NAME …]
        [--reference NAME] [--budgets 1 2 4]

A row holds the epoch that was kept, the minutes of training (with whatever else ran on the machine), and figures
under PGD. With a reference, a second table holds the paired difference of each model from it, with intervals.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import machine
from benchmarks.trained import trained_models
from benchmarks.validation import BUDGETS, changes, table, validation_answers, written
from dermrobust.attacks.errors import UserError
from dermrobust.components.model_files import METRICS, load_network
from dermrobust.pipeline.config_files import load_config
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import ledger_path


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="whose models are measured")
    parser.add_argument("--root", help="folder of artifacts and ledger; else that of the config")
    parser.add_argument("--models", nargs="+", help="names of models; else all of the config")
    parser.add_argument("--reference", help="name of the model that the others are compared with")
    parser.add_argument("--steps", type=int, default=20, help="of PGD")
    parser.add_argument("--budgets", nargs="+", type=int, default=BUDGETS, help="in 1/255")
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config)
        if options.root:
            config = config.model_copy(update={"root": options.root})
        examples, models = trained_models(config, options.models or config.model_names())
    except UserError as error:
        parser.error(str(error))
    if options.reference not in (None, *models):
        parser.error(f"no model '{options.reference}' among {', '.join(models)}")
    ledger = Ledger(ledger_path(config))
    rows, answers = [], {}
    for name, model in models.items():
        network = load_network(model.uri, model.digest)
        answers[name] = validation_answers(network, examples, options.steps, options.budgets)()
        seconds = ledger.duration(model.fingerprint) or 0.0
        trained = {"model": name, "epoch": str(model.read_json(METRICS)["epoch"]), "minutes": f"{seconds / 60:.0f}"}
        rows.append(trained | written(answers[name].figures()))
    print(f"{machine()}; PGD: {options.steps} steps; balanced accuracy on the validation split\n")
    print("\n".join(table(rows)))
    if options.reference:
        print(f"\nDifference from {options.reference} [95 %]\n")
        print("\n".join(table(changes(answers, options.reference, examples))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
