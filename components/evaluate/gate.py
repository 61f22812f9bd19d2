"""From TFMA's validation to a blessing: whether the candidate may be exported, and why (not)."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import tensorflow_model_analysis as tfma
from pydantic import BaseModel, ConfigDict
from tensorflow_model_analysis.proto import config_pb2, validation_result_pb2
from tensorflow_model_analysis.slicer import slicer_lib

from components.evaluate.table import OVERALL
from components.evaluate.tfma_run import metric_thresholds, slicing_spec
from components.evaluate.thresholds import Gate, Threshold, canonical_epsilon


class Verdict(BaseModel):
    """What one threshold asked for and what was found.

    Attributes:
        threshold: What was asked.
        value: The candidate's metric; None if it is undefined or the slice has no images.
        baseline_value: The baseline's metric; None also if there is no baseline.
        change: The candidate's metric minus the baseline's.
        n: Number of rows that the candidate's metric was measured on.
        passed: Whether TFMA's validation found the threshold to hold.
        reason: The verdict in one sentence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: Threshold
    value: float | None
    baseline_value: float | None
    change: float | None
    n: int | None
    passed: bool
    reason: str


class Blessing(BaseModel):
    """Whether the candidate may be exported.

    Attributes:
        blessed: Whether every threshold passed and TFMA's validation as a whole is ok.
        candidate: Name of the model that was gated.
        baseline: Name of the model it was compared with.
        thresholds: A verdict for each threshold of the gate, in its order.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    blessed: bool
    candidate: str
    baseline: str | None
    thresholds: list[Verdict]


def judge(gate: Gate, output_uri: str, table: pa.Table) -> Blessing:
    """Reads TFMA's validation of the gate and returns the blessing.

    Args:
        gate: The gate that the TFMA run was configured with.
        output_uri: Folder that `run_tfma` wrote to.
        table: What `metrics_table` read from there, with candidate and baseline.
    """
    return bless(gate, tfma.load_validation_result(output_uri), table)


def bless(gate: Gate, validation: validation_result_pb2.ValidationResult, table: pa.Table) -> Blessing:
    """The blessing that TFMA's validation amounts to; the table only says what was found.

    Args:
        gate: The gate that the TFMA run was configured with.
        validation: TFMA's verdict.
        table: From `metrics_table`, with candidate and baseline.
    """
    found = {tuple(row[name] for name in _PLACE): row for row in table.to_pylist()}
    verdicts = [_verdict(threshold, gate, validation, found) for threshold in gate.thresholds]
    return Blessing(
        blessed=validation.validation_ok and all(verdict.passed for verdict in verdicts),
        candidate=gate.candidate,
        baseline=gate.baseline,
        thresholds=verdicts,
    )


_PLACE = ("model", "attack", "epsilon", "slice", "metric")
_Found = Mapping[tuple[Any, ...], Mapping[str, Any]]


def _verdict(
    threshold: Threshold, gate: Gate, validation: validation_result_pb2.ValidationResult, found: _Found
) -> Verdict:
    candidate = _row(found, gate.candidate, threshold, threshold.metric)
    baseline = _row(found, gate.baseline, threshold, threshold.metric)
    value, before = candidate.get("value"), baseline.get("value")
    change = None if value is None or before is None else value - before
    exists = _has_slice(threshold, validation)
    failed = list(_failures(threshold, validation))
    if not exists:
        reason = f"{threshold}: the test images have no such slice."
    elif value is None or (threshold.compares and change is None):
        whose = "candidate" if value is None else "baseline"
        reason = f"{threshold}: the metric is undefined for the {whose} in this slice."
    else:
        reason = _sentence(threshold, value, change, int(candidate["n"]))
    return Verdict(
        threshold=threshold,
        value=value,
        baseline_value=before,
        change=change,
        n=candidate.get("n"),
        passed=exists and not failed,
        reason=reason,
    )


def _row(found: _Found, model: str | None, threshold: Threshold, metric: str) -> Mapping[str, Any]:
    where = OVERALL if threshold.lesion is None else f"dx={threshold.lesion}"
    return found.get((model, threshold.attack, canonical_epsilon(threshold.epsilon), where, metric), {})


def _has_slice(threshold: Threshold, validation: validation_result_pb2.ValidationResult) -> bool:
    spec = slicing_spec(threshold)
    checked = any(
        details.slicing_spec == spec and details.num_matching_slices
        for details in validation.validation_details.slicing_details
    )
    return checked and spec not in validation.missing_slices


def _failures(
    threshold: Threshold, validation: validation_result_pb2.ValidationResult
) -> Iterator[config_pb2.MetricThreshold]:
    """Those TFMA thresholds that belong to this threshold of the gate and failed in its slice."""
    translated = metric_thresholds(threshold)
    for in_slice in validation.metric_validations_per_slice:
        key = dict(slicer_lib.deserialize_slice_key(in_slice.slice_key))
        if "epsilon" in key:
            key["epsilon"] = canonical_epsilon(key["epsilon"])
        if key == threshold.slice_values:
            for failure in in_slice.failures:
                if failure.metric_key.name == threshold.metric and failure.metric_threshold in translated:
                    yield failure.metric_threshold


def _sentence(threshold: Threshold, value: float, change: float | None, n: int) -> str:
    asked = (
        (threshold.min, "at least {:.4g}"),
        (threshold.max, "at most {:.4g}"),
        (threshold.min_change, "at least {:+.4g} from the baseline"),
        (threshold.max_change, "at most {:+.4g} from the baseline"),
    )
    wanted = " and ".join(text.format(bound) for bound, text in asked if bound is not None)
    changed = f" ({change:+.4g} from the baseline)" if threshold.compares and change is not None else ""
    return f"{threshold} is {value:.4g}{changed} on {n} images; the gate asks for {wanted}."
