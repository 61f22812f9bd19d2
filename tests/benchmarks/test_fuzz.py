"""Random inputs are read or refused by each reader; `benchmarks.fuzz` tries many more."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from benchmarks.fuzz_targets.registry import TARGETS
from benchmarks.fuzz_targets.target import is_read

INPUTS = {"config": 80, "table": 300, "record": 40, "archive": 200, "network": 10, "saved_model": 60}
INPUTS |= {"onnx": 150, "answer": 100, "request": 150, "ledger": 100}


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_are_read_or_refused(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    outcomes: list[bool] = []

    @settings(max_examples=INPUTS[name], suppress_health_check=list(HealthCheck))
    @given(target.inputs)
    def read(content: bytes) -> None:
        outcomes.append(is_read(target, content, tmp_path))

    read()
    assert set(outcomes) == {True, False}, "strategies that draw inputs of one kind alone find little"
