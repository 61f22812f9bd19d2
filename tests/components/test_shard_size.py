"""The size of shards decides how work is divided, and no figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.threat import ThreatModel
from dermrobust.attacks.universal import Universal
from dermrobust.components.artifacts import Artifact
from dermrobust.components.evaluation.params import PredictParams, ProbeParams
from dermrobust.components.evaluation.predictions import prediction_uris
from dermrobust.components.evaluation.probes import CORRUPTED, HEALTH, PROBES, probe_uris
from dermrobust.components.evaluation.tables import read_tables
from dermrobust.components.examples import ExamplesSpec, Split
from dermrobust.components.ingest.component import INGEST, IngestParams
from dermrobust.components.ingest.datasets.synthetic.source import SyntheticSource
from dermrobust.components.measure.table import metrics_table
from dermrobust.components.measure.tfma_run import build_eval_config, joined_batches, run_tfma
from dermrobust.components.predict.component import PREDICT
from dermrobust.components.preprocess.component import PREPROCESS, PreprocessParams
from dermrobust.components.probe.component import PROBE
from tests.components.conftest import IMAGE_SIZE, Inputs, Workshop

IMAGES = 10
SHARED: dict[str, Any] = {
    "attacks": {"fgsm": FGSM(), "pgd": PGD(steps=2), "universal": Universal(passes=1, images=16)},
    "epsilons": (ThreatModel(4),),
    "batch_size": 16,
    "slices": ("skin_tone",),
}
PROBING = {"images": IMAGES, "queries": 0, "spsa_images": 0, "noise_draws": 1, "corruption_images": 3}


def evaluated(workshop: Workshop, examples: Artifact, model: Artifact, name: str) -> tuple[Artifact, Artifact]:
    """Predictions and probes."""
    given: Inputs = {"examples": examples, "model": model, "surrogates": (), "transferred": ()}
    predictions = workshop.make(PREDICT, PredictParams(**SHARED), name, **given)["predictions"]
    params = ProbeParams(**SHARED, **PROBING, corruptions=("jpeg",))
    return predictions, workshop.make(PROBE, params, name, predictions=predictions, **given)["probes"]


def rows(table: pa.Table) -> list[str]:
    return sorted(map(repr, table.to_pylist()))


def metrics(examples: Artifact, predictions: Artifact, probes: Artifact, output: Path) -> list[str]:
    task = ExamplesSpec.read(examples).task
    with beam.Pipeline(runner=FnApiRunner()) as root:
        shards, tried = {"model": prediction_uris(predictions)}, {"model": probe_uris(probes, PROBES)}
        run_tfma(joined_batches(root, shards, task, tried), build_eval_config(["model"], task), str(output))
    return rows(metrics_table(str(output), ["model"], "linf", 1))


def test_predictions_probes_and_metrics_do_not_depend_on_the_size_of_shards(
    workshop: Workshop, examples: Artifact, model: Artifact, tmp_path: Path
) -> None:
    source = SyntheticSource(count=240, height=32, width=40)
    dataset = workshop.make(INGEST, IngestParams(dataset=source, shard_size=7), "small_shards")["dataset"]
    params = PreprocessParams(image_size=IMAGE_SIZE)
    divided = workshop.make(PREPROCESS, params, "small_shards", dataset=dataset)["examples"]
    sizes = [ExamplesSpec.read(each).lengths[Split.TEST] for each in (examples, divided)]
    assert len(sizes[0]) == 1 and len(sizes[1]) > 4 and sum(sizes[0]) == sum(sizes[1])

    whole, parts = (
        evaluated(workshop, each, model, name) for each, name in ((examples, "whole"), (divided, "divided"))
    )

    assert len(prediction_uris(parts[0])) == len(sizes[1])
    assert rows(read_tables(prediction_uris(parts[0]))) == rows(read_tables(prediction_uris(whole[0])))
    for folder in (PROBES, CORRUPTED):
        assert rows(read_tables(probe_uris(parts[1], folder))) == rows(read_tables(probe_uris(whole[1], folder)))
    probed = [read_tables(probe_uris(each[1], HEALTH))["image_id"].to_pylist() for each in (whole, parts)]
    assert probed[0] == probed[1] and len(probed[0]) == IMAGES
    assert metrics(divided, *parts, tmp_path / "divided") == metrics(examples, *whole, tmp_path / "whole")
