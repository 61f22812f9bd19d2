"""Whether attackers of other libraries break images that our suite `auto` says withstand.

    pip install '.[benchmarks]'
    python -m benchmarks.independent --config configs/ham10000.json [--root DIR] [--images N] [--json FILE]
    python -m benchmarks.independent --audit DIR --epsilon linf:4/255 [--images N] [--json FILE]

The models of a config, from the latest run that has them all, and the first of its 8-bit test images; or the model and
the first images of an audit, whose predictions say what its `auto` left. ART's and Foolbox's PGD with restarts and
ART's square attack (Foolbox has none) are set on the images that still stand under `auto`: an image that `auto` broke
is broken, so attacking it again cannot lower robust accuracy. What they return is rounded to 8 bits inside the same
budget and scored by the network in float32, as `auto` is. Exit code 1 if all of them together lower the robust accuracy
of any model by more than 0.5 points.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import functools
import json
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from benchmarks import peers
from benchmarks.measure import machine
from benchmarks.trained import audited_model, first_test_images, trained_models
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.engine import attack_pixels, record_seeds, to_images
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.logits import logits_of
from dermrobust.attacks.selection import read_suite
from dermrobust.attacks.threat import Norm, Pixels, ThreatModel
from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact
from dermrobust.components.evaluation.intervals import wilson_interval
from dermrobust.components.examples import Batch
from dermrobust.components.model_files import NETWORK, load_classifier, load_network, load_target
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.config_files import load_config

_AUTO = "auto"
ALLOWED = 0.5
"""By how many points robust accuracy may be lower than `auto` reported."""
_QUICK = {"steps": 20, "queries": 100}
_ROUNDING = 1e-9
"""What floating point may add to a difference."""

Row = dict[str, Any]
Standing = npt.NDArray[np.bool_]
"""bool [count], which images a network still classifies correctly."""


@dataclass(frozen=True)
class Effort:
    """How hard the attackers try: gradient steps and restarts of PGD, queries of the square attack."""

    steps: int = 50
    restarts: int = 3
    queries: int = 1000


@dataclass(frozen=True)
class Attacker:
    """An attack of another library.

    Attributes:
        name: as it stands in the table.
        make: from a network, the budget on images in [0, 1] and the effort to the attack.
        restarts: how often it is run on what still stands.
    """

    name: str
    make: Callable[[keras.Model, float, Effort], peers.AttackFn]
    restarts: Callable[[Effort], int]


def _art(name: str) -> Callable[[keras.Model, float, Effort], peers.AttackFn]:
    return lambda network, radius, effort: peers.art(
        name, network, network.output_shape[-1], radius, effort.steps, effort.queries
    )


ATTACKERS: tuple[Attacker, ...] = (
    Attacker("ART PGD", _art("pgd"), lambda effort: effort.restarts),
    Attacker(
        "Foolbox PGD",
        lambda network, radius, effort: peers.foolbox("pgd", network, radius, effort.steps),
        lambda effort: effort.restarts,
    ),
    Attacker("ART Square", _art("square"), lambda effort: 1),
)


@dataclass(frozen=True)
class Subject:
    """A trained model and the test images that it is attacked on."""

    name: str
    model: Artifact
    images: Batch

    def correct(self, pixels: Pixels, index: Any = slice(None)) -> Standing:
        """Tell which stored images, made of those at `index`, the network in float32 classifies correctly."""
        labels = self.images.labels[index]
        classifier = load_classifier(self.model.uri, self.model.digest)
        return np.asarray(logits_of(classifier, to_images(pixels), peers.BATCH).argmax(axis=1) == labels)


@dataclass(frozen=True)
class Case:
    """A model under attack at a budget.

    Attributes:
        subject: the model and its images.
        threat: the budget.
        standing: returns the images that are right when clean and under `auto`: bool [count].
    """

    subject: Subject
    threat: ThreatModel
    standing: Callable[[], Standing]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a Markdown table; return 0, or 1 if a robust accuracy did not hold."""
    parser = _parser()
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    try:
        described, cases = _audited_cases(options) if options.audit else _trained_cases(options)
    except UserError as error:
        parser.error(str(error))
    effort = Effort(options.steps, options.restarts, options.queries)
    print(f"{machine()}; auto: {described}; attackers: {effort}\n")
    print("\n".join(_head()), flush=True)
    rows = []
    for case in cases:
        rows.append(measured(case.subject, case.threat, case.standing(), ATTACKERS, effort, options.seed))
        print(_line(rows[-1]), flush=True)
        if options.json:
            # After every row: it takes long, and what is measured is not lost to what fails later.
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(rows, indent=1))
    return 0 if all(row["holds"] for row in rows) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--config", type=Path, help="whose models are attacked")
    source.add_argument("--audit", help="output folder of an audit, whose model is attacked")
    parser.add_argument("--root", help="with --config: folder of artifacts and ledger; else that of the config")
    parser.add_argument("--models", nargs="+", help="with --config: names of models; else all")
    parser.add_argument("--quick", action="store_true", help="with --config: a weaker `auto`, which may be beaten")
    parser.add_argument("--images", type=_count, default=500, help="test images")
    parser.add_argument("--epsilon", type=_budget, action="append", help="L-infinity, several times for several")
    parser.add_argument("--steps", type=_count, default=Effort.steps, help="of the attackers' PGD")
    parser.add_argument("--restarts", type=_count, default=Effort.restarts, help="of the attackers' PGD")
    parser.add_argument("--queries", type=_count, default=Effort.queries, help="of the attackers' square attack")
    parser.add_argument("--seed", type=int, default=0, help="of random starts")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    return parser


