"""One TFMA run over every model, attack and slice.

TFMA validates no thresholds here: a changed threshold would measure everything again. The gate is a component.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_model_analysis as tfma
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

from dermrobust.components import storage
from dermrobust.components.evaluation.names import canonical_epsilon
from dermrobust.components.measure import metrics
from dermrobust.components.measure.joining import JoinShards, predictions_feature
from dermrobust.models.task import Task

_KINDS = (tfma.METRICS_KEY, tfma.VALIDATIONS_KEY, tfma.PLOTS_KEY, "attributions")
"""Kinds of TFMA's results, each in files of its own."""


def build_eval_config(models: Sequence[str], task: Task, *, specificity: float = 0.9) -> config_pb2.EvalConfig:
    """Return the config of TFMA: models, slices and metrics.

    No slicing mixes attacks or budgets: a mean over them says nothing.

    Args:
        models: names of all models that are evaluated.
        task: the classification problem; it names the slices.
        specificity: specificity at which sensitivity to the critical classes is measured.

    Raises:
        ValueError: there is no model, or models repeat.
    """
    if len(set(models)) != len(models) or not models:
        raise ValueError(f"evaluate: model names must be given and differ, found {list(models)}")
    computed = config_pb2.MetricConfig(
        class_name=metrics.RobustnessMetrics.__name__,
        module=metrics.__name__,
        config=json.dumps(
            {
                "class_count": len(task.class_names),
                "malignant": task.indices(task.malignant),
                "critical": task.indices(task.critical),
                "specificity": specificity,
            }
        ),
    )
    slicings = [("attack", "epsilon"), *(("attack", "epsilon", name) for name in task.slices)]
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(name=model, label_key="label", prediction_key=predictions_feature(model))
            for model in models
        ],
        slicing_specs=[config_pb2.SlicingSpec(feature_keys=keys) for keys in slicings],
        metrics_specs=[config_pb2.MetricsSpec(model_names=models, metrics=[computed])],
    )


def joined_batches(
    root: beam.Pipeline,
    shards: Mapping[str, Sequence[str]],
    task: Task,
    probes: Mapping[str, Sequence[str]] | None = None,
    transformed: Mapping[str, Sequence[str]] | None = None,
    escalated: Mapping[str, Sequence[str]] | None = None,
) -> beam.PCollection:
    """Return the predictions of all models side by side, the worst case included, as wide Arrow batches.

    Args:
        root: the pipeline to attach to.
        shards: for each model the URIs of its prediction shards (Parquet); shard i of every model holds the same rows.
        task: the classification problem.
        probes: for each model the URIs of its probes, shard by shard; what they broke counts in the worst case.
        transformed: for each model the URIs of its predictions on transformed images, shard by shard; empty: none.
        escalated: for each model the URIs of the results of escalated attacks, shard by shard; empty: none.
    """
    return (
        root
        | "ShardIndices" >> beam.Create(range(len(next(iter(shards.values())))))
        | "SpreadShards" >> beam.Reshuffle()
        | "JoinShards" >> beam.ParDo(JoinShards(shards, task, probes, transformed, escalated))
    )


def run_tfma(batches: beam.PCollection, eval_config: config_pb2.EvalConfig, output_uri: str) -> None:
    """Attach the whole TFMA run to a Beam pipeline, which the caller runs.

    TFMA's loaders (`load_eval_result` with a model name, `load_metrics`) read `output_uri`.

    Args:
        batches: batches from `joined_batches`.
        eval_config: config from `build_eval_config` for the same models.
        output_uri: folder for TFMA's results.
    """
    # Not `ExtractEvaluateAndWriteResults`: without loaded models TFMA 0.52 requires a model
    # for each spec.
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


def order_results(output_uri: str) -> None:
    """Write TFMA's results anew, so that they have the same bytes on every engine.

    Records are in as many files as the engine had bundles, and the keys of TFMA's copy of the config come from a hash
    table; both are in any order.

    Args:
        output_uri: folder of TFMA's results, which are complete.
    """
    files = storage.list_files(output_uri)
    for kind in _KINDS:
        # Validations are a single file already.
        if parts := [storage.join(output_uri, name) for name in files if name.startswith(f"{kind}-")]:
            records = sorted(tf.data.TFRecordDataset(parts).as_numpy_iterator())
            for part in parts:
                storage.remove(part)
            whole = storage.join(output_uri, f"{kind}-00000-of-00001.tfrecord")
            with storage.atomic_file(whole) as path, tf.io.TFRecordWriter(path) as writer:
                for record in records:
                    writer.write(record)
    name = f"{eval_config_writer.EVAL_CONFIG_FILE}.{eval_config_writer.EVAL_CONFIG_FILE_FORMAT}"
    uri = storage.join(output_uri, name)
    storage.write_json(uri, storage.read_json(uri))


class SliceBatches(beam.DoFn):
    """Splits a batch of extracts into one batch for each slice that has rows in it.

    TFMA's own way, one extract per row, costs Python calls for each row, slice, model and metric. Here TFMA's slicer
    sees each combination of feature values once, and the metrics receive arrays.

    Args:
        specs: slicings to apply.
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
        """Return the group of each row [row], and the feature values of each group."""
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


def _writers(eval_config: config_pb2.EvalConfig, output_uri: str) -> list[Any]:
    folder = output_uri.rstrip("/")
    return [
        # `tfma.load_eval_results` takes the names of the models from their locations.
        eval_config_writer.EvalConfigWriter(
            folder, eval_config=eval_config, model_locations={spec.name: spec.name for spec in eval_config.model_specs}
        ),
        metrics_plots_and_validations_writer.MetricsPlotsAndValidationsWriter(
            output_paths={kind: f"{folder}/{kind}" for kind in _KINDS},
            eval_config=eval_config,
            output_file_format="tfrecord",
        ),
    ]
