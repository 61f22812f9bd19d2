from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from dermrobust.components.evaluation.reading import Evaluation, read_evaluation
from dermrobust.pipeline.report.lineage import ArtifactRecord, DataRecord, Lineage, ModelRecord, NodeRecord
from tests.pipeline.report.browser import chromium
from tests.pipeline.report.evaluations import ATTACKS, CLASSES, IMAGES, MODELS, blessing, write_evaluation


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation of three models, with all its files and the gate's verdict beside them."""
    folder = tmp_path_factory.mktemp("evaluation")
    write_evaluation(folder)
    (folder / "blessing.json").write_text(json.dumps(blessing(MODELS[-1], blessed=False)))
    return folder


@pytest.fixture(scope="session")
def evaluation(folder: Path) -> Evaluation:
    return read_evaluation(str(folder), str(folder))


@pytest.fixture(scope="session")
def lineage() -> Lineage:
    data = DataRecord(
        name="ham10000",
        class_names=tuple(CLASSES),
        counts={"train": 6964, "test": IMAGES},
        class_counts={"train": (229, 360, 769, 80, 780, 4648, 98), "test": tuple(CLASSES.values())},
        preparation={"image_size": 64},
        digest="d1" * 32,
    )
    model = ModelRecord(MODELS[-1], "0badcafe", "ab" * 32, {"network": "small_resnet", "epochs": 15}, {"epochs": 15})
    artifact = ArtifactRecord("model", f"train[{MODELS[-1]}]", "0badcafe", "ab" * 32, 1000, {}, {}, {"keras": "3.15.1"})
    return Lineage(
        run="20261122T100000-aaaaaa",
        started="2026-11-22T10:00:00.000+00:00",
        finished="2026-11-22T10:40:00.000+00:00",
        status="succeeded",
        version="0.1.0",
        config='{"seed": 0}',
        commands=("dermrobust run --config config.json",),
        nodes=(NodeRecord("ingest", "ingest", "done", 12.0, "f1f2"),),
        artifacts=(artifact,),
        models=(model,),
        data=data,
        attacks=ATTACKS,
        seed=0,
    )


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    with chromium() as driver:
        yield driver
