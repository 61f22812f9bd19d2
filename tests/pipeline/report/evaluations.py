"""Draws an evaluation as the evaluate component writes it, a run's other artifacts, and the ledger that knows them."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from dermrobust.components.artifacts import Artifact, ArtifactStore, ArtifactType, Provenance
from dermrobust.models.tasks.ham10000 import TASK
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.ledger import Ledger

MODELS = ("vanilla", "fgsm", "trades")
CLASSES = {"akiec": 62, "bcc": 98, "bkl": 211, "df": 22, "mel": 218, "nv": 1291, "vasc": 28}
GROUPS = {
    "sex=female": 870,
    "sex=male": 1048,
    "sex=unknown": 12,
    "age_group=0-19": 28,
    "age_group=20-39": 371,
    "age_group=40-59": 822,
    "age_group=60-79": 601,
    "age_group=80+": 108,
    "localization=back": 431,
    "localization=face": 149,
    "localization=lower extremity": 402,
    "localization=acral": 2,
    "skin_tone=light": 1502,
    "skin_tone=tan": 402,
    "skin_tone=dark": 26,
}
EPSILONS = (1.0, 2.0, 4.0, 8.0)
ATTACKS: dict[str, dict[str, Any]] = {
    "fgsm": {"attack": "fgsm"},
    "pgd": {"attack": "pgd", "steps": 20, "step_size": None, "random_start": True},
    "auto": {"attack": "auto", "steps": 100},
    "transfer": {"attack": "transfer", "source": "vanilla", "crafted_with": "pgd"},
}
IMAGES, LESIONS, SMALLEST = 1930, 1494, 30
_STRENGTH = {"fgsm": 0.7, "pgd": 1.0, "auto": 1.08, "transfer": 0.3, "worst_case": 1.12}
_HARDNESS = {"vanilla": 1.9, "fgsm": 0.9, "trades": 0.19}
_CLEAN = {"vanilla": 0.84, "fgsm": 0.79, "trades": 0.73}
_RATES = ("accuracy", "balanced_accuracy", "macro_auc", "critical_sensitivity")
_DANGERS = ("attack_success_rate", "missed_malignant", "malignant_to_benign", "benign_to_malignant", "ece")


def interval(value: float, n: int) -> tuple[float, float]:
    half = 1.96 * math.sqrt(value * (1 - value) / n)
    return max(0.0, value - half), min(1.0, value + half)


def metric_rows(models: Sequence[str] = MODELS, attacks: Sequence[str] = tuple(ATTACKS)) -> list[dict[str, Any]]:
    return [*(row for model in models for row in _model_rows(model, attacks)), *_constant_rows(attacks)]


def _constant_rows(attacks: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The classifier that always answers nv: the same figures under every attack."""
    slices = {"overall": IMAGES, **{f"dx={name}": n for name, n in CLASSES.items()}, **GROUPS}
    for attack, epsilon in (("none", 0.0), *((a, e) for a in (*attacks, "worst_case") for e in EPSILONS)):
        for where, n in slices.items():
            accuracy = float(where == "dx=nv") if where.startswith("dx=") else CLASSES["nv"] / IMAGES
            for metric, value in (("accuracy", accuracy), ("balanced_accuracy", 1 / len(CLASSES))):
                if metric == "accuracy" or not where.startswith("dx="):
                    low, high = interval(value, n)
                    row: dict[str, Any] = {"model": "constant", "attack": attack, "norm": "linf" if epsilon else None}
                    row |= {"epsilon": epsilon, "slice": where, "metric": metric, "value": value, "n": n}
                    yield {**row, "lower": low, "upper": high, "small": n < SMALLEST}


