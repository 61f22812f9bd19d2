"""Join of the prediction shards of several models into wide Arrow batches, one row per attacked image.

Shard i of every model holds the same rows (image, attack, epsilon), so models are joined shard by shard: no shuffle,
and no more than one shard of each model in memory.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dermrobust.components.evaluation.conditions import family_of, worst_case_of
from dermrobust.components.evaluation.names import BEFORE_ESCALATION, CLEAN
from dermrobust.components.evaluation.schemas import CLUSTER
from dermrobust.components.evaluation.tables import read_columns
from dermrobust.models.task import UNKNOWN, Task, column

ROW_KEY = ("attack", "epsilon", "image_id")
MAX_BATCH_ROWS = 16_384

_PROBE_COLUMNS = ["image_id", "epsilon", "probabilities"]

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


def _columns(task: Task) -> list[str]:
    """Return the columns of predictions that the measurement reads, except the probabilities."""
    group = [] if task.group_key is None else [column(task.group_key)]
    return [*ROW_KEY, *group, "label", *task.slices]


def predictions_feature(model: str) -> str:
    """Return the name of the column with a model's probabilities, float32 [class_count]."""
    return f"predictions/{model}"


def clean_feature(model: str) -> str:
    """Return the name of the column with the class predicted on the clean image; -1 on clean rows."""
    return f"clean_predicted/{model}"


def radius_feature(model: str) -> str:
    """Return the name of the column with the radius of each image in 1/255; NaN where it was not looked for."""
    return f"radius/{model}"


@dataclass(frozen=True)
class JoinedShard:
    """Rows of one shard with the predictions of every model.

    Attributes:
        rows: table [row] of `attack`, `epsilon` (units of 1/255), `image_id`, the group, `label` and the slices.
        probabilities: for each model float32 [row, class_count].
        radii: for each model float32 [row], NaN under attacks that do not minimize the perturbation.
    """

    rows: pa.Table
    probabilities: Mapping[str, Floats]
    radii: Mapping[str, Floats]

    def take(self, indices: Integers | Mapping[str, Integers]) -> "JoinedShard":
        """Return the rows at `indices`; with a mapping each model's probabilities come from its own rows [row]."""
        by_model = indices if isinstance(indices, Mapping) else dict.fromkeys(self.probabilities, indices)
        rows = self.rows.take(pa.array(next(iter(by_model.values()))))
        return JoinedShard(
            rows,
            {model: values[by_model[model]] for model, values in self.probabilities.items()},
            {model: values[by_model[model]] for model, values in self.radii.items()},
        )


def join_models(tables: Mapping[str, pa.Table], task: Task) -> JoinedShard:
    """Return the predictions of all models for one shard, whose rows may be in any order.

    Raises:
        ValueError: a model lacks rows, repeats rows, disagrees on labels, or has probabilities that are not finite or
            not of the same class count; or a label is not a class.
    """
    ordered = {model: _in_key_order(table, task) for model, table in tables.items()}
    first, rows = next((model, table.select(_columns(task))) for model, table in ordered.items())
    keys = rows.select([*ROW_KEY])
    if rows.num_rows != keys.group_by([*ROW_KEY]).aggregate([]).num_rows:
        raise ValueError(f"evaluate: model '{first}' has several predictions for the same image, attack and epsilon")
    for model, table in ordered.items():
        if not table.select([*ROW_KEY, "label"]).equals(rows.select([*ROW_KEY, "label"])):
            raise ValueError(
                f"evaluate: models '{first}' ({rows.num_rows} rows) and '{model}' ({table.num_rows} rows) differ in "
                "images, attacks, epsilons or labels. Predict with every model on the same shards of images."
            )
    probabilities = {model: _probabilities(model, table) for model, table in ordered.items()}
    if len({array.shape for array in probabilities.values()}) > 1:
        shapes = {model: array.shape[1] for model, array in probabilities.items()}
        raise ValueError(f"evaluate: the models differ in their number of classes: {shapes}")
    _check_labels(rows, probabilities[first].shape[1])
    return JoinedShard(rows, probabilities, {model: _radii(table) for model, table in ordered.items()})


