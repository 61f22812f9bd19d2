"""Trainings side by side on Spark: workers in other processes publish models, and tell of failures through files."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.component import Context
from dermrobust.components.progress import Silent
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.nodes import Node
from dermrobust.pipeline.sweep import run_sweep
from tests.pipeline.small_stages import Line, node

MODELS = ("vanilla", "online", "other")


def train(context: Context) -> None:
    """Write the id of the process, or fail as the parameters say."""
    params = context.params
    assert isinstance(params, Line)
    if params.text == "vanilla 0":
        raise UserError("choose a smaller batch")
    if params.text == "online 1":
        raise ValueError("no more memory\nand more lines")
    (uri,) = context.outputs.values()
    storage.write_bytes(storage.join(uri, "process"), str(os.getpid()).encode())


def graph(config: PipelineConfig) -> list[Node]:
    nodes = [node("ingest", "ingest"), node("preprocess", "preprocess", "ingest")]
    for name in MODELS:
        training = node(f"train[{name}]", "train", "preprocess", text=f"{name} {config.train.seed}")
        component = dataclasses.replace(training.component, executor="tests.spark.test_sweep:train")
        nodes.append(dataclasses.replace(training, component=component))
    return nodes


def test_workers_train_and_failures_are_told(master: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("runner", "sweep"):
        monkeypatch.setattr(f"dermrobust.pipeline.{module}.build_graph", graph)
    values = {
        "root": str(tmp_path / "root"),
        "defences": {name: {"objective": "fast"} for name in MODELS[1:]},
        "augment": {"models": {}},
        "beam": {"runner": "PySparkRunner", "options": [f"--spark_master={master}"]},
    }
    config = PipelineConfig.model_validate(values)

    result = run_sweep(config, Silent(), seeds=[0, 1])

    trained = [each for run in result.runs.values() for each in run.nodes if each.node.startswith("train")]
    processes = {int(Path(each.outputs["made"].path("process")).read_text()) for each in trained if each.ok}
    assert os.getpid() not in processes
    assert [each.status for each in trained].count("done") == 4
    messages = [each.message.splitlines() for each in result.nodes if each.message]
    mistake, crash = sorted(messages, key=len)
    assert mistake == ["seed 0: choose a smaller batch"]
    assert crash[0] == "seed 1: train[online] failed: ValueError: no more memory"
    trace = Path(crash[1].removeprefix("The traceback is in ")).read_text()
    assert "tests/spark/test_sweep.py" in trace
    assert trace.rstrip().endswith("and more lines")
    assert result.exit_code == 2

    again = run_sweep(config, Silent(), seeds=[0, 1])

    assert [each.status for run in again.runs.values() for each in run.nodes].count("cached") == 2 * 2 + 4
    assert not list((tmp_path / "root" / "staging").iterdir())
