"""Choice of rows of an evaluation's table of metrics."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dermrobust.attacks.errors import UserError


@dataclass(frozen=True)
class RowFilter:
    """Values that rows must have.

    Attributes:
        values: Accepted values by column: model, attack, epsilon, metric.
        slices: Accepted slices, each by its name ("dx=mel") or by its feature ("dx"); None: all.
    """

    values: Mapping[str, Collection[str | float]]
    slices: Collection[str] | None

    def apply(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the accepted rows, in their order.

        Raises:
            UserError: a value occurs in no row.
        """
        for column, accepted in self.values.items():
            _check(column, accepted, {row[column] for row in rows})
        names = {row["slice"] for row in rows}
        _check("slice", self.slices or (), names | {_feature(name) for name in names})
        return [
            row
            for row in rows
            if all(row[column] in accepted for column, accepted in self.values.items())
            and (self.slices is None or not {row["slice"], _feature(row["slice"])}.isdisjoint(self.slices))
        ]


def _feature(slice_name: str) -> str:
    return slice_name.partition("=")[0]


def _check(column: str, accepted: Collection[str | float], there: Collection[str | float | None]) -> None:
    for value in accepted:
        if value not in there:
            known = ", ".join(
                sorted(f"{each:g}" if isinstance(each, float) else str(each) for each in there if each is not None)
            )
            raise UserError(f"--{column} {value}: the evaluation has no such {column}; it has: {known}")