def with_worst_case(
    shard: JoinedShard,
    probes: Mapping[str, pa.Table] | None = None,
    escalated: Mapping[str, pa.Table] | None = None,
) -> JoinedShard:
    """Add, for every threat model and epsilon, rows of its worst case: the worst prediction on each image, per model.

    Threat models are never mixed: the norm's is "worst_case", that of transformations "<family>/worst_case".
    The worst of the clean prediction, of those under every attack at that epsilon and of what the probes found there
    is the one in which the true class has the smallest margin over the best other class. An image is wrong there
    exactly if it is wrong in any of them, so that accuracy on these rows is per-example robust accuracy.

    Args:
        shard: rows of the attacks.
        probes: for each model rows of `image_id`, `epsilon` and `probabilities` under stronger attacks, on some images.
        escalated: the same of attacks through masked gradients; where there are some, rows of the worst case without
            them, "before_escalation", are added as well.

    Raises:
        ValueError: an image has no clean prediction.
    """
    attack = shard.rows["attack"].to_numpy()
    epsilon = shard.rows["epsilon"].to_numpy()
    image, clean_row = _clean_rows(shard)
    labels = shard.rows["label"].to_numpy()
    order = {model: _margin_order(values, labels) for model, values in shard.probabilities.items()}
    parts = [shard]
    for family, budget, attacked in _threats(attack, epsilon):
        candidates = np.concatenate([np.unique(clean_row[image[attacked]]), attacked])
        part = shard.take({model: _first_per_image(candidates, image, rank) for model, rank in order.items()})
        # Probes attack under the norm.
        for model, found in (probes or {}).items() if family is None else ():
            _replace_where_worse(part, model, found, budget)
        # The worst prediction need not be that of the nearest misclassified image.
        unknown = {model: np.full(len(values), np.nan, np.float32) for model, values in part.radii.items()}
        if escalated and family is None:
            before = {model: values.copy() for model, values in part.probabilities.items()}
            parts.append(JoinedShard(_relabelled(part.rows, BEFORE_ESCALATION, budget), before, unknown))
            for model, found in escalated.items():
                _replace_where_worse(part, model, found, budget)
        rows = _relabelled(part.rows, worst_case_of(family), budget)
        parts.append(JoinedShard(rows, part.probabilities, unknown))
    return JoinedShard(
        pa.concat_tables([part.rows for part in parts]),
        {model: np.concatenate([part.probabilities[model] for part in parts]) for model in shard.probabilities},
        {model: np.concatenate([part.radii[model] for part in parts]) for model in shard.radii},
    )


def _threats(
    attack: npt.NDArray[np.object_], epsilon: npt.NDArray[np.float32]
) -> Iterator[tuple[str | None, np.float32, Integers]]:
    """Yield each family (None: the norm) and epsilon with its rows, the norm first."""
    names = np.unique(attack[attack != CLEAN])
    families = dict.fromkeys(sorted(map(family_of, names), key=lambda family: family or ""))
    for family in families:
        of_family = np.isin(attack, [name for name in names if family_of(name) == family])
        for budget in np.unique(epsilon[of_family]):
            yield family, budget, np.flatnonzero(of_family & (epsilon == budget))


def _replace_where_worse(part: JoinedShard, model: str, probes: pa.Table, epsilon: np.float32) -> None:
    """Replace a model's probabilities by those of its probes at this budget where the margin is smaller in them."""
    labels, probabilities = part.rows["label"].to_numpy(), part.probabilities[model]
    place = {name: index for index, name in enumerate(part.rows["image_id"].to_pylist())}
    at_budget = pc.equal(probes["epsilon"], pa.scalar(epsilon, pa.float32()))
    found = probes.filter(pc.and_(at_budget, pc.is_valid(probes["probabilities"])))
    for name, values in zip(found["image_id"].to_pylist(), found["probabilities"].to_pylist(), strict=True):
        if (index := place.get(name)) is not None:
            both = np.stack([np.asarray(values, np.float32), probabilities[index]])
            probabilities[index] = both[_margin_order(both, np.repeat(labels[index], 2)).argmin()]