def _model_rows(model: str, attacks: Sequence[str]) -> Iterator[dict[str, Any]]:
    slices = {"overall": IMAGES, **{f"dx={name}": n for name, n in CLASSES.items()}, **GROUPS}
    places = [("none", 0.0), *((a, e) for a in (*attacks, "worst_case") for e in EPSILONS)]
    for index, (where, n) in enumerate(slices.items()):
        for attack, epsilon in places:
            left = math.exp(-_HARDNESS.get(model, 0.5) * _STRENGTH.get(attack, 1.0) * epsilon) if epsilon else 1.0
            base = _CLEAN.get(model, 0.8) * left * (1 - 0.03 * (index % 5))
            for metric in _metrics(where, attack):
                shift = {"balanced_accuracy": 0.82, "macro_auc": 1.1, "critical_sensitivity": 0.9}.get(metric, 1.0)
                value = min(1.0, base * shift) if metric in _RATES else (1 - left) * 0.9 + 0.03
                low, high = interval(value, n) if metric != "macro_auc" else (None, None)
                norm = "linf" if epsilon else None
                row: dict[str, Any] = {
                    "model": model,
                    "attack": attack,
                    "norm": norm,
                    "epsilon": epsilon,
                    "slice": where,
                }
                row |= {"metric": metric, "value": value, "n": n, "lower": low, "upper": high, "small": n < SMALLEST}
                yield row
    # What TFMA gives for all attacks together; nobody shows it.
    yield {**row, "attack": None, "epsilon": None, "norm": None, "slice": "overall", "metric": "accuracy", "value": 0.5}


def _metrics(where: str, attack: str) -> tuple[str, ...]:
    if where.startswith("dx="):
        return ("accuracy",) if attack == "none" else ("accuracy", "attack_success_rate")
    rates = _RATES if attack != "worst_case" else ("accuracy", "balanced_accuracy", "critical_sensitivity")
    return (*rates, "missed_malignant", "ece") if attack == "none" else (*rates, *_DANGERS)


def corruption_rows(models: Sequence[str] = MODELS) -> list[dict[str, Any]]:
    names = ("gaussian_noise", "defocus_blur", "motion_blur", "brightness", "contrast", "jpeg", "hair", "ruler")
    rows = []
    for model in models:
        for index, name in enumerate(names):
            for severity in range(1, 6):
                for metric, factor in (("accuracy", 1.0), ("balanced_accuracy", 0.82)):
                    value = _CLEAN.get(model, 0.8) * factor * (1 - 0.02 * (index + 1) * severity)
                    low, high = interval(value, 512)
                    row = {"model": model, "corruption": name, "severity": severity, "metric": metric}
                    rows.append({**row, "value": value, "n": 512, "lower": low, "upper": high})
    return rows


def comparison_rows(models: Sequence[str] = MODELS) -> list[dict[str, Any]]:
    rows = []
    for index, model in enumerate(models[1:]):
        for attack, epsilon in (("none", 0.0), *(("worst_case", epsilon) for epsilon in EPSILONS)):
            change = -0.06 - 0.05 * index if attack == "none" else 0.21 + 0.2 * index - 0.01 * epsilon
            row = {"model": model, "baseline": models[0], "attack": attack, "epsilon": epsilon, "slice": "overall"}
            row |= {"metric": "accuracy", "n": IMAGES, "change": change, "lower": change - 0.02, "upper": change + 0.02}
            rows.append({**row, "p_value": 0.00001, "p_adjusted": 0.0002, "significant": epsilon < 8})
    return rows


