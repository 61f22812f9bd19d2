"""One TFMA run over every model, attack and slice, with TFMA's own validation of the gate's thresholds."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import tensorflow_model_analysis as tfma
from google.protobuf import wrappers_pb2
from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator as tfma_evaluator
from tensorflow_model_analysis.extractors import (
    extractor,
    features_extractor,
    labels_extractor,
    materialized_predictions_extractor,
    slice_key_extractor,
)
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib
from tensorflow_model_analysis.writers import eval_config_writer, metrics_plots_and_validations_writer

from dermrobust.attacks.errors import UserError
from dermrobust.components.evaluation.thresholds import Gate, Threshold, canonical_epsilon
from dermrobust.components.measure import metrics
from dermrobust.components.measure.joining import GROUPS, JoinShards, predictions_feature

SLICINGS = (("attack", "epsilon"), *(("attack", "epsilon", group) for group in GROUPS))
"""The features that each slicing fixes. None mixes attacks or budgets: a mean over them says nothing."""

TOLERANCE = 1e-9
"""Bounds include their value; without it 0.70 - 0.75 fails a `min_change` of -0.05 by rounding."""


def build_eval_config(
    models: Sequence[str],
    class_names: Sequence[str],
    gate: Gate | None,
    *,
    malignant: Collection[str] = (),
    specificity: float = 0.9,
) -> config_pb2.EvalConfig:
    """What TFMA is to compute: models, slices, metrics, and the gate's thresholds on the candidate.

    Args:
        models: Names of all models that are evaluated.
        class_names: Names of the lesion classes, in the order of the probabilities.
        gate: What the candidate must reach; without it nothing is validated, and TFMA calls the result not ok.
        malignant: Names of the malignant classes.
        specificity: At which sensitivity to melanoma is measured.

    Raises:
        UserError: If the gate names a model or a lesion class that does not exist.
        ValueError: If there is no model, or models repeat.
    """
    if len(set(models)) != len(models) or not models:
        raise ValueError(f"evaluate: model names must be given and differ, found {list(models)}")
    if gate is not None:
        _check_names(gate, models, class_names)
    baseline = gate.baseline if gate else None
    computed = config_pb2.MetricConfig(
        class_name=metrics.RobustnessMetrics.__name__,
        module=metrics.__name__,
        config=json.dumps(
            {
                "class_count": len(class_names),
                "malignant": [index for index, name in enumerate(class_names) if name in malignant],
                "melanoma": class_names.index(metrics.MELANOMA) if metrics.MELANOMA in class_names else None,
                "specificity": specificity,
            }
        ),
    )
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                name=model, label_key="label", prediction_key=predictions_feature(model), is_baseline=model == baseline
            )
            for model in models
        ],
        slicing_specs=[config_pb2.SlicingSpec(feature_keys=keys) for keys in SLICINGS],
        metrics_specs=[
            config_pb2.MetricsSpec(model_names=models, metrics=[computed]),
            *([] if gate is None else [_thresholds_spec(gate)]),
        ],
    )


def slicing_spec(threshold: Threshold) -> config_pb2.SlicingSpec:
    """The slice that a threshold speaks of."""
    values = {
        # TFMA reads a number only from digits with a point: "1e-05" would stay text and never match.
        name: f"{value:.6f}" if isinstance(value, float) else value
        for name, value in threshold.slice_values.items()
    }
    return config_pb2.SlicingSpec(feature_values=values)


def metric_thresholds(threshold: Threshold) -> list[tuple[str, config_pb2.MetricThreshold]]:
    """The TFMA thresholds, all of which must hold, that one threshold of the gate amounts to: (metric, threshold).

    A change that is held to its interval is none of them: TFMA computes no interval of a difference between models.
    """
    translated = []
    on_interval = threshold.on == "interval"
    if threshold.min is not None:
        bounds = config_pb2.GenericValueThreshold(lower_bound=wrappers_pb2.DoubleValue(value=threshold.min - TOLERANCE))
        metric = metrics.lower_bound(threshold.metric) if on_interval else threshold.metric
        translated.append((metric, config_pb2.MetricThreshold(value_threshold=bounds)))
    if threshold.max is not None:
        bounds = config_pb2.GenericValueThreshold(upper_bound=wrappers_pb2.DoubleValue(value=threshold.max + TOLERANCE))
        metric = metrics.upper_bound(threshold.metric) if on_interval else threshold.metric
        translated.append((metric, config_pb2.MetricThreshold(value_threshold=bounds)))
    for bound, slack, direction in (
        (threshold.min_change, -TOLERANCE, tfma.MetricDirection.HIGHER_IS_BETTER),
        (threshold.max_change, TOLERANCE, tfma.MetricDirection.LOWER_IS_BETTER),
    ):
        if bound is not None and not on_interval:
            absolute = wrappers_pb2.DoubleValue(value=bound + slack)
            change = config_pb2.GenericChangeThreshold(absolute=absolute, direction=direction)
            translated.append((threshold.metric, config_pb2.MetricThreshold(change_threshold=change)))
    return translated


def joined_batches(
    root: beam.Pipeline, shards: Mapping[str, Sequence[str]], probes: Mapping[str, Sequence[str]] | None = None
) -> beam.PCollection:
    """Returns the predictions of all models side by side, the worst case included, as wide Arrow batches.

    Args:
        root: The pipeline to attach to.
        shards: For each model the URIs of its prediction shards (Parquet); shard i of every model holds the same rows.
        probes: For each model the URIs of its probes, shard by shard; what they broke counts in the worst case.
    """
    return (
        root
        | "ShardIndices" >> beam.Create(range(len(next(iter(shards.values())))))
        | "SpreadShards" >> beam.Reshuffle()
        | "JoinShards" >> beam.ParDo(JoinShards(shards, probes))
    )


def run_tfma(batches: beam.PCollection, eval_config: config_pb2.EvalConfig, output_uri: str) -> None:
    """Attaches the whole TFMA run to a Beam pipeline, which the caller runs.

    TFMA's loaders (`load_eval_result` with a model name, `load_metrics`, `load_validation_result`) read `output_uri`.

    Args:
        batches: From `joined_batches`.
        eval_config: From `build_eval_config`, for the same models.
        output_uri: Folder for TFMA's results.
    """
    # Not `ExtractEvaluateAndWriteResults`: without loaded models TFMA 0.52 takes the baseline for missing and refuses
    # change thresholds.
    _ = (
        batches
        | "BatchesToExtracts" >> tfma.BatchedInputsToExtracts()
        | "Evaluate"
        >> tfma.ExtractAndEvaluate(
            extractors=[
                features_extractor.FeaturesExtractor(eval_config),
                labels_extractor.LabelsExtractor(eval_config),
                materialized_predictions_extractor.MaterializedPredictionsExtractor(eval_config),
                extractor.Extractor(
                    stage_name=slice_key_extractor.SLICE_KEY_EXTRACTOR_STAGE_NAME,
                    ptransform=beam.ParDo(SliceBatches(eval_config.slicing_specs)),
                ),
            ],
            evaluators=[tfma_evaluator.MetricsPlotsAndValidationsEvaluator(eval_config)],
        )
        | "Write" >> tfma.WriteResults(writers=_writers(eval_config, output_uri))
    )


class SliceBatches(beam.DoFn):
    """Splits a batch of extracts into one batch for each slice that has rows in it.

    TFMA's own way, one extract per row, costs Python calls for each row, slice, model and metric. Here TFMA's slicer
    sees each combination of feature values once, and the metrics receive arrays.

    Args:
        specs: The slicings to apply.
    """

    def __init__(self, specs: Iterable[config_pb2.SlicingSpec]) -> None:
        self._specs = [slicer_lib.SingleSliceSpec(spec=spec) for spec in specs]
        self._features = sorted({name for spec in specs for name in (*spec.feature_keys, *spec.feature_values)})

    def process(self, extracts: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield for each slice its rows, with the slice key."""
        group_of_row, groups = self._groups(extracts[tfma.FEATURES_KEY])
        members: dict[Any, list[int]] = defaultdict(list)
        for index, features in enumerate(groups):
            # Two specs may give one key; a dict keeps the order, so that results are written the same each time.
            for key in dict.fromkeys(slicer_lib.get_slices_for_features_dicts([], features, self._specs)):
                members[key].append(index)
        kept = {name: extracts[name] for name in (tfma.FEATURES_KEY, tfma.LABELS_KEY, tfma.PREDICTIONS_KEY)}
        for key, indices in members.items():
            rows = np.flatnonzero(np.isin(group_of_row, indices))
            yield {**_take(kept, rows), tfma.SLICE_KEY_TYPES_KEY: slicer_lib.slice_keys_to_numpy_array([key])}

    def _groups(self, features: Mapping[str, Any]) -> tuple[npt.NDArray[np.intp], list[dict[str, npt.NDArray[Any]]]]:
        """The group of each row [row], and the feature values of each group."""
        codes, values = [], []
        for name in self._features:
            distinct, code = np.unique(np.asarray(features[name]).reshape(-1), return_inverse=True)
            values.append([canonical_epsilon(value) for value in distinct] if name == "epsilon" else list(distinct))
            codes.append(code)
        combinations, group_of_row = np.unique(np.stack(codes, axis=1), axis=0, return_inverse=True)
        groups = [
            {name: np.array([known[code]]) for name, known, code in zip(self._features, values, row, strict=True)}
            for row in combinations
        ]
        return group_of_row.reshape(-1), groups


