"""All cases of the corpus by what reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.corpus import (
    archives,
    configs,
    images,
    ledgers,
    networks,
    onnx_files,
    records,
    saved_models,
    served,
    service_requests,
    tables,
)
from tests.corpus.case import Case

EVERY: Mapping[str, Sequence[Case]] = {
    "image": images.CASES,
    "table": tables.CASES,
    "archive": archives.CASES,
    "config": configs.CASES,
    "artifact": records.ARTIFACTS,
    "shard": records.SHARDS,
    "network": networks.CASES,
    "saved_model": saved_models.CASES,
    "onnx": onnx_files.CASES,
    "served": served.CASES,
    "request": service_requests.CASES,
    "ledger": ledgers.CASES,
}
