"""All cases of the corpus by what reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.corpus import archives, configs, images, networks, records, saved_models, tables
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
}