def wide_batches(shard: JoinedShard, task: Task, max_rows: int = MAX_BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """Yield the rows as TFMA reads them: every column is a list per row, even of a single value."""
    image, clean_row = _clean_rows(shard)
    attacked = shard.rows["attack"].to_numpy() != CLEAN
    columns = {name: _as_lists(shard.rows[name]) for name in ("label", "attack", "epsilon", *task.slices)}
    columns[CLUSTER] = _as_lists(pa.array(clusters(shard.rows, task)))
    for model, probabilities in shard.probabilities.items():
        clean = np.where(attacked, probabilities.argmax(axis=1)[clean_row[image]], -1)
        columns[predictions_feature(model)] = _as_lists(pa.array(probabilities.ravel()), probabilities.shape[1])
        columns[clean_feature(model)] = _as_lists(pa.array(clean))
        columns[radius_feature(model)] = _as_lists(pa.array(shard.radii[model]))
    yield from pa.table(columns).to_batches(max_chunksize=max_rows)


def clusters(rows: pa.Table, task: Task) -> Integers:
    """Return a number for each row [row], the same for all images of a group; an image without one is its own."""
    names = rows["image_id"]
    if task.group_key is not None:
        group = rows[column(task.group_key)]
        names = pc.if_else(pc.equal(group, ""), names, group)
    names = names.combine_chunks()
    encoded = names.dictionary_encode()
    digests = [hashlib.sha256(name.encode()).digest()[:8] for name in encoded.dictionary.to_pylist()]
    numbers = np.frombuffer(b"".join(digests), dtype="<i8").astype(np.int64)
    return np.asarray(numbers[np.asarray(encoded.indices)])


class JoinShards(beam.DoFn):
    """Reads shard `index` of every model and yields wide Arrow batches, worst case included.

    Args:
        shards: for each model the URIs of its Parquet shards, in the same order for every model.
        task: the classification problem.
        probes: for models that were probed the URIs of the probes' Parquet shards, in that order.
        transformed: for each model the URIs of its predictions on transformed images, in that order; empty: none.
        escalated: for each model the URIs of the results of escalated attacks, in that order; empty: no model needed
            them.

    Raises:
        ValueError: there is no model, or the models differ in their number of shards.
    """

    def __init__(
        self,
        shards: Mapping[str, Sequence[str]],
        task: Task,
        probes: Mapping[str, Sequence[str]] | None = None,
        transformed: Mapping[str, Sequence[str]] | None = None,
        escalated: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        beside = (*(probes or {}).items(), *(transformed or {}).items(), *(escalated or {}).items())
        counts = {model: len(uris) for model, uris in (*shards.items(), *beside)}
        if len(set(counts.values())) != 1:
            raise ValueError(f"evaluate: models need equal numbers of prediction shards, found {counts or 'none'}")
        self._task = task
        self._shards = {model: list(uris) for model, uris in shards.items()}
        self._probes = {model: list(uris) for model, uris in (probes or {}).items()}
        self._transformed = {model: list(uris) for model, uris in (transformed or {}).items()}
        self._escalated = {model: list(uris) for model, uris in (escalated or {}).items()}

    def process(self, index: int) -> Iterable[pa.RecordBatch]:
        """Yield the rows of shard `index`."""
        columns = [*_columns(self._task), "probabilities", "radius"]
        tables = {model: read_columns(uris[index], columns) for model, uris in self._shards.items()}
        for model, uris in self._transformed.items():
            tables[model] = pa.concat_tables([tables[model], read_columns(uris[index], columns)])
        probes, escalated = (
            {model: read_columns(uris[index], _PROBE_COLUMNS) for model, uris in found.items()}
            for found in (self._probes, self._escalated)
        )
        if any(table.num_rows for table in tables.values()):
            yield from wide_batches(with_worst_case(join_models(tables, self._task), probes, escalated), self._task)


def _in_key_order(table: pa.Table, task: Task) -> pa.Table:
    defaults = {"attack": UNKNOWN, "image_id": UNKNOWN, **dict.fromkeys(task.slices, UNKNOWN)}
    if task.group_key is not None:
        defaults[column(task.group_key)] = ""
    for name, missing in defaults.items():
        # Slices need a value in every row; a dictionary-encoded column would not compare equal to a plain one.
        text = pc.fill_null(table[name].cast(pa.string()), missing)
        table = table.set_column(table.column_names.index(name), name, text)
    return table.sort_by([(name, "ascending") for name in ROW_KEY]).combine_chunks()


def _probabilities(model: str, table: pa.Table) -> Floats:
    """Return probabilities as float32 [row, class_count]."""
    column = table["probabilities"].combine_chunks()
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise ValueError(f"evaluate: model '{model}' has rows with different numbers of probabilities: {lengths}")
    values: Floats = np.asarray(pc.list_flatten(column), dtype=np.float32).reshape(-1, lengths[0])
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        image = table["image_id"][int(np.argmin(finite))]
        raise ValueError(f"evaluate: model '{model}' gives probabilities that are not finite (image '{image}')")
    return values


def _radii(table: pa.Table) -> Floats:
    """Return the radius of each row, float32 [row]; NaN where it is null."""
    return np.asarray(pc.fill_null(table["radius"], np.nan).to_numpy(), dtype=np.float32)


def _check_labels(rows: pa.Table, class_count: int) -> None:
    valid = pc.fill_null(pc.and_(pc.greater_equal(rows["label"], 0), pc.less(rows["label"], class_count)), False)
    if not pc.all(valid).as_py():
        row = rows.filter(pc.invert(valid)).slice(0, 1).to_pylist()[0]
        raise ValueError(f"evaluate: image '{row['image_id']}' has label {row['label']}, not 0 to {class_count - 1}")


def _clean_rows(shard: JoinedShard) -> tuple[Integers, Integers]:
    """Return the image index of each row [row], and the row with the clean prediction of each image [image]."""
    encoded = shard.rows["image_id"].combine_chunks().dictionary_encode()
    image = np.asarray(encoded.indices, dtype=np.int64)
    rows = np.flatnonzero(shard.rows["attack"].to_numpy() == CLEAN)
    clean_row = np.full(len(encoded.dictionary), -1, dtype=np.int64)
    clean_row[image[rows]] = rows
    if (clean_row < 0).any():
        name = encoded.dictionary[int(np.argmin(clean_row))]
        raise ValueError(f"evaluate: image '{name}' has no clean prediction (attack '{CLEAN}')")
    return image, clean_row


def _margin_order(probabilities: Floats, labels: Integers) -> Integers:
    """Return the rank of each row [row] by its margin; of equal margins (tied classes) the wrong one comes first."""
    index = np.arange(len(labels))
    others = probabilities.copy()
    others[index, labels] = -np.inf
    margin = probabilities[index, labels] - others.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    rank = np.empty(len(labels), dtype=np.int64)
    rank[np.lexsort((right, margin))] = index
    return rank


def _first_per_image(candidates: Integers, image: Integers, rank: Integers) -> Integers:
    """Return for each image among the candidate rows, in the order of images, the row of the lowest rank."""
    ordered = candidates[np.lexsort((rank[candidates], image[candidates]))]
    _, first = np.unique(image[ordered], return_index=True)
    return ordered[first]


def _relabelled(rows: pa.Table, attack: str, epsilon: np.float32) -> pa.Table:
    for name, value in (("attack", attack), ("epsilon", epsilon)):
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, pa.repeat(pa.scalar(value, rows.schema.field(place).type), rows.num_rows))
    return rows


def _as_lists(values: pa.Array | pa.ChunkedArray, width: int = 1) -> pa.ListArray:
    flat = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    offsets = pa.array(np.arange(0, len(flat) + 1, width, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, flat)
