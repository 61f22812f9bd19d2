"""Referrals artifact: the rejector that was fitted, and what confidence leaves of every image under attack."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact, read_as
from dermrobust.components.evaluation.content import Content
from dermrobust.components.evaluation.names import CLEAN
from dermrobust.models.task import Task, column

REFERRALS = "referrals"
"""Folder of the tables, one for each shard of the test split."""
VALIDATION = "validation"
"""Folder of the scores of the validation split that the rejector is fitted to."""
REJECTOR = "rejector.json"
"""File of an artifact: a `Rejector`."""
PROBED, EVADING = "all-probes", "rejector-aware"
"""Names of the probes, and of the attack that knows of the rejector. Names of attacks have no hyphen."""

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float32()}
_JUDGED = [
    ("model", pa.string()),
    ("attack", pa.string()),
    ("epsilon", pa.float32()),
    ("confidence", pa.float64()),
    ("wrong", pa.float64()),
    ("missed", pa.float64()),
]
"""`confidence` is that of the least confident answer to the image under `attack`. `wrong` is the confidence of the most
confident wrong answer, null without one; `missed` the same of answers that call an image of a malignant class benign.
Under one attack there is one answer; `worst_of_images` joins those of many."""
SCORES_SCHEMA = pa.schema([("image_id", pa.string()), ("label", pa.int64()), ("probabilities", pa.list_(pa.float32()))])


class ReferralThreshold(Content):
    """Confidence below which an image is referred.

    Attributes:
        rate: share of the validation images that was asked for.
        threshold: the least confidence of an image that is not referred, at the temperature of the rejector.
        referred: share of the validation images with less confidence; ties make it smaller than `rate`.
    """

    rate: float
    threshold: float
    referred: float


class Rejector(Content):
    """Content of `rejector.json`: temperature and thresholds, fitted to the validation split.

    Attributes:
        temperature: what logits are divided by before the softmax (Guo et al. 2017, arXiv 1706.04599).
        thresholds: one for each rate, ascending.
        images: number of validation images.
        nll_before, nll_after: mean negative log-likelihood of the validation images at temperature 1 and as fitted.
        ece_before, ece_after: expected calibration error, likewise.
    """

    temperature: float
    thresholds: tuple[ReferralThreshold, ...]
    images: int
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float

    @classmethod
    def read(cls, artifact: Artifact) -> Rejector:
        """Read the content of an artifact."""
        return read_as(cls, artifact, REJECTOR)

    def at(self, rate: float | None) -> ReferralThreshold:
        """Return the threshold of a rate; None: of the first.

        Raises:
            UserError: no threshold was fitted for it.
        """
        for found in self.thresholds:
            if rate is None or f"{found.rate:g}" == f"{rate:g}":
                return found
        known = ", ".join(f"{found.rate:g}" for found in self.thresholds)
        raise UserError(f"there is no threshold for a referral rate of {rate:g}; there are: {known}")


def tempered(probabilities: npt.NDArray[Any], temperature: float) -> Floats:
    """Return probabilities at a temperature: float64 [count, class_count].

    Args:
        probabilities: float [count, class_count] at temperature 1.
        temperature: what logits are divided by before the softmax. The order of the classes stays.
    """
    # Logarithms of probabilities are logits up to a constant. Those below float32 underflow to 0.
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), np.finfo(np.float32).tiny)) / temperature
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def judged(
    probabilities: npt.NDArray[Any], labels: npt.NDArray[Any], malignant: Flags, temperature: float
) -> dict[str, npt.NDArray[Any]]:
    """Return the columns `confidence`, `wrong` and `missed` of answers; NaN stands for null.

    Args:
        probabilities: float [count, class_count] at temperature 1.
        labels: int64 [count].
        malignant: bool [class].
        temperature: temperature of the rejector.
    """
    confidence = tempered(probabilities, temperature).max(axis=1)
    predicted = np.asarray(probabilities).argmax(axis=1)
    wrong = predicted != labels
    missed = malignant[labels] & ~malignant[predicted]
    return {
        "confidence": confidence,
        "wrong": np.where(wrong, confidence, np.nan),
        "missed": np.where(missed, confidence, np.nan),
    }


def referrals_schema(task: Task, slices: Sequence[str] = ()) -> pa.Schema:
    """Return the columns of referrals: those of a record, its derived slice features, and how confident answers are.

    Args:
        task: the classification problem.
        slices: names of the slice features that are derived from the pixels.
    """
    features = [(column(name), _TYPES[kind]) for name, kind in task.record_features.items()]
    return pa.schema([*features, *((name, pa.string()) for name in slices), *_JUDGED])


def referral_uris(referrals: Artifact) -> list[str]:
    """Return the Parquet shards of a referrals artifact in order."""
    names = storage.list_files(referrals.path(REFERRALS))
    return [referrals.path(REFERRALS, name) for name in names if name.endswith(".parquet")]


def worst_of_images(referrals: pa.Table, epsilon: float) -> pa.Table:
    """Return for each image its answers when clean and under everything tried at an epsilon, joined to one row.

    Args:
        referrals: rows of one model.
        epsilon: budget in 1/255, as float32 holds it.
    """
    near = pc.less(pc.abs(pc.subtract(referrals["epsilon"].cast(pa.float64()), epsilon)), 1e-5)
    clean = pc.equal(referrals["attack"], CLEAN)
    tried = referrals.filter(pc.or_(clean, near))
    grouped = tried.group_by("image_id").aggregate([("confidence", "min"), ("wrong", "max"), ("missed", "max")])
    images = referrals.filter(clean).drop_columns(["confidence", "wrong", "missed"])
    place = pc.index_in(images["image_id"], value_set=grouped["image_id"].combine_chunks())
    joined = grouped.take(place)
    for name in ("confidence_min", "wrong_max", "missed_max"):
        images = images.append_column(name.rpartition("_")[0], joined[name])
    return images.combine_chunks()


def decisions(referrals: pa.Table, threshold: float) -> dict[str, Flags]:
    """Return of each row whether an answer at or above a threshold is `lost` (wrong), `missed` (a malignancy), or none.

    What is not lost is `referred` if one of its answers is below the threshold.
    """
    lost, missed = (pc.fill_null(referrals[name], -1).to_numpy() >= threshold for name in ("wrong", "missed"))
    referred = ~lost & (referrals["confidence"].to_numpy() < threshold)
    return {"lost": lost, "missed": missed, "referred": referred}


def referrals_table(rows: Iterable[dict[str, Any]], task: Task, slices: Sequence[str]) -> pa.Table:
    """Return referrals as a table; rows have the names of columns, and NaN stands for null."""
    schema, named = referrals_schema(task, slices), list(rows)
    columns = [
        pa.array([row[field.name] for row in named], field.type, from_pandas=pa.types.is_floating(field.type))
        for field in schema
    ]
    return pa.table(columns, schema=schema)
