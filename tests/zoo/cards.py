"""Zoos that were drawn: cards with plausible figures, and folders whose digests fit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dermrobust.components.evaluation.checks import Check, Status
from dermrobust.components.evaluation.names import CONSTANT
from dermrobust.models.preprocessing import Preprocessing
from dermrobust.models.tasks.ham10000 import TASK
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.zoo.card import Card, CardFigure, Measurement, TestSplit, Training, conditions
from dermrobust.pipeline.zoo.card_text import render_card_text
from tests.pipeline.report.evaluations import ATTACKS, EPSILONS, metric_rows

NAME = "robust"
MODEL_FILES = ("card.json", "card.md", "config.json", "model.keras")
DIGEST = "5e" * 32
"""Digest of the test split of drawn cards."""


def figures(model: str = "trades") -> tuple[CardFigure, ...]:
    """What a card takes of the drawn evaluation of a model."""
    places = conditions(EPSILONS)
    slices = ("overall", *(f"dx={name}" for name in TASK.class_names))
    metrics = ("accuracy", "balanced_accuracy", "macro_auc", "critical_sensitivity")
    keep = ("attack", "epsilon", "slice", "metric", "value", "n", "lower", "upper", "small")
    return tuple(
        CardFigure.model_validate({name: row[name] for name in keep})
        for row in metric_rows((model,))
        if row["model"] == model
        and (row["attack"], row["epsilon"]) in places
        and row["slice"] in slices
        and row["metric"] in metrics
    )


def card(name: str = NAME, **changes: Any) -> Card:
    """A card of a model of HAM10000 without files."""
    values: dict[str, Any] = {
        "name": name,
        "task": TASK,
        "preprocessing": Preprocessing(image_size=(48, 64), color_constancy="shades_of_gray"),
        "input": "float32 images",
        "output": "float32 logits",
        "license": "CC-BY-NC-4.0",
        "license_reason": "The weights are derived from the images of ham10000.",
        "training": Training(
            command=f"dermrobust run --config zoo/ham10000/{name}/config.json --to train",
            seconds=5400,
            machine="2 cores",
            commit="0badcafe",
            versions={"keras": "3.15.1"},
            threat="linf:4/255",
            network="resnet",
            weights=309_607,
            parameters={"epochs": 15},
            fingerprint="0badcafe",
            images=6964,
        ),
        "split": TestSplit(dataset="ham10000", images=1930, groups=1494, sha256=DIGEST),
        "evaluation": Measurement(
            run="20261122T100000-aaaaaa",
            name="trades",
            norm="linf",
            epsilons=EPSILONS,
            attacks=ATTACKS,
            settings={"stop_at_success": True, "gradient_precision": "bfloat16"},
            seed=0,
            specificity=0.9,
            constant_class="nv",
            versions={"tensorflow": "2.21.0"},
        ),
        "figures": figures(),
        "floor": figures(CONSTANT),
        "checks": [check("steps", Status.WARN), check("budget", Status.PASS)],
        "files": {},
    }
    return Card.model_validate({**values, **changes})


def check(name: str, status: Status) -> Check:
    return Check(name=name, title=f"Check {name}", model=None, status=status, sentence="As it says.", figures={})


def write_model(zoo: Path, drawn: Card, model: bytes = b"weights") -> Path:
    """Write the folder of a model, as it is added to a zoo."""
    folder = zoo / drawn.task.name / drawn.name
    folder.mkdir(parents=True)
    files: Mapping[str, bytes] = {"model.keras": model, "config.json": json.dumps(config()).encode()}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    text = render_card_text(drawn.model_copy(update={"files": digests})).encode()
    (folder / "card.md").write_bytes(text)
    digests["card.md"] = hashlib.sha256(text).hexdigest()
    (folder / "card.json").write_bytes(drawn.model_copy(update={"files": digests}).to_json())
    return folder


def config() -> dict[str, Any]:
    return PipelineConfig().model_dump(mode="json")
