"""The command that checks a machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from dermrobust.pipeline.cli.main import main


@pytest.mark.slow
def test_the_self_test_runs_every_stage(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = CliRunner().invoke(main, ["doctor", "--json", "--set", f"root={tmp_path}"])
    assert "train[vanilla]: done in" in capfd.readouterr().err
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)}
    assert findings["self-test"]["ok"], findings["self-test"]
    assert {"python", "tensorflow", "cleverhans", "memory", "disk", "beam runner"} <= set(findings)
    assert result.exit_code == 0


def test_a_runner_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    arguments = ["doctor", "--quick", "--json", "--set", f"root={tmp_path}", "--set", "beam.runner=NoSuchRunner"]
    result = CliRunner().invoke(main, arguments)
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)}
    assert not findings["beam runner"]["ok"]
    assert "NoSuchRunner" in findings["beam runner"]["detail"]
    assert result.exit_code == 1
