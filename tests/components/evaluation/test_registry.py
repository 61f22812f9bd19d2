"""One registry of metrics: whatever is in it is documented, allowed in thresholds and shown."""

from pathlib import Path

import pytest

from dermrobust.components.evaluation.metrics.documentation import updated
from dermrobust.components.evaluation.metrics.registry import METRICS
from dermrobust.components.evaluation.params import EvaluateParams
from dermrobust.components.evaluation.thresholds import Threshold


@pytest.mark.parametrize("name", METRICS.names)
def test_a_metric_is_declared_under_its_name(name: str) -> None:
    metric = METRICS.resolve(name)
    assert metric.name == name
    assert metric.label() and metric.meaning


def test_the_documentation_lists_every_metric() -> None:
    text = Path(__file__).parents[3].joinpath("docs", "evaluation.md").read_text(encoding="utf-8")
    assert updated(text) == text, "run: python -m dermrobust.components.evaluation.metrics.documentation"


def test_the_json_schema_of_a_threshold_lists_every_metric() -> None:
    assert Threshold.model_json_schema()["properties"]["metric"]["enum"] == list(METRICS.names)


def test_every_metric_is_in_the_fingerprint_of_the_measurement() -> None:
    assert {METRICS.module(name) for name in METRICS.names} <= EvaluateParams().plugins()
