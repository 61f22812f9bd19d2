"""Certificates artifact: layout, columns, and certified accuracy at any radius."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact
from dermrobust.components.evaluation.intervals import wilson_interval
from dermrobust.components.evaluation.rows import Figure
from dermrobust.models.task import Task, column

CERTIFICATES = "certificates"
"""Folder of the tables, one for each shard of the test split."""
MODEL = "model"
"""Column with the fingerprint of the model; in an evaluation with its name."""

_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float32()}
_CERTIFIED = [
    (MODEL, pa.string()),
    ("sigma", pa.float64()),
    ("predicted", pa.int64()),
    ("certified_class", pa.int64()),
    ("abstained", pa.bool_()),
    ("radius", pa.float32()),
    ("attacked", pa.float32()),
    ("votes", pa.list_(pa.int64())),
]
"""`predicted` is the class that the smoothed classifier returns (PREDICT), null where it abstains. `certified_class` is
the class that CERTIFY certifies within `radius` (L2, 1/255), or for which it abstains, with radius 0. `attacked` is the
smallest tried radius at which an attack changed the class: 0 where `predicted` is wrong, null where no attack did.
`votes` are the counts of the classes under noise."""


def certificates_schema(task: Task, slices: Sequence[str] = ()) -> pa.Schema:
    """Return the columns of certificates: those of a record, its derived slice features, and what was certified.

    Args:
        task: the classification problem.
        slices: names of the slice features that are derived from the pixels.
    """
    features = [(column(name), _TYPES[kind]) for name, kind in task.record_features.items()]
    return pa.schema([*features, *((name, pa.string()) for name in slices), *_CERTIFIED])


def certificates_table(rows: Iterable[dict[str, Any]], task: Task, slices: Sequence[str]) -> pa.Table:
    """Return certificates as a table; rows have the names of a record's features."""
    named = [{column(name): value for name, value in row.items()} for row in rows]
    return pa.Table.from_pylist(named, schema=certificates_schema(task, slices))


def certificate_uris(certificates: Artifact) -> list[str]:
    """Return the Parquet shards of a certificates artifact in order."""
    names = storage.list_files(certificates.path(CERTIFICATES))
    return [certificates.path(CERTIFICATES, name) for name in names if name.endswith(".parquet")]


def certified_at(certificates: pa.Table, radius: float) -> npt.NDArray[np.bool_]:
    """Return which images are certified to be classified correctly within a radius in 1/255: bool [row].

    At 0: whether the certified class is correct, however small its radius.
    """
    correct = certificates["certified_class"].to_numpy() == certificates["label"].to_numpy()
    known = ~certificates["abstained"].to_numpy(zero_copy_only=False)
    # Strictly: a certificate is about all distances below its radius. Radii are stored in float32, rounded either way.
    return np.asarray(correct & known & (certificates["radius"].to_numpy() > radius * (1 + _ROUNDING)))


def withstands(certificates: pa.Table, radius: float) -> npt.NDArray[np.bool_]:
    """Return which images the smoothed classifier classifies correctly as far as attacks tell: bool [row].

    At radius 0 (in 1/255) those whose clean prediction is correct; above those that no attack up to the radius changed.
    """
    attacked = np.asarray(pc.fill_null(certificates["attacked"], np.inf).to_numpy(), np.float64)
    return np.asarray(attacked > radius * (1 + _ROUNDING))


_ROUNDING = 1e-5
"""Relative error of a radius in float32."""


def certified_accuracy(
    certificates: pa.Table, model: str, sigma: float, epsilon: float, *, label: int | None = None
) -> Figure:
    """Return the fraction of images that are certified within a radius, with its 95 % interval.

    Nothing is sampled: any radius can be asked for afterwards.

    Args:
        certificates: table of an evaluation, whose column `model` has names.
        model: name of the model.
        sigma: standard deviation of the noise.
        epsilon: L2 radius in 1/255; 0: the certified class is right, however small its radius.
        label: only images of this class; None: all.

    Raises:
        ValueError: there are no such certificates.
    """
    chosen = certificates_of(certificates, model, sigma)
    if label is not None:
        chosen = chosen.filter(pc.equal(chosen["label"], label))
    if not chosen.num_rows:
        raise ValueError(f"there are no certificates of '{model}' with sigma {sigma:g} of such images")
    value = float(certified_at(chosen, epsilon).mean())
    return Figure(value, chosen.num_rows, *wilson_interval(value, chosen.num_rows))


def certificates_of(certificates: pa.Table, model: str, sigma: float) -> pa.Table:
    """Return the certificates of a model with a sigma, as the names of conditions tell sigmas apart."""
    text = f"{sigma:g}"
    same = [name == model and f"{value:g}" == text for name, value in _pairs(certificates)]
    return certificates.filter(pa.array(same, pa.bool_()))


def _pairs(certificates: pa.Table) -> Iterable[tuple[str, float]]:
    return zip(certificates[MODEL].to_pylist(), certificates["sigma"].to_pylist(), strict=True)
