"""Addition of a model to a zoo, from the run that trained and evaluated it."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.evaluation.checks import Check
from dermrobust.components.model_files import NETWORK
from dermrobust.models.classifier import load_network
from dermrobust.models.task import Task
from dermrobust.pipeline.zoo.card import CONFIG, MODEL, ModelName
from dermrobust.pipeline.zoo.catalog import MAX_BYTES, MAX_MODELS, model_names
from dermrobust.pipeline.zoo.drafting import Stated, draft_card
from dermrobust.pipeline.zoo.evidence import Evidence, gather
from dermrobust.pipeline.zoo.retraining import config_text, portable_parameters, retraining_config
from dermrobust.pipeline.zoo.self_checks import sound_checks
from dermrobust.pipeline.zoo.writing import staged, write_card


def add_model(
    root: str,
    model: str,
    name: str,
    zoo: Path,
    *,
    run: str | None = None,
    stated: Stated | None = None,
    allow_failed_checks: bool = False,
    replace: bool = False,
) -> Path:
    """Add a trained and evaluated model to a zoo, and return its folder.

    Args:
        root: root of the run's artifacts and ledger.
        model: name of the model in the run, or of the node that trains it.
        name: name in the zoo, with or without its task: "robust" or "ham10000/robust".
        zoo: folder of the zoo.
        run: id of the run; None: the latest that has evaluated something.
        stated: facts that the run does not record.
        allow_failed_checks: whether to add a model although self-checks failed; the card lists them.
        replace: whether to replace a model of this name.

    Raises:
        UserError: the evaluation is of another model, a self-check failed, the zoo would become too large, or it has a
            model of this name; nothing has been written.
    """
    evidence = gather(root, model, run)
    task = evidence.evaluation.about.task
    folder = zoo / task.name / _own_name(name, task)
    if folder.exists() and not replace:
        raise UserError(f"the zoo has a model '{task.name}/{folder.name}' already; pass --replace, or choose a name")
    checks = sound_checks(evidence.evaluation, evidence.run, evidence.name, allow_failed=allow_failed_checks)
    with staged(folder) as made:
        _write(made, evidence, checks, stated or Stated(), zoo)
        _check_limits(zoo, folder, made)
    return folder


def _own_name(name: str, task: Task) -> str:
    given, _, own = name.rpartition("/")
    if given not in ("", task.name):
        raise UserError(f"the model's task is '{task.name}', not '{given}'")
    try:
        return TypeAdapter(ModelName).validate_python(own)
    except ValidationError:
        raise UserError(f"'{own}' is no name for a model: use lower-case letters, digits, - and _") from None


def _check_limits(zoo: Path, folder: Path, made: Path) -> None:
    others = [zoo / name for name in model_names(zoo) if zoo / name != folder]
    if len(others) >= MAX_MODELS:
        raise UserError(f"the zoo holds {len(others)} models, and {MAX_MODELS} at most; remove one first")
    total = sum(folder_size(each) for each in (*others, made))
    if total >= MAX_BYTES:
        raise UserError(
            f"the zoo would have {total / 1e6:.1f} MB, but must stay below {MAX_BYTES / 1e6:.0f} MB: this model has "
            f"{folder_size(made) / 1e6:.1f} MB"
        )


def folder_size(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _write(folder: Path, evidence: Evidence, checks: tuple[Check, ...], stated: Stated, zoo: Path) -> None:
    """Write the files of a model to a folder of its name."""
    (folder / MODEL).write_bytes(storage.read_bytes(evidence.model.path(NETWORK)))
    config = retraining_config(evidence, folder.name, zoo)
    (folder / CONFIG).write_text(config_text(config, folder.name), encoding="utf-8")
    parameters = portable_parameters(evidence.trained.parameters, zoo)
    weights = load_network(folder / MODEL).count_params()
    write_card(folder, draft_card(evidence, folder.name, parameters, weights, checks, stated))
