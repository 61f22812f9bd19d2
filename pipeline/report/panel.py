"""Panel of the report: a section with its title, the values it shows and its template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.pipeline.report.lineage import Lineage


def nothing(evaluation: Evaluation, lineage: Lineage) -> Mapping[str, Any]:
    """Return no values, for a panel whose template needs the evaluation and its lineage alone."""
    return {}


@dataclass(frozen=True)
class ReportPanel:
    """A section of the report.

    Attributes:
        title: heading; `{subject}` stands for the task's noun, capitalized.
        template: name of a file below `templates/panels`, or Jinja source (it then contains a `{` or `<`). Besides its
            values it sees `evaluation`, `about`, `lineage`, `headline`, `norm` and `smallest`.
        values: values of the template.
    """

    title: str
    template: str
    values: Callable[[Evaluation, Lineage], Mapping[str, Any]] = nothing
