"""Robust radii of the test images, from the wide batches that TFMA reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa

from dermrobust.components.evaluation.names import canonical_epsilon
from dermrobust.components.evaluation.schemas import CLUSTER, radii_schema, radius
from dermrobust.components.measure.joining import predictions_feature, radius_feature


class RadiiOfBatch(beam.DoFn):
    """Yields the radii of a wide batch at the largest budget, as a table of `schemas.radii_schema`."""

    def __init__(self, models: Sequence[str], largest: float) -> None:
        self._models, self._largest = list(models), largest

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.Table]:
        """Yield the rows of images whose radius was looked for."""
        columns = {name: batch.column(name).flatten() for name in ("attack", CLUSTER, "label")}
        epsilons = np.asarray([canonical_epsilon(value) for value in batch.column("epsilon").flatten().to_numpy()])
        labels = columns["label"].to_numpy()
        known = epsilons == self._largest
        for model in self._models:
            scores = np.asarray(batch.column(predictions_feature(model)).flatten()).reshape(batch.num_rows, -1)
            found = batch.column(radius_feature(model)).flatten().to_numpy(zero_copy_only=False)
            known &= ~np.isnan(found)
            # An image that stands at the largest budget has a radius beyond it.
            columns[radius(model)] = pa.array(found, mask=scores.argmax(axis=1) == labels)
        table = pa.table({**columns, "epsilon": pa.array(epsilons)}).select(radii_schema(self._models).names)
        yield table.filter(pa.array(known))
