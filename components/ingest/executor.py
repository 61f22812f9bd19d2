"""Executor of ingest."""

from __future__ import annotations

import contextlib
import io
import pkgutil
import tempfile
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.component import Context
from dermrobust.components.examples import Split
from dermrobust.components.image_validation import Reason
from dermrobust.components.ingest import quarantine, statistics
from dermrobust.components.ingest.component import IngestParams, raw_folder
from dermrobust.components.ingest.datasets.builder import ImageBuilder, ImageConfig
from dermrobust.components.ingest.quarantine import QuarantinedRecord
from dermrobust.components.ingest.splits import SplitFractions
from dermrobust.components.ingest.statistics import ShardCounts
from dermrobust.components.progress import watch_files
from dermrobust.components.raw_dataset import FOLDER_FILE, TASK_FILE


def run(context: Context) -> None:
    """Generate the data set on Beam; write its task, statistics and the quarantine table.

    Raises:
        UserError: the raw files are not there, too many records are bad, or the data do not fit their schema.
    """
    params = context.params
    assert isinstance(params, IngestParams)
    reports = storage.join(context.work_folder, "reports")
    # What a run that was interrupted had reported would be counted twice.
    storage.remove(reports)
    _write_dataset(params, context, reports)
    bad, splits = _read_reports(reports)
    quarantine.write(context.outputs["quarantine"], bad)
    total = len(bad) + sum(counts.count for counts in splits.values())
    quarantine.check(bad, total, params.max_bad_fraction)
    statistics.write(context.outputs["statistics"], splits, params.task)
    summary = ", ".join(f"{split} {counts.count}" for split, counts in splits.items())
    context.progress.line(f"ingest: {summary} images; {len(bad)} in quarantine")


def _write_dataset(params: IngestParams, context: Context, reports: str) -> None:
    output = context.outputs["dataset"]
    # TFDS writes through TensorFlow, which knows local disks only: workers write where this process can read.
    if not storage.is_local(output) and not context.beam.on_this_machine:
        raise UserError(
            f"ingest writes to '{output}' from this machine only; run it with: dermrobust ingest --set "
            "beam.runner=DirectRunner. Other stages run on any runner"
        )
    with storage.local_writing_folder(output) as folder:
        _generate(_builder(params, folder, reports), params, context, reports)


def _builder(params: IngestParams, data_dir: str, reports: str) -> ImageBuilder:
    config = ImageConfig(
        name="configured",
        splits=SplitFractions(params.splits.validation, params.splits.test, params.splits.salt),
        report_uri=reports,
        source=params.dataset,
        shard_size=params.shard_size,
    )
    builder_class: type[ImageBuilder] = pkgutil.resolve_name(params.dataset.builder)
    builder = builder_class(data_dir=data_dir, config=config)
    folder = str(Path(builder.data_dir).relative_to(data_dir))
    storage.write_json(storage.join(data_dir, FOLDER_FILE), {"folder": folder})
    storage.write_json(storage.join(data_dir, TASK_FILE), params.task.model_dump(mode="json"))
    return builder


def _generate(builder: ImageBuilder, params: IngestParams, context: Context, reports: str) -> None:
    download = tfds.download.DownloadConfig(
        manual_dir=raw_folder(params) if params.dataset.needs_path else None,
        compute_stats=tfds.download.ComputeStatsMode.SKIP,
        beam_runner=context.beam.create_runner(),
        beam_options=context.beam.pipeline_options(),
    )
    tfds.disable_progress_bar()
    # TFDS prints to stdout, which belongs to results.
    quiet = contextlib.redirect_stdout(io.StringIO())
    # TFDS makes a folder of downloads though nothing is downloaded.
    with (
        quiet,
        watch_files(context.progress, "ingest", reports, ".json", None),
        tempfile.TemporaryDirectory() as downloads,
    ):
        builder.download_and_prepare(download_config=download, download_dir=downloads)


def _read_reports(reports: str) -> tuple[list[QuarantinedRecord], dict[Split, ShardCounts]]:
    """Return the bad records of all shards, and the counts of each split."""
    bad: list[QuarantinedRecord] = []
    parts: dict[Split, list[dict[str, Any]]] = {split: [] for split in Split}
    for name in storage.list_files(reports):
        report = storage.read_json(storage.join(reports, name))
        rows = report["quarantine"]
        bad += [QuarantinedRecord(row["id"], Reason(row["reason"]), row["detail"]) for row in rows]
        if report["statistics"] is not None:
            parts[Split(name.split("-")[0])].append(report["statistics"])
    return bad, {split: ShardCounts.merged(counts) for split, counts in parts.items()}