def _take(values: Any, rows: npt.NDArray[np.intp]) -> Any:
    if isinstance(values, Mapping):
        return {name: _take(value, rows) for name, value in values.items()}
    return np.asarray(values)[rows]


def _thresholds_spec(gate: Gate) -> config_pb2.MetricsSpec:
    spec = config_pb2.MetricsSpec(model_names=[gate.candidate])
    for threshold in gate.thresholds:
        for metric, translated in metric_thresholds(threshold):
            spec.per_slice_thresholds[metric].thresholds.append(
                config_pb2.PerSliceMetricThreshold(slicing_specs=[slicing_spec(threshold)], threshold=translated)
            )
    return spec


def _check_names(gate: Gate, models: Sequence[str], class_names: Sequence[str]) -> None:
    for role, name in (("candidate", gate.candidate), ("baseline", gate.baseline)):
        if name is not None and name not in models:
            raise UserError(f"gate: the {role} '{name}' is not among the models: {', '.join(models)}")
    for threshold in gate.thresholds:
        if threshold.lesion is not None and threshold.lesion not in class_names:
            raise UserError(f"gate: '{threshold.lesion}' is not a lesion class: {', '.join(class_names)}")


def _writers(eval_config: config_pb2.EvalConfig, output_uri: str) -> list[Any]:
    folder = output_uri.rstrip("/")
    kinds = (tfma.METRICS_KEY, tfma.VALIDATIONS_KEY, tfma.PLOTS_KEY, "attributions")
    return [
        # `tfma.load_eval_results` takes the names of the models from their locations.
        eval_config_writer.EvalConfigWriter(
            folder, eval_config=eval_config, model_locations={spec.name: spec.name for spec in eval_config.model_specs}
        ),
        metrics_plots_and_validations_writer.MetricsPlotsAndValidationsWriter(
            output_paths={kind: f"{folder}/{kind}" for kind in kinds},
            eval_config=eval_config,
            output_file_format="tfrecord",
        ),
    ]
