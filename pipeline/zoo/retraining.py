"""Config and command that train a model of a run again, and nothing else."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dermrobust.components.evaluation.names import WORST_CASE
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.config_sections import BASELINE
from dermrobust.pipeline.zoo.card import CONFIG, MODEL
from dermrobust.pipeline.zoo.catalog import model_names, read_card
from dermrobust.pipeline.zoo.evidence import Evidence
from dermrobust.pipeline.zoo.verifying import file_digest


def retraining_config(evidence: Evidence, name: str, zoo: Path) -> PipelineConfig:
    """Return the config that trains a model again.

    A model that was trained on images of the data set alone becomes the only model of the config, and one that was
    trained from the baseline the only one beside it; the attacks of its evaluation stay, but for those that transfer
    from models that are not there. A model that was trained on stored adversarial examples needs the other models, so
    it keeps the whole config. No path of this machine is kept but the root; see `config_text`.

    Args:
        evidence: the model and the config of its run.
        name: name of the model in the zoo.
        zoo: folder of the zoo; see `portable_parameters`.
    """
    config = evidence.config.model_dump(mode="json")
    config |= {"beam": {}, "export": {}}
    ingest = config["ingest"]
    if ingest["path"] is not None:
        ingest["path"] = f"${{{_variable(evidence)}}}"
    config["train"] = portable_parameters(config["train"], zoo)
    config["defences"] = {key: portable_parameters(each, zoo) for key, each in config["defences"].items()}
    if _reads(evidence, "adversarial"):
        return PipelineConfig.model_validate(config)
    if _reads(evidence, "baseline"):
        trained, models = evidence.name, {BASELINE, evidence.name}
        config["defences"] = {trained: config["defences"][trained]}
    else:
        trained, models = BASELINE, set[str]()
        config |= {"defences": {}, "train": portable_parameters(evidence.trained.parameters, zoo)}
    attacks = evidence.config.evaluate.attacks
    kept = {
        label: attack for label, attack in config["evaluate"]["attacks"].items() if attacks[label].sources <= models
    }
    # The gate of the run may compare models that are not there; this one asks for more than chance at every budget.
    above_chance = {"metric": "balanced_accuracy", "attack": WORST_CASE, "min": 0.0}
    budgets = [threat.epsilon for threat in evidence.config.evaluate.epsilons]
    gate = {"candidate": trained, "thresholds": [{**above_chance, "epsilon": epsilon} for epsilon in budgets]}
    evaluate = {**config["evaluate"], "gate": gate} | ({"attacks": kept} if kept else {})
    augment = {**config["augment"], "models": {}, "attacks": {}, "train": {}}
    description = f"Trains the model {name} of the zoo under the name {trained}."
    return PipelineConfig.model_validate(
        {**config, "description": description, "augment": augment, "evaluate": evaluate}
    )


def config_text(config: PipelineConfig, name: str) -> str:
    """Return the JSON text of a retraining config.

    A config has an absolute root; the text has one below the folder of whoever trains the model again.
    """
    values = {**config.model_dump(mode="json"), "root": f"output/{name}"}
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def portable_parameters(parameters: Mapping[str, Any], zoo: Path) -> dict[str, Any]:
    """Return parameters of a training without the path of initial weights on this machine.

    Where a model of the zoo has these weights, the path is that of its file in a checkout; otherwise only the name of
    the file is kept.
    """
    network = parameters.get("network")
    if not isinstance(network, dict) or "path" not in network:
        return dict(parameters)
    path = Path(network["path"]).expanduser()
    digest = file_digest(path)
    known = (name for name in model_names(zoo) if read_card(zoo / name).files[MODEL] == digest)
    place = next((f"zoo/{name}/{MODEL}" for name in known), path.name)
    return {**parameters, "network": {**network, "path": place}}


def retraining_command(evidence: Evidence, task: str, name: str) -> str:
    """Return the command that trains a model again from the config in its folder."""
    path = evidence.config.ingest.path
    variable = "" if path is None else f"{_variable(evidence)}=/path/to/{evidence.config.ingest.dataset.dataset} "
    stage = "augment" if _reads(evidence, "adversarial") else "train"
    return f"{variable}dermrobust run --config {shlex.quote(f'zoo/{task}/{name}/{CONFIG}')} --to {stage}"


def training_threat(evidence: Evidence) -> str | None:
    """Return the threat model that a model was trained for; None: clean images only."""
    objective: Any = evidence.trained.parameters.get("objective")
    if isinstance(objective, dict) and "epsilon" in objective:
        return str(objective["epsilon"])
    stored = _reads(evidence, "adversarial")
    return f"{evidence.config.augment.epsilon} (stored examples of another model)" if stored else None


def _reads(evidence: Evidence, name: str) -> bool:
    """Return whether the training of the model read artifacts of an input."""
    return bool(evidence.trained.inputs.get(name))


def _variable(evidence: Evidence) -> str:
    return f"{evidence.config.ingest.dataset.dataset.upper()}_DIR"
