"""Garbage: what no recorded run reaches, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from dermrobust.pipeline.cli.main import main
from dermrobust.pipeline.config import PipelineConfig
from tests.pipeline.conftest import Run
from tests.pipeline.small_stages import trouble


def command(config: PipelineConfig, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--set", f"root={config.root}"])


def garbage(config: PipelineConfig, *options: str) -> dict[str, Any]:
    result = command(config, "gc", "--json", *options)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_what_runs_reach_is_kept(run: Run, config: PipelineConfig) -> None:
    run()
    run(one=" changed")
    size = sum(path.stat().st_size for path in Path(config.root, "artifacts").rglob("*") if path.is_file())

    assert garbage(config) == {"kept": size, "garbage": [], "deleted": False}


def test_what_a_deleted_run_alone_reached_is_shown_and_then_deleted(run: Run, config: PipelineConfig) -> None:
    old, new = run(), run(one=" changed")
    deleted = command(config, "runs", "delete", old.run)
    assert deleted.exit_code == 0, deleted.output
    alone = {old.output(node, "made") for node in ("train[one]", "evaluate", "export")}
    alone |= {old.output("export", "exported_model")}
    places = {artifact.uri for artifact in alone if artifact is not None}

    shown = garbage(config)

    assert {item["place"] for item in shown["garbage"]} == places
    assert all(Path(place).exists() for place in places)
    assert [found["id"] for found in json.loads(command(config, "runs", "--json").stdout)] == [new.run]

    assert garbage(config, "--delete") == {**shown, "deleted": True}
    assert not any(Path(place).exists() for place in places)
    assert {node.status for node in run(one=" changed").nodes} == {"cached"}
    assert {node.node for node in run().nodes if node.status == "done"} == {"train[one]", "evaluate", "export"}


def test_unfinished_work_is_garbage_until_its_run_goes_on(run: Run, config: PipelineConfig) -> None:
    def crash() -> None:
        raise ValueError("a crash")

    trouble["train[two]"] = crash
    run()
    trouble.clear()
    (item,) = garbage(config)["garbage"]
    assert item["reason"] == "unfinished work"

    run()

    assert garbage(config)["garbage"] == []


def test_nothing_is_deleted_while_a_run_is_at_work(run: Run, config: PipelineConfig) -> None:
    told: list[Result] = []
    trouble["evaluate"] = lambda: told.append(command(config, "gc", "--delete"))

    result = run()

    assert result.exit_code == 0
    (refused,) = told
    assert refused.exit_code == 2
    assert f"run '{result.run}' is at work" in refused.stderr


def test_a_run_that_is_not_there_is_not_deleted(run: Run, config: PipelineConfig) -> None:
    result = run()

    refused = command(config, "runs", "delete", result.run, "nonesuch")

    assert refused.exit_code == 2
    assert "there is no run 'nonesuch'" in refused.stderr
    assert len(json.loads(command(config, "runs", "--json").stdout)) == 1
