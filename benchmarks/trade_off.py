"""Clean against robust accuracy of the networks between a baseline and a model that was hardened from it.

    python -m benchmarks.trade_off --config configs/ham10000_robust.json [--root DIR] [--model NAME] [--json FILE]

The weights of a network in between are (1 - share) times those of the baseline plus share times those of the hardened
model (Wortsman et al. 2022, arXiv 2109.01903, who do so for shifts of distribution). Figures are of the validation
split: they help to choose a point, and the test split stays unseen.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import keras

from benchmarks.measure import machine
from benchmarks.trained import trained_models
from benchmarks.validation import table, validation_answers, written
from dermrobust.attacks.errors import UserError
from dermrobust.components.artifacts import Artifact
from dermrobust.components.model_files import load_network
from dermrobust.pipeline.config_files import load_config
from dermrobust.pipeline.config_sections import BASELINE

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)

Row = dict[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="whose models are mixed")
    parser.add_argument("--root", help="folder of artifacts and ledger; else that of the config")
    parser.add_argument("--model", help="name of the hardened model; else the candidate of the gate")
    parser.add_argument("--steps", type=int, default=20, help="of PGD")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config)
        if options.root:
            config = config.model_copy(update={"root": options.root})
        hardened = options.model or config.evaluate.gate.candidate
        examples, models = trained_models(config, (BASELINE, hardened))
    except UserError as error:
        parser.error(str(error))
    rows = measured(examples, models[BASELINE], models[hardened], options.steps)
    print(f"{machine()}; PGD: {options.steps} steps; balanced accuracy on the validation split\n")
    print("\n".join(table([written(row) for row in rows])))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    return 0


def measured(examples: Artifact, baseline: Artifact, hardened: Artifact, steps: int) -> list[Row]:
    """Return the figures of the network at each share of the hardened model's weights."""
    first, last = (load_network(each.uri, each.digest) for each in (baseline, hardened))
    between = keras.models.clone_model(first)
    measure = validation_answers(between, examples, steps)
    rows = []
    for share in SHARES:
        pairs = zip(first.get_weights(), last.get_weights(), strict=True)
        between.set_weights([(1 - share) * old + share * new for old, new in pairs])
        rows.append({"share": share, **measure().figures()})
    return rows


if __name__ == "__main__":
    sys.exit(main())
