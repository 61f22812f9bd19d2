"""Gate: whether a candidate may be exported, from an evaluation."""

from __future__ import annotations

from pydantic import Field

from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import Component, Params
from dermrobust.components.evaluation.metrics.registry import METRICS
from dermrobust.components.evaluation.thresholds import Gate
from dermrobust.components.gate.registry import ALWAYS, RULES


class GateParams(Params):
    """Requirements on the candidate."""

    gate: Gate = Field(description="Candidate, thresholds and rules.")

    def plugins(self) -> frozenset[str]:
        """Return the modules of the selected plug-ins: rules, and metrics of thresholds."""
        rules = {RULES.module(name) for name in (*ALWAYS, *self.gate.rules)}
        return super().plugins() | rules | {METRICS.module(each.metric) for each in self.gate.thresholds}


GATE = Component(
    name="gate",
    params=GateParams,
    inputs={"evaluation": ArtifactType.EVALUATION},
    outputs={"blessing": ArtifactType.BLESSING},
    executor="dermrobust.components.gate.executor:run",
    libraries=("pyarrow",),
)
