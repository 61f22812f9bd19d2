"""Statistics of every split, in tensorflow-metadata's protos, and the check against the schema."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.examples import Split
from dermrobust.components.image_record import ImageRecord
from dermrobust.components.image_validation import MIN_SIDE, ImageSize
from dermrobust.models.task import UNKNOWN, Category, Number, Task

_HEIGHT, _WIDTH = "image/height", "image/width"
_TOP_VALUES = 50
"""Values that are listed of a feature that may have any number of them, such as the ids of groups."""


@dataclass
class ShardCounts:
    """Counts of one shard, added up over shards.

    Attributes:
        count: number of records.
        values: how often each value of a feature occurs, as text.
        missing: number of records without a value of a feature.
    """

    count: int = 0
    values: dict[str, Counter[str]] = field(default_factory=dict)
    missing: Counter[str] = field(default_factory=Counter)

    def add(self, record: ImageRecord, size: ImageSize, task: Task) -> None:
        """Count one record."""
        self.count += 1
        self._value(task.class_key, record.class_name)
        for feature in task.metadata:
            value = record.metadata[feature.name]
            if isinstance(value, str):
                # A category that is not given counts as a value: "unknown".
                self._value(feature.name, value)
            else:
                self._value(feature.name, "" if math.isnan(value) else f"{value:g}")
        if task.group_key is not None:
            self._value(task.group_key, record.group)
        self._value(_HEIGHT, str(size.height))
        self._value(_WIDTH, str(size.width))

    def _value(self, name: str, text: str) -> None:
        if text:
            self.values.setdefault(name, Counter())[text] += 1
        else:
            self.values.setdefault(name, Counter())
            self.missing[name] += 1

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return {"count": self.count, "values": self.values, "missing": self.missing}

    @classmethod
    def merged(cls, parts: Iterable[Mapping[str, Any]]) -> ShardCounts:
        """Add up counts that `to_json` gave."""
        total = cls()
        for part in parts:
            total.count += part["count"]
            total.missing.update(part["missing"])
            for name, counter in part["values"].items():
                total.values.setdefault(name, Counter()).update(counter)
        return total


def to_proto(splits: Mapping[Split, ShardCounts], task: Task) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Return the statistics of every split."""
    numeric = {_HEIGHT, _WIDTH, *(feature.name for feature in task.metadata if isinstance(feature, Number))}
    closed = {task.class_key, *(feature.name for feature in _closed(task))}
    result = statistics_pb2.DatasetFeatureStatisticsList()
    for split, counts in splits.items():
        dataset = result.datasets.add(name=split.value, num_examples=counts.count)
        for name in sorted(counts.values):
            feature = dataset.features.add()
            feature.path.step.append(name)
            if name in numeric:
                _fill_numeric(feature, counts.values[name], counts.missing[name])
            else:
                limit = None if name in closed else _TOP_VALUES
                _fill_string(feature, counts.values[name], counts.missing[name], limit)
    return result


def _fill_common(common: statistics_pb2.CommonStatistics, present: int, missing: int) -> None:
    common.num_non_missing, common.num_missing = present, missing
    common.min_num_values = common.max_num_values = 1
    common.avg_num_values = 1.0


def _fill_numeric(feature: statistics_pb2.FeatureNameStatistics, values: Counter[str], missing: int) -> None:
    feature.type = statistics_pb2.FeatureNameStatistics.FLOAT
    _fill_common(feature.num_stats.common_stats, values.total(), missing)
    if not values:
        return
    numbers = sorted((float(text), count) for text, count in values.items())
    total = values.total()
    mean = sum(value * count for value, count in numbers) / total
    feature.num_stats.mean = mean
    feature.num_stats.std_dev = math.sqrt(sum(count * (value - mean) ** 2 for value, count in numbers) / total)
    feature.num_stats.min, feature.num_stats.max = numbers[0][0], numbers[-1][0]
    feature.num_stats.num_zeros = sum(count for value, count in numbers if value == 0.0)
    seen = 0
    for value, count in numbers:
        seen += count
        if 2 * seen >= total:
            feature.num_stats.median = value
            break


def _fill_string(
    feature: statistics_pb2.FeatureNameStatistics, values: Counter[str], missing: int, limit: int | None
) -> None:
    feature.type = statistics_pb2.FeatureNameStatistics.STRING
    stats = feature.string_stats
    _fill_common(stats.common_stats, values.total(), missing)
    stats.unique = len(values)
    if values:
        stats.avg_length = sum(len(text) * count for text, count in values.items()) / values.total()
    ranked = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    for rank, (text, count) in enumerate(ranked[:limit]):
        stats.top_values.add(value=text, frequency=count)
        stats.rank_histogram.buckets.add(low_rank=rank, high_rank=rank, label=text, sample_count=count)


def _categories(task: Task) -> list[Category]:
    return [feature for feature in task.metadata if isinstance(feature, Category)]


def _closed(task: Task) -> list[Category]:
    """Return the categories whose values the task lists."""
    return [feature for feature in _categories(task) if feature.values is not None]


