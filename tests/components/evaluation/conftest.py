"""Random predictions as the evaluation finds them, and TFMA runs over them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from dermrobust.models.tasks.ham10000 import lesion_task

CLASS_NAMES = ("bkl", "mel", "nv", "vasc")
TASK = lesion_task(CLASS_NAMES)
CONDITIONS = (("none", 0.0), ("fgsm", 0.3), ("pgd", 0.3), ("fgsm", 4.0), ("pgd", 4.0))

Shards = Mapping[str, Sequence[str]]


def predictions(skill: Mapping[str, float], images: int = 60) -> dict[str, pa.Table]:
    """Predictions of each model; `skill` is how far it lifts the true class, and attacks take from that."""
    random = np.random.default_rng(0)
    labels = random.choice(len(CLASS_NAMES), images, p=[0.3, 0.2, 0.45, 0.05])
    sex, age_group = random.choice(["female", "male"], images), random.choice(["20-39", "40-59"], images)
    skin_tone = random.choice(["light", "tan"], images)
    tables = {}
    for model, lift in skill.items():
        parts = []
        for attack, epsilon in CONDITIONS:
            logits = random.normal(size=(images, len(CLASS_NAMES)))
            logits[np.arange(images), labels] += lift - 0.3 * epsilon
            probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            part = {
                "image_id": [f"ISIC_{index:04d}" for index in range(images)],
                "lesion_id": [f"HAM_{index // 2:04d}" for index in range(images)],
                "label": labels,
                "dx": [CLASS_NAMES[label] for label in labels],
                "age_group": age_group,
                "sex": sex,
                "localization": ["unknown"] * images,
                "skin_tone": skin_tone,
                "attack": [attack] * images,
                "epsilon": pa.array([epsilon] * images, pa.float32()),
                "probabilities": pa.array(probabilities.astype(np.float32).tolist(), pa.list_(pa.float32())),
                "radius": pa.nulls(images, pa.float32()),
            }
            parts.append(pa.table(part))
        tables[model] = pa.concat_tables(parts)
    return tables


def write_shards(root: Path, tables: Mapping[str, pa.Table], shard_count: int = 3) -> Shards:
    """Writes Parquet shards in which an image's rows stay together, in another order for each model."""
    shards: dict[str, list[str]] = {}
    for seed, (model, table) in enumerate(tables.items()):
        folder = root / model / "predictions"
        folder.mkdir(parents=True)
        table = table.take(pa.array(np.random.default_rng(seed).permutation(table.num_rows)))
        shard_of_row = np.array([int(name[-4:]) % shard_count for name in table["image_id"].to_pylist()])
        for index in range(shard_count):
            path = folder / f"part-{index:05d}-of-{shard_count:05d}.parquet"
            pq.write_table(table.filter(pa.array(shard_of_row == index)), path)
            shards.setdefault(model, []).append(str(path))
    return shards


@dataclass(frozen=True)
class Evaluated:
    """Predictions of each model, and where TFMA's results on them are."""

    tables: Mapping[str, pa.Table]
    output_uri: str


@pytest.fixture(scope="session")
def class_names() -> Sequence[str]:
    return CLASS_NAMES


@pytest.fixture(scope="session")
def make_predictions() -> Callable[..., dict[str, pa.Table]]:
    return predictions


@pytest.fixture(scope="session")
def make_shards() -> Callable[..., Shards]:
    return write_shards


@pytest.fixture(scope="session")
def evaluate(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Evaluated]:
    """A function that predicts with models of given skill and runs TFMA, on their predictions and further ones."""
    from dermrobust.components.measure import tfma_run

    def run(skill: Mapping[str, float], further: Mapping[str, pa.Table] | None = None) -> Evaluated:
        root = tmp_path_factory.mktemp("evaluation")
        tables = {**predictions(skill), **(further or {})}
        eval_config = tfma_run.build_eval_config(list(tables), TASK)
        pipeline = beam.Pipeline(runner=FnApiRunner())
        batches = tfma_run.joined_batches(pipeline, write_shards(root, tables), TASK)
        tfma_run.run_tfma(batches, eval_config, str(root / "tfma"))
        pipeline.run().wait_until_finish()
        return Evaluated(tables, str(root / "tfma"))

    return run