def _trained_cases(options: argparse.Namespace) -> tuple[str, list[Case]]:
    config = load_config(options.config)
    if options.root:
        config = config.model_copy(update={"root": options.root})
    subjects = trained_subjects(config, options.models or config.model_names(), options.images)
    auto = read_suite(_AUTO)[_AUTO]
    if options.quick:
        auto = auto.model_copy(update=_QUICK)
    return auto.model_dump_json(), [
        Case(subject, threat, functools.partial(standing, subject, threat, auto, options.seed))
        for threat in _budgets(options)
        for subject in subjects
    ]


def _audited_cases(options: argparse.Namespace) -> tuple[str, list[Case]]:
    if options.root or options.models or options.quick:
        raise UserError("--root, --models and --quick belong to --config: an audit has one model and its own `auto`")
    audited = audited_model(options.audit)
    if not storage.exists(audited.model.path(NETWORK)):
        raise UserError(f"the model audited in '{options.audit}' is no Keras model; other libraries need its network")
    batch = first_test_images(audited.examples, options.images)
    subject = Subject(Path(options.audit).name, audited.model, batch)
    # Read before anything is attacked: a budget that the audit does not have is told at once.
    left = {threat: audited.standing(batch, _AUTO, threat) for threat in _budgets(options)}
    return audited.effort(_AUTO), [Case(subject, threat, _known(stood)) for threat, stood in left.items()]


def _known(stood: Standing) -> Callable[[], Standing]:
    return lambda: stood


def _budgets(options: argparse.Namespace) -> list[ThreatModel]:
    return options.epsilon or [ThreatModel(1), ThreatModel(4)]


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is too few; write 1 or more")
    return int(text)


def _budget(text: str) -> ThreatModel:
    threat = ThreatModel.parse(text)
    if threat.norm is not Norm.LINF or threat.epsilon < 1:
        raise argparse.ArgumentTypeError(f"{text}: attackers need a level or more in L-infinity, such as linf:4/255")
    return threat


def trained_subjects(config: PipelineConfig, names: Sequence[str], count: int) -> list[Subject]:
    """Return models of the latest run that has all of them, with the first so many test images of that run."""
    examples, models = trained_models(config, names)
    batch = first_test_images(examples, count)
    return [Subject(name, model, batch) for name, model in models.items()]


def standing(subject: Subject, threat: ThreatModel, auto: Attack, seed: int = 0) -> Standing:
    """Return which images are classified correctly, clean and under `auto`: bool [count]."""
    pixels = subject.images.pixels
    return subject.correct(pixels) & subject.correct(_auto_images(subject, threat, auto, seed))


def measured(
    subject: Subject,
    threat: ThreatModel,
    stood: Standing,
    attackers: Sequence[Attacker],
    effort: Effort,
    seed: int = 0,
) -> Row:
    """Return a model's robust accuracy under `auto`, under `auto` and each attacker, and under all of them.

    Args:
        subject: the model and its images.
        threat: the budget.
        stood: bool [count], which images are right when clean and under `auto`.
        attackers: attacks of other libraries.
        effort: how hard they try.
        seed: of their random starts.

    Raises:
        AttackError: an attacker left the budget.
    """
    lasting = {}
    for attacker in attackers:
        # Some draw from NumPy, some from TensorFlow.
        keras.utils.set_random_seed(seed)
        lasting[attacker.name] = withstanding(subject, threat, attacker, effort, stood)
    together = np.logical_and.reduce([stood, *lasting.values()])
    n = len(stood)
    difference = 100 * float(stood.mean() - together.mean())
    return {
        "model": subject.name,
        "budget": str(threat),
        "n": n,
        "clean": float(subject.correct(subject.images.pixels).mean()),
        "auto": float(stood.mean()),
        "auto_interval": wilson_interval(float(stood.mean()), n),
        "with": {name: float(left.mean()) for name, left in lasting.items()},
        "together": float(together.mean()),
        "difference": difference,
        "holds": difference <= ALLOWED + _ROUNDING,
    }


def _auto_images(subject: Subject, threat: ThreatModel, auto: Attack, seed: int) -> Pixels:
    batch = subject.images
    seeds = record_seeds(batch.columns["image/id"], attack="auto", threat=threat, seed=seed)
    target = load_target(subject.model.uri, subject.model.digest, "float32")
    return attack_pixels(
        auto, target, batch.pixels, batch.labels, seeds, threat=threat, batch_size=peers.BATCH, stop_at_success=True
    )


def withstanding(
    subject: Subject, threat: ThreatModel, attacker: Attacker, effort: Effort, stood: Standing
) -> Standing:
    """Return which of the images that stood withstand an attacker too, in each of its restarts: bool [count]."""
    attack = attacker.make(load_network(subject.model.uri, subject.model.digest), threat.radius, effort)
    left = stood.copy()
    for _ in range(attacker.restarts(effort)):
        if not left.any():
            break
        index = np.flatnonzero(left)
        clean = subject.images.pixels[index]
        found = attack(to_images(clean), subject.images.labels[index])
        left[index] = subject.correct(threat.to_pixels(np.asarray(found, np.float32), clean), index)
    return left


def _head() -> list[str]:
    names = [f"and {attacker.name}" for attacker in ATTACKERS]
    cells = ["model", "budget", "n", "clean", "auto [95 %]", *names, "and all", "difference in points", "holds"]
    return [f"| {' | '.join(cells)} |", "|---" * len(cells) + "|"]


def _line(row: Row) -> str:
    lower, upper = row["auto_interval"]
    cells = [row["model"], row["budget"], str(row["n"]), f"{row['clean']:.3f}"]
    cells += [f"{row['auto']:.3f} [{lower:.3f}, {upper:.3f}]", *(f"{value:.3f}" for value in row["with"].values())]
    cells += [f"{row['together']:.3f}", f"{row['difference']:.1f}", "yes" if row["holds"] else "NO"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
