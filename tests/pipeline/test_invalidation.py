"""Invalidation: the nodes of the default pipeline that each kind of change may run again.

Inputs are the same before and after, so a node changes only by its own parameters, code and plug-ins. What comes after
it runs again only if its content changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

import pytest

from dermrobust.components.artifacts import Artifact, ArtifactType
from dermrobust.components.fingerprint import fingerprint
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.graph import build_graph
from tests.conftest import Add, Edit

NONE: tuple[str, ...] = ()
TRAINED, ATTACKED = ("train[[]*]",), ("predict[[]*]", "probe[[]*]")


@dataclass(frozen=True)
class Change:
    """A change of the project or of the config.

    Attributes:
        name: what the change is.
        again: patterns of the ids of the nodes that get a new fingerprint.
        edits: modules that get a further statement at their end.
        lines: lines added to registries, by module; each goes after the first match of its pattern.
        files: new modules.
        config: new values in the config.
    """

    name: str
    again: tuple[str, ...]
    edits: tuple[str, ...] = ()
    lines: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


def plugin(kind: str, registry: str, opening: str, module: str) -> Change:
    """A new plug-in: its file and its line in a registry."""
    line = f'\\g<0>        "another": "dermrobust.{module}:Another",\n'
    return Change(f"new {kind}", NONE, lines={registry: (opening, line)}, files=(f"dermrobust.{module}",))


CHANGES = (
    plugin("objective", "dermrobust.models.registry", '"objective",\n    {\n', "models.objectives.another"),
    plugin("network", "dermrobust.models.registry", '"network",\n    {\n', "models.networks.another"),
    plugin("attack", "dermrobust.attacks.registry", '"attack",\n    {\n', "attacks.another"),
    plugin("data set", "dermrobust.components.ingest.registry", "    {\n", "components.ingest.datasets.another.source"),
    plugin("slice feature", "dermrobust.components.slices.registry", "    {\n", "components.slices.another"),
    plugin("corruption", "dermrobust.components.corruptions.registry", "    {\n", "components.corruptions.another"),
    plugin("runner", "dermrobust.components.runners.registry", "    {\n", "components.runners.another"),
    Change(
        "new artifact type",
        NONE,
        lines={"dermrobust.components.registry": ('    DATASET = "dataset"\n', '\\g<0>    ANOTHER = "another"\n')},
    ),
    Change("changed report", NONE, edits=("dermrobust.pipeline.report.charts",)),
    Change("changed command line", NONE, edits=("dermrobust.pipeline.cli.running",)),
    Change("changed task", ("ingest",), edits=("dermrobust.models.tasks.ham10000",)),
    Change(
        "changed preprocessing of images",
        ("ingest", "preprocess", "train*", "augment*", "craft*", *ATTACKED, "leakage", "evaluate", "export"),
        edits=("dermrobust.models.preprocessing",),
    ),
    Change("changed training loop", TRAINED, edits=("dermrobust.components.train.loop",)),
    Change("changed network that is selected", TRAINED, edits=("dermrobust.models.networks.small_resnet",)),
    Change("changed network that is not", NONE, edits=("dermrobust.models.networks.resnet",)),
    Change("changed objective that is selected", TRAINED, edits=("dermrobust.models.objectives.cross_entropy",)),
    Change("changed objective that is not", NONE, edits=("dermrobust.models.objectives.trades",)),
    Change("another learning rate", TRAINED, config={"train": {"learning_rate": 1e-4}}),
    Change(
        "changed attack that is selected",
        ("augment[[]fgsm]", *ATTACKED, "evaluate"),
        edits=("dermrobust.attacks.cleverhans.fgsm",),
    ),
    Change("changed attack that is not", NONE, edits=("dermrobust.attacks.cleverhans.mim",)),
    Change("changed attack that probes try", ("probe[[]*]",), edits=("dermrobust.attacks.square",)),
    Change("changed prediction", ("predict[[]*]",), edits=("dermrobust.components.predict.executor",)),
    Change("changed probe", ("probe[[]*]",), edits=("dermrobust.components.probe.executor",)),
    Change("changed corruption", ("probe[[]*]",), edits=("dermrobust.components.corruptions.natural",)),
    Change("changed slice feature", ATTACKED, edits=("dermrobust.components.slices.skin_tone",)),
    Change("changed search for leakage", ("leakage",), edits=("dermrobust.components.leakage.executor",)),
    Change("changed metric", ("evaluate",), edits=("dermrobust.components.measure.metrics",)),
    Change(
        "changed gate threshold",
        ("gate",),
        config={"evaluate": {"gate": {"candidate": "vanilla", "thresholds": [{"metric": "accuracy", "min": 0.1}]}}},
    ),
    Change("changed gate", ("gate",), edits=("dermrobust.components.gate.executor",)),
    Change("changed export", ("export",), edits=("dermrobust.components.export.signatures",)),
)


def fingerprints_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The fingerprint of every node, with inputs that never change."""
    return {
        node.id: fingerprint(
            node.component,
            node.params,
            {
                name: tuple(Artifact(ArtifactType.MODEL, "", f"{output.node} {output.name}", "") for output in outputs)
                for name, outputs in node.inputs.items()
            },
        )
        for node in build_graph(PipelineConfig.model_validate(config))
    }


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    """Fingerprints of the default pipeline."""
    return fingerprints_of({})


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_only_the_nodes_that_use_what_changed_run_again(
    change: Change, before: dict[str, str], edit: Edit, add: Add
) -> None:
    for module in change.edits:
        edit(module, r"\Z", "\nedited = 1\n")
    for module, (pattern, line) in change.lines.items():
        edit(module, pattern, line)
    for module in change.files:
        add(module, "class Another: pass\n")

    after = fingerprints_of(change.config)

    changed = {node for node, value in after.items() if before[node] != value}
    assert changed == {node for node in after if any(fnmatch(node, pattern) for pattern in change.again)}
