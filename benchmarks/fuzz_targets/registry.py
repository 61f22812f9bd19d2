"""Readers of untrusted data for `benchmarks.fuzz`, with strategies for their inputs."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st

from benchmarks.fuzz_targets import (
    archives,
    configs,
    ledgers,
    models,
    onnx_files,
    records,
    served_models,
    service_requests,
    tables,
)
from benchmarks.fuzz_targets.target import Target

TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target("config", configs.configs(), configs.read_config, 0.3),
        Target("table", tables.tables(), tables.read_table, 0.3),
        Target("record", records.shards(), records.read_shard, 0.15),
        Target("archive", archives.archives(), archives.read_archive, 0.2),
        Target("network", models.networks(), models.read_network, 0.02),
        Target("saved_model", models.graphs(), models.read_saved_model, 0.03),
        Target("onnx", onnx_files.onnx_files(), onnx_files.read_onnx, 0.05),
        Target("answer", served_models.answers(), served_models.read_answers, 0.05),
        Target("request", service_requests.requests(), service_requests.read_request, 0.1),
        Target("ledger", st.deferred(ledgers.ledgers), ledgers.read_ledger, 0.05),
    )
}