def schema(task: Task) -> schema_pb2.Schema:
    """Return the schema that a data set must fit before anything is trained on it."""
    result = schema_pb2.Schema()
    domains = {task.class_key: task.class_names}
    domains |= {feature.name: (*feature.values, UNKNOWN) for feature in _closed(task) if feature.values is not None}
    for name, values in domains.items():
        result.string_domain.add(name=name, value=values)
    for name in (task.class_key, *(feature.name for feature in _categories(task))):
        feature = result.feature.add(name=name, type=schema_pb2.BYTES)
        if name in domains:
            feature.domain = name
        # Ingest fills in "unknown", so each record has a value; groups and numbers may be missing anywhere.
        feature.presence.min_fraction = 1.0
    if task.group_key is not None:
        result.feature.add(name=task.group_key, type=schema_pb2.BYTES).presence.min_fraction = 0.0
    for number in (feature for feature in task.metadata if isinstance(feature, Number)):
        domain = result.feature.add(name=number.name, type=schema_pb2.FLOAT).float_domain
        domain.min = number.edges[0]
        if number.maximum is not None:
            domain.max = number.maximum
    for name in (_HEIGHT, _WIDTH):
        feature = result.feature.add(name=name, type=schema_pb2.FLOAT)
        feature.float_domain.min = MIN_SIDE
        feature.presence.min_fraction = 1.0
    return result


def anomalies(
    statistics: statistics_pb2.DatasetFeatureStatisticsList, expected: schema_pb2.Schema, task: Task
) -> anomalies_pb2.Anomalies:
    """Return where statistics differ from the schema."""
    result = anomalies_pb2.Anomalies()
    domains = {domain.name: set(domain.value) for domain in expected.string_domain}
    for dataset in statistics.datasets:
        if dataset.num_examples == 0:
            _note(result, f"{dataset.name}", "no_examples", "the split has no images")
        found = {feature.path.step[0]: feature for feature in dataset.features}
        for wanted in expected.feature:
            place = f"{dataset.name}/{wanted.name}"
            if dataset.num_examples and wanted.name in found:
                for kind, text in _differences(found[wanted.name], wanted, domains, dataset.num_examples):
                    _note(result, place, kind, text)
        if dataset.name == Split.TRAIN and task.class_key in found:
            present = {value.value for value in found[task.class_key].string_stats.top_values}
            for name in sorted(set(task.class_names) - present):
                place = f"{dataset.name}/{task.class_key}/{name}"
                _note(result, place, "class_without_images", f"class '{name}' has no image to learn from")
    return result


def _differences(
    feature: statistics_pb2.FeatureNameStatistics,
    wanted: schema_pb2.Feature,
    domains: Mapping[str, set[str]],
    total: int,
) -> Iterable[tuple[str, str]]:
    numeric = feature.WhichOneof("stats") == "num_stats"
    stats = feature.num_stats if numeric else feature.string_stats
    present = stats.common_stats.num_non_missing / total
    if present < wanted.presence.min_fraction:
        yield "missing_values", f"present in {present:.1%} of the images, {wanted.presence.min_fraction:.0%} are needed"
    if numeric and stats.common_stats.num_non_missing:
        domain = wanted.float_domain
        if feature.num_stats.min < domain.min:
            yield "out_of_range", f"smallest value {feature.num_stats.min:g}, at least {domain.min:g} is needed"
        if domain.HasField("max") and feature.num_stats.max > domain.max:
            yield "out_of_range", f"largest value {feature.num_stats.max:g}, at most {domain.max:g} is allowed"
    if wanted.domain:
        for value in feature.string_stats.top_values:
            if value.value not in domains[wanted.domain]:
                yield "unexpected_value", f"'{value.value}' ({value.frequency:g} images)"


def _note(result: anomalies_pb2.Anomalies, place: str, kind: str, text: str) -> None:
    info = result.anomaly_info[place]
    info.severity = anomalies_pb2.AnomalyInfo.ERROR
    if info.description:
        info.description += f"; {text}"
        return
    info.path.step.extend(place.split("/"))
    info.short_description, info.description = kind, text


def write(uri: str, splits: Mapping[Split, ShardCounts], task: Task) -> None:
    """Write statistics, schema and anomalies as protos and as JSON below a URI.

    Raises:
        UserError: the data differ from the schema; the message lists where. The files are written all the same.
    """
    statistics = to_proto(splits, task)
    expected = schema(task)
    found = anomalies(statistics, expected, task)
    for name, message in (("statistics", statistics), ("schema", expected), ("anomalies", found)):
        storage.write_bytes(storage.join(uri, f"{name}.binpb"), message.SerializeToString(deterministic=True))
        text = json_format.MessageToJson(message, sort_keys=True)
        storage.write_bytes(storage.join(uri, f"{name}.json"), text.encode())
    if found.anomaly_info:
        lines = [f"  {place}: {info.description}" for place, info in sorted(found.anomaly_info.items())]
        raise UserError(
            "ingest: the data do not fit their schema, so nothing can be trained on them:\n" + "\n".join(lines)
        )
