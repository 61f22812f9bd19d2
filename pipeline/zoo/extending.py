"""Further budgets on the card of a model, from an audit of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from dermrobust.attacks.errors import UserError
from dermrobust.components.evaluation.names import CLEAN, CONSTANT
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.pipeline.audit_settings import MODEL as AUDITED
from dermrobust.pipeline.audit_settings import Audit
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import ledger_path
from dermrobust.pipeline.reporting import evaluated_run
from dermrobust.pipeline.zoo.card import CONFIG, MODEL, Card, CardFigure, Measurement
from dermrobust.pipeline.zoo.drafting import card_figures
from dermrobust.pipeline.zoo.reproducing import audited_attacks
from dermrobust.pipeline.zoo.self_checks import sound_checks
from dermrobust.pipeline.zoo.split_digest import audited_digest
from dermrobust.pipeline.zoo.verifying import file_digest, verify_folder
from dermrobust.pipeline.zoo.writing import staged, write_card

_ROUNDED = 2
"""Number of clean images of a slice whose class may differ: other processors round the outputs differently."""


def extend_card(folder: Path, root: str, *, run: str | None = None, allow_failed_checks: bool = False) -> Card:
    """Add the budgets of an audit to a model's card, and return the card.

    Suites at full strength take hours per budget; budgets can be measured one after another, on several machines.

    Args:
        folder: folder of the model.
        root: root of the audit's artifacts and ledger.
        run: id of the audit's run; None: the latest that has evaluated something.
        allow_failed_checks: whether to add figures although self-checks failed; the card lists them.

    Raises:
        UserError: the audit is of another model or of other images, was measured with other settings, or has no budget
            that the card lacks; nothing has been written.
    """
    card = verify_folder(folder)
    found = evaluated_run(PipelineConfig(root=root), run)
    settings = _settings(root, found.run)
    _check_audited(card, settings)
    evaluation = found.evaluation
    _check_measured_alike(card, evaluation)
    checks = sound_checks(evaluation, found.run, AUDITED, allow_failed=allow_failed_checks)
    about = evaluation.about
    new = tuple(epsilon for epsilon in about.epsilons if epsilon not in card.epsilons)
    if not new:
        raise UserError(f"the card of {card.full_name} has all budgets of run '{found.run}' already")
    measured = card.evaluation.model_copy(
        update={
            "run": found.run,
            "name": AUDITED,
            "epsilons": new,
            "attacks": about.attacks,
            "threats": (),
            "searches": {},
            "settings": {
                "stop_at_success": True,
                **{name: getattr(settings, name) for name in ("gradient_precision", "batch_size")},
            },
            "versions": about.versions,
        }
    )
    extended = card.model_copy(
        update={
            "audits": (*card.audits, Measurement.model_validate(measured.model_dump())),
            "figures": (*card.figures, *_under_attack(evaluation, AUDITED, new)),
            "floor": (*card.floor, *_under_attack(evaluation, CONSTANT, new)),
            "checks": (*card.checks, *checks),
        }
    )
    with staged(folder) as made:
        for name in (MODEL, CONFIG):
            shutil.copyfile(folder / name, made / name)
        return write_card(made, extended)


def _settings(root: str, run: str) -> Audit:
    record = Ledger(ledger_path(PipelineConfig(root=root))).run(run)
    if record is None or "audit" not in record["config"]:
        raise UserError(f"run '{run}' is no audit; a model of a run is added with: dermrobust zoo add")
    return Audit.model_validate(record["config"]["audit"])


def _check_audited(card: Card, settings: Audit) -> None:
    """Refuse an audit of another model, of other images, or of images that were prepared otherwise."""
    model = Path(settings.model)
    if not model.is_file() or file_digest(model) != card.files[MODEL]:
        raise UserError(f"'{settings.model}' is not the network of {card.full_name}")
    if settings.preprocessing != card.preprocessing:
        raise UserError(f"the audit has not prepared the images as the card of {card.full_name} says")
    if audited_digest(settings) != card.split.sha256:
        raise UserError(
            f"the audited images are not the test split of {card.full_name}; write it with: dermrobust zoo split"
        )


def _check_measured_alike(card: Card, evaluation: Evaluation) -> None:
    """Refuse settings other than those of the card, and clean figures that differ from its own."""
    about, measured = evaluation.about, card.evaluation
    attacks = {name: measured.attacks[name] for name in audited_attacks(card)}
    for name, found, stated in (
        ("attacks", about.attacks, attacks),
        ("norm", about.norm, measured.norm),
        ("seed", about.seed, measured.seed),
        ("specificity", about.specificity, measured.specificity),
    ):
        if found != stated:
            raise UserError(f"the audit differs from the card of {card.full_name} in {name}: {found}; card: {stated}")
    for each in card.figures:
        if (each.attack, each.metric) != (CLEAN, "accuracy"):
            continue
        figure = evaluation.figure(AUDITED, CLEAN, 0.0, each.metric, each.slice)
        if figure is None or figure.n != each.n or abs(figure.value - each.value) * each.n > _ROUNDED + 0.5:
            raise UserError(
                f"clean accuracy ({each.slice}) of the audit differs from the card of {card.full_name}: "
                f"{figure and figure.value}; card: {each.value}"
            )


def _under_attack(evaluation: Evaluation, model: str, epsilons: tuple[float, ...]) -> tuple[CardFigure, ...]:
    return tuple(figure for figure in card_figures(evaluation, model) if figure.epsilon in epsilons)
