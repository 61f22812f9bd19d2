"""Reader of evaluation artifacts: figures by place, comparisons, checks, flips and the verdict of the gate."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.components import storage
from dermrobust.components.evaluation import files
from dermrobust.components.evaluation.adaptive import AdaptiveLoss, AdaptiveLosses
from dermrobust.components.evaluation.blessing import Blessing
from dermrobust.components.evaluation.checks import Check, Checks
from dermrobust.components.evaluation.conditions import condition_of, family_of
from dermrobust.components.evaluation.description import Description
from dermrobust.components.evaluation.names import CLEAN, CONSTANT, WORST_CASE, canonical_epsilon
from dermrobust.components.evaluation.rows import Comparison, Corruption, Figure, Flip, Place
from dermrobust.components.evaluation.schemas import METRICS_SCHEMA, OVERALL

_AGAIN = "evaluate again with: dermrobust evaluate --force"
_Row = TypeVar("_Row", Corruption, Comparison, Flip)
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class Evaluation:
    """Content of an evaluation artifact; a part whose file is missing is None.

    Attributes:
        uri: folder of the artifact.
        about: models, task, attacks and settings.
        figures: every metric of every slice.
        corruptions: metrics under natural corruptions.
        comparisons: paired differences from the baseline.
        checks: results of the self-checks.
        gallery: the worst flips of each model.
        transformed_gallery: the worst flips by transformations.
        adaptive: accuracy that adaptive attacks remove.
        blessing: verdict of the gate; None: no gate was read.
    """

    uri: str
    about: Description
    figures: Mapping[Place, Figure]
    corruptions: tuple[Corruption, ...] | None
    comparisons: tuple[Comparison, ...] | None
    checks: tuple[Check, ...] | None
    gallery: tuple[Flip, ...] | None
    adaptive: tuple[AdaptiveLoss, ...] | None
    blessing: Blessing | None
    transformed_gallery: tuple[Flip, ...] | None = None

    def figure(self, model: str, attack: str, epsilon: float, metric: str, where: str = OVERALL) -> Figure | None:
        """Return a figure; None where the metric is undefined or was not measured."""
        return self.figures.get(Place(model, attack, 0.0 if attack == CLEAN else epsilon, where, metric))

    def table(self, name: str = files.METRICS) -> pa.Table:
        """Return one of the Parquet files, such as `files.METRICS`, as an Arrow table.

        Raises:
            UserError: the evaluation has no such file.
        """
        found = _read_table(storage.join(self.uri, name))
        if found is None:
            raise UserError(f"there is no '{name}' in '{self.uri}'")
        return found

    def frame(self, name: str = files.METRICS) -> Any:
        """Return one of the Parquet files as a `pandas.DataFrame`; see `table`."""
        return self.table(name).to_pandas()

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models in their order, and last of the constant classifier where it was measured."""
        return self.about.models if self.about.constant_class is None else (*self.about.models, CONSTANT)

    @cached_property
    def candidate(self) -> str:
        """Name of the model that the gate judged; without a gate of the first one."""
        return self.about.models[0] if self.blessing is None else self.blessing.candidate

    @cached_property
    def attacks(self) -> tuple[str, ...]:
        """Names of the attacks under the norm in their order, without clean images and the worst case."""
        measured = dict.fromkeys(place.attack for place in self.figures if family_of(place.attack) is None)
        known = [name for name in self.about.attacks if name in measured]
        return tuple(dict.fromkeys([*known, *(name for name in measured if name not in (CLEAN, WORST_CASE))]))

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """Clean images, every attack under the norm, and its worst case, where they were measured."""
        measured = {place.attack for place in self.figures}
        return tuple(name for name in (CLEAN, *self.attacks, WORST_CASE) if name in measured)

    @cached_property
    def searched(self) -> tuple[str, ...]:
        """Conditions beyond the norm: every search and the worst case of every family."""
        measured = dict.fromkeys(place.attack for place in self.figures if family_of(place.attack) is not None)
        return tuple(measured)

    @cached_property
    def threats(self) -> tuple[TransformThreat, ...]:
        """Threat models beyond a norm, those of a family together and by ascending strength."""
        found = [TransformThreat.parse(text) for text in self.about.threats]
        families = list(dict.fromkeys(threat.family for threat in found))
        return tuple(sorted(found, key=lambda threat: (families.index(threat.family), threat.strength)))

    def under(
        self, threat: TransformThreat, search: str, model: str, metric: str, where: str = OVERALL
    ) -> Figure | None:
        """Return a figure under a threat model beyond a norm.

        Args:
            threat: threat model.
            search: name of a search, or "worst_case".
            model: name of the model.
            metric: name of the metric.
            where: slice of the images.
        """
        condition = condition_of(threat.family, search)
        return self.figure(model, condition, canonical_epsilon(threat.strength), metric, where)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Names of the measured metrics."""
        return tuple(dict.fromkeys(place.metric for place in self.figures))

    @cached_property
    def slices(self) -> tuple[str, ...]:
        """Names of the slices of the test images, `overall` among them."""
        return tuple(dict.fromkeys(place.slice for place in self.figures))


def read_evaluation(evaluation_uri: str, blessing_uri: str | None = None) -> Evaluation:
    """Read an evaluation and the verdict of its gate.

    Args:
        evaluation_uri: folder of the evaluation artifact.
        blessing_uri: folder of the blessing artifact; None: no gate.

    Raises:
        UserError: there are no metrics, or a file does not hold what it should.
    """
    table = _read_table(storage.join(evaluation_uri, files.METRICS))
    about = _read_model(Description, storage.join(evaluation_uri, files.DESCRIPTION))
    if table is None or about is None:
        name = files.METRICS if table is None else files.DESCRIPTION
        raise UserError(
            f"there are no metrics in '{evaluation_uri}' (no {name}); evaluate again with: dermrobust run --to evaluate"
        )
    if not table.num_rows:
        raise UserError(f"the table of metrics in '{evaluation_uri}' is empty; evaluate again")
    checks = _read_model(Checks, storage.join(evaluation_uri, files.CHECKS))
    losses = _read_model(AdaptiveLosses, storage.join(evaluation_uri, files.ADAPTIVE))
    return Evaluation(
        uri=evaluation_uri,
        about=about,
        figures=_figures(table, evaluation_uri),
        corruptions=_read_rows(Corruption, storage.join(evaluation_uri, files.CORRUPTIONS)),
        comparisons=_read_rows(Comparison, storage.join(evaluation_uri, files.COMPARISONS)),
        checks=None if checks is None else checks.checks,
        gallery=_read_rows(Flip, storage.join(evaluation_uri, files.GALLERY)),
        transformed_gallery=_read_rows(Flip, storage.join(evaluation_uri, files.TRANSFORMED_GALLERY)),
        adaptive=None if losses is None else losses.losses,
        blessing=None if blessing_uri is None else _read_model(Blessing, storage.join(blessing_uri, files.BLESSING)),
    )


def metric_rows(evaluation_uri: str) -> list[dict[str, Any]]:
    """Return the rows of `METRICS_SCHEMA` as dictionaries; undefined numbers are None. See `read_evaluation`."""
    uri = storage.join(evaluation_uri, files.METRICS)
    table = _read_table(uri)
    if table is None:
        raise UserError(f"there are no metrics in '{evaluation_uri}' (no {files.METRICS}); {_AGAIN}")
    return _values(table, METRICS_SCHEMA.names, uri)


def _read_model(kind: type[_Model], uri: str) -> _Model | None:
    """Return the content of a JSON file, or None where there is no such file."""
    if not storage.exists(uri):
        return None
    try:
        return kind.model_validate_json(storage.read_bytes(uri))
    except ValidationError as error:
        problem = "is not valid JSON" if error.errors()[0]["type"] == "json_invalid" else "does not hold what it should"
        raise UserError(f"'{uri}' {problem} ({error}); {_AGAIN}") from error


def _read_table(uri: str) -> pa.Table | None:
    """Return the content of a Parquet file, or None where there is no such file."""
    if not storage.exists(uri):
        return None
    try:
        # `pq.read_table` imports pyarrow.dataset and with it pandas: a second of processor time in every command.
        return pq.ParquetFile(io.BytesIO(storage.read_bytes(uri))).read()
    except pa.ArrowException as error:
        raise UserError(f"'{uri}' is not a Parquet file ({error}); {_AGAIN}") from error


def _read_rows(kind: type[_Row], uri: str) -> tuple[_Row, ...] | None:
    table = _read_table(uri)
    if table is None:
        return None
    return tuple(kind(**row) for row in _values(table, [field.name for field in fields(kind)], uri))


def _values(table: pa.Table, columns: list[str], uri: str) -> list[dict[str, Any]]:
    """Return some columns as rows; NaN becomes None."""
    if missing := [name for name in columns if name not in table.column_names]:
        raise UserError(f"'{uri}' does not hold what it should: it has no column {', '.join(missing)}; {_AGAIN}")
    rows: list[dict[str, Any]] = table.select(columns).to_pylist()
    return [{name: None if value != value else value for name, value in row.items()} for row in rows]


def _figures(table: pa.Table, uri: str) -> dict[Place, Figure]:
    found = {}
    for row in _values(table, METRICS_SCHEMA.names, storage.join(uri, files.METRICS)):
        # TFMA also sums up over all attacks; a mean over attacks bounds nothing, so nobody shows it.
        if row["attack"] is None or row["epsilon"] is None or row["value"] is None:
            continue
        epsilon = 0.0 if row["attack"] == CLEAN else canonical_epsilon(row["epsilon"])
        place = Place(row["model"], row["attack"], epsilon, row["slice"], row["metric"])
        found[place] = Figure(row["value"], row["n"], row["lower"], row["upper"], row["small"])
    return found