def png(seed: int, side: int = 64, shift: int = 0) -> bytes:
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    blot = np.exp(-((x - 0.5) ** 2 + (y - 0.45) ** 2) / 0.04)[..., None]
    skin = np.array([214, 168, 148]) - blot * np.array([120, 110, 90]) + generator.normal(0, 4, (side, side, 3))
    change = shift * np.sign(np.random.default_rng(seed + 1).normal(size=(side, side, 3)))
    buffer = io.BytesIO()
    Image.fromarray(np.clip(skin.round() + change, 0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def gallery_rows(models: Sequence[str] = MODELS, each: int = 6, side: int = 64) -> list[dict[str, Any]]:
    turns = (
        ("mel", "nv", 9),
        ("nv", "mel", 3),
        ("bcc", "bkl", 7),
        ("akiec", "bcc", 1),
        ("bkl", "nv", 0),
        ("mel", "bkl", 9),
    )
    rows = []
    for at, model in enumerate(models):
        for index in range(each):
            dx, after, danger = turns[index % len(turns)]
            seed = 100 * at + index
            row: dict[str, Any] = {
                "model": model,
                "attack": ("pgd", "auto")[index % 2],
                "epsilon": 4.0,
                "truth": dx,
                "danger": danger,
            }
            row |= {"image_id": f"ISIC_{24000 + seed:07d}", "predicted_before": dx, "predicted_after": after}
            row |= {"p_before": 0.91 - 0.01 * index, "p_after": 0.88, "clean": png(seed, side)}
            rows.append({**row, "adversarial": png(seed, side, 4)})
    return sorted(rows, key=lambda row: -row["danger"])


def check_rows(models: Sequence[str] = MODELS) -> list[dict[str, Any]]:
    shared = {"title": "Stored images keep the budget", "model": None, "status": "pass", "figures": {"outside": 0}}
    rows: list[dict[str, Any]] = [
        {"name": "budget", **shared, "sentence": "All 92,640 stored images lie within their budget."}
    ]
    for model in models:
        failing = model == "fgsm"
        rows.append(
            {
                "name": "gradients",
                "title": "Gradients lead somewhere",
                "model": model,
                "status": "fail" if failing else "pass",
                "sentence": "An attack without gradients does better than one with them: the gradients are masked."
                if failing
                else "Attacks through gradients do better than those without.",
                "figures": {"with_gradients": 0.3121, "without_gradients": 0.21 if failing else 0.55, "note": None},
            }
        )
        warned = {"title": "More steps change little", "model": model, "status": "warn"}
        sentence = "Twice the steps take 1.1 points more."
        rows.append({"name": "steps", **warned, "sentence": sentence, "figures": {"change": 0.011}})
    return rows


def about(models: Sequence[str] = MODELS, **changes: Any) -> dict[str, Any]:
    return {
        "task": TASK.model_dump(mode="json"),
        "models": list(models),
        "baseline": models[0],
        "norm": "linf",
        "epsilons": list(EPSILONS),
        "attacks": ATTACKS,
        "seed": 0,
        "min_slice_size": SMALLEST,
        "specificity": 0.9,
        "images": IMAGES,
        "groups": LESIONS,
        "notes": ["Skin tone is estimated from the images; nobody recorded it."],
        "versions": {"tensorflow": "2.21.0"},
        "constant_class": "nv",
        **changes,
    }


def blessing(model: str, blessed: bool) -> dict[str, Any]:
    def verdict(metric: str, value: float, n: int, passed: bool, judged: bool, **threshold: Any) -> dict[str, Any]:
        low, high = interval(value, n)
        asked = {"metric": metric, "attack": "none", "epsilon": 0.0, "class": None, "min": 0.3, **threshold}
        differences = {"change_lower": None, "change_upper": None}
        return {
            **{"threshold": asked, "value": value, "baseline_value": 0.6, "change": value - 0.6, "n": n},
            **{"lower": low, "upper": high, "passed": passed, "judged": judged, **differences},
            "reason": f"{metric} is {value:.4g} on {n} images; the gate asks for at least {asked['min']}.",
        }

    verdicts = [
        verdict("balanced_accuracy", 0.5986, IMAGES, True, True),
        verdict("accuracy", 0.27, 218, blessed, True, attack="worst_case", epsilon=4.0, **{"class": "mel"}, min=0.25),
        verdict("accuracy", 0.2, 22, False, False, **{"class": "df"}),
    ]
    return {"blessed": blessed, "candidate": model, "baseline": MODELS[0], "thresholds": verdicts, "checks": []}


def write_evaluation(folder: Path, models: Sequence[str] = MODELS, *, gallery: int = 6, **changes: Any) -> None:
    """Write all files of an evaluation; `changes` are those of `evaluation.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    attacks = tuple(changes.get("attacks", ATTACKS))
    tables = {
        "metrics": metric_rows(models, attacks),
        "corruptions": corruption_rows(models),
        "comparisons": comparison_rows(models),
        "gallery": gallery_rows(models, gallery),
    }
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    losses = [
        {"model": model, "attack": "transfer", "epsilon": epsilon, "transferred": 0.7 - epsilon / 50, "adaptive": 0.2}
        for model in models
        for epsilon in EPSILONS
    ]
    (folder / "adaptive.json").write_text(json.dumps({"losses": losses}))
    (folder / "checks.json").write_text(json.dumps({"checks": check_rows(models)}))
    (folder / "evaluation.json").write_text(json.dumps(about(models, **changes)))


class DrawnRoot:
    """A root with runs that were drawn, not computed."""

    def __init__(self, root: Path) -> None:
        self.config = PipelineConfig(root=str(root))
        self.store = ArtifactStore(str(root))
        self.ledger = Ledger(root / "ledger.sqlite")

    def publish(
        self,
        type_: ArtifactType,
        key: str,
        producer: str,
        files: Mapping[str, Any],
        inputs: Mapping[str, Sequence[Artifact]] | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Artifact:
        staged = Path(self.store.stage(type_, key))
        for name, content in files.items():
            (staged / name).write_text(content if isinstance(content, str) else json.dumps(content))
        origin = Provenance(producer, parameters or {}, inputs or {}, {"python": "3.11", "tensorflow": "2.21.0"})
        return self.store.publish(str(staged), type_, key, origin)

    def run(
        self,
        run: str,
        models: Sequence[str] = MODELS,
        *,
        blessed: bool = False,
        salt: str = "a",
        settings: Any = None,
        **changes: Any,
    ) -> Path:
        """Note a run that evaluated; return the folder of its evaluation."""
        counts = {"train": 6964, "validation": 1121, "test": IMAGES}
        listed: dict[str, Any] = {"task": TASK.model_dump(mode="json"), "counts": counts}
        listed["class_counts"] = {split: [n // 7] * 6 + [n - 6 * (n // 7)] for split, n in counts.items()}
        data = self.publish(
            ArtifactType.DATASET,
            f"data{salt}",
            "ingest",
            {"content": salt},
            parameters={"dataset": {"dataset": "ham10000"}},
        )
        examples = self.publish(
            *(ArtifactType.EXAMPLES, f"examples{salt}", "preprocess", {"examples.json": listed}),
            {"dataset": [data]},
            {"image_size": 64, "color_constancy": "none"},
        )
        attacks, seed = changes.get("attacks", ATTACKS), changes.get("seed", 0)
        predictions: list[Artifact] = []
        for model in models:
            trained = self.publish(
                *(ArtifactType.MODEL, f"model-{len(predictions)}{run}", f"train[{model}]"),
                {"metrics.json": {"epochs": 15, "training_images": 6964}},
                {"examples": [examples]},
                {"network": "small_resnet", "objective": {"objective": "trades", "beta": 6.0}, "epochs": 15},
            )
            predictions.append(
                self.publish(
                    *(ArtifactType.PREDICTIONS, f"predictions-{len(predictions)}{run}", f"predict[{model}]"),
                    {"content": model},
                    {"examples": [examples], "model": [trained]},
                    {"attacks": attacks, "seed": seed},
                )
            )
        staged = Path(self.store.stage(ArtifactType.EVALUATION, f"evaluation{run}"))
        write_evaluation(staged, models, **changes)
        origin = Provenance("evaluate", {}, {"predictions": predictions}, {"tensorflow-model-analysis": "0.52.0"})
        evaluation = self.store.publish(str(staged), ArtifactType.EVALUATION, f"evaluation{run}", origin)
        verdict = self.publish(
            ArtifactType.BLESSING, f"evaluation{run}", "evaluate", {"blessing.json": blessing(models[-1], blessed)}
        )
        self.begin(run, settings)
        made = {"dataset": data}
        self.node(run, "ingest", "ingest", made)
        self.node(run, "preprocess", "preprocess", {"examples": examples})
        self.node(run, "evaluate", "evaluate", {"evaluation": evaluation})
        self.node(run, "gate", "evaluate", {"blessing": verdict})
        self.ledger.end_run(run, "succeeded")
        return Path(evaluation.uri)

    def begin(self, run: str, settings: Any = None) -> None:
        self.ledger.begin_run(run, settings or self.config.model_dump(mode="json"))

    def node(
        self, run: str, node: str, stage: str, outputs: Mapping[str, Artifact] | None = None, status: str = "done"
    ) -> None:
        """Note what became of a node."""
        self.ledger.record(
            run,
            node=node,
            stage=stage,
            component=stage,
            fingerprint=f"fingerprint of {node}",
            status=status,
            seconds=12.5,
            message="",
            inputs={},
            outputs=outputs or {},
        )
