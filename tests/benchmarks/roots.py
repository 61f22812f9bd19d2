"""Roots of runs that trained models of colored images, without the runs."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from dermrobust.components.adversarial_shard import write_records
from dermrobust.components.artifacts import Artifact, ArtifactStore, ArtifactType, Provenance
from dermrobust.components.evaluation.predictions import PREDICTIONS, part_name, predictions_table
from dermrobust.components.examples import SPEC, ExamplesSpec, Split, encode, encode_pixels, shard_name
from dermrobust.models.preprocessing import Preprocessing
from dermrobust.models.tasks.ham10000 import lesion_task
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import ledger_path
from tests.small_networks import CLASS_COUNT, colored_images

SIZE, COUNT = 8, 96
PIXELS, LABELS = colored_images(COUNT, SIZE, seed=1)
ORIGIN = Provenance("test", {}, {}, {})


def published(
    store: ArtifactStore,
    type_: ArtifactType,
    key: str,
    write: Callable[[Path], object],
    origin: Provenance = ORIGIN,
) -> Artifact:
    staged = store.stage(type_, key)
    write(Path(staged))
    return store.publish(staged, type_, key, origin)


def write_examples(folder: Path, split: Split = Split.TEST, lesions: Sequence[str] = ("",) * COUNT) -> None:
    """All images in two shards of a split; an image whose lesion is unknown is a group of its own."""
    counts = dict.fromkeys(Split, 0) | {split: COUNT}
    shards = dict.fromkeys(Split, 0) | {split: 2}
    spec = ExamplesSpec(
        task=lesion_task("abcdefg"),
        preprocessing=Preprocessing(image_size=SIZE),
        shards=shards,
        lengths={each: [COUNT // 2] * count for each, count in shards.items()},
        counts=counts,
        class_counts={each: [0] * CLASS_COUNT for each in Split},
    )
    (folder / SPEC).write_text(spec.model_dump_json())
    for index, rows in enumerate(np.array_split(np.arange(COUNT), 2)):
        records = [
            encode(
                {
                    "image/encoded": encode_pixels(PIXELS[row]),
                    "image/id": f"image{row}",
                    "lesion/id": lesions[row],
                    "label": int(LABELS[row]),
                    "dx": "abcdefg"[LABELS[row]],
                }
            )
            for row in rows
        ]
        write_records(str(folder / shard_name(split, index, 2)), records)


def note_run(config: PipelineConfig, run: str, made: dict[str, Artifact]) -> None:
    ledger = Ledger(ledger_path(config))
    ledger.begin_run(run, {})
    for node, artifact in made.items():
        # Where it lies is noted as seen from the folder of the run, which is another one.
        noted = Artifact(artifact.type, artifact.fingerprint, artifact.digest, f"elsewhere/{artifact.fingerprint}")
        ledger.record(
            run,
            node=node,
            stage="train",
            component="any",
            fingerprint=artifact.fingerprint,
            status="done",
            seconds=0.0,
            message="",
            inputs={},
            outputs={artifact.type.value: noted},
        )


def write_predictions(folder: Path, auto: int = 3) -> None:
    """Predictions: all are right under `fgsm` at 4, every second one clean, one in `auto` under `auto` at 8."""
    (folder / PREDICTIONS).mkdir()
    wrong = (LABELS + 1) % len(set(LABELS))
    found = {
        ("none", None, 0.0): np.where(np.arange(COUNT) % 2 == 0, LABELS, wrong),
        ("auto", "linf", 8.0): np.where(np.arange(COUNT) % auto == 0, LABELS, wrong),
        ("fgsm", "linf", 4.0): LABELS,
    }
    task = lesion_task("abcdefg")
    blank = dict.fromkeys(task.record_features) | {"probabilities": [], "radius": None, "model": "model"}
    for part, rows in enumerate(np.array_split(np.arange(COUNT)[::-1], 2)):
        table = [
            blank
            | {"image/id": f"image{row}", "label": int(LABELS[row]), "predicted": int(predicted[row])}
            | {"attack": attack, "norm": norm, "epsilon": epsilon}
            for (attack, norm, epsilon), predicted in found.items()
            for row in rows
        ]
        pq.write_table(predictions_table(table, task, ()), folder / PREDICTIONS / part_name(part, 2))
