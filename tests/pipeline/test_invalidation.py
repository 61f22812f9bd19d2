"""Invalidation: the nodes of the default pipeline that each kind of change may run again.

Inputs are the same before and after, so a node changes only by its own parameters, code and plug-ins. What comes after
it runs again only if its content changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

import pytest

from dermrobust.attacks.plugins import Registry
from dermrobust.attacks.registry import ATTACKS
from dermrobust.components.artifacts import Artifact, ArtifactType
from dermrobust.components.corruptions.registry import CORRUPTIONS
from dermrobust.components.evaluation.metrics.registry import METRICS
from dermrobust.components.fingerprint import fingerprint
from dermrobust.components.gate.registry import RULES
from dermrobust.components.ingest.registry import DATASETS
from dermrobust.components.runners.registry import RUNNERS
from dermrobust.components.slices.registry import SLICES
from dermrobust.models.registry import NETWORKS, OBJECTIVES
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.graph import build_graph
from dermrobust.pipeline.report.registry import PANELS
from tests.conftest import Add, Edit

NONE: tuple[str, ...] = ()
TRAINED, ATTACKED = ("train[[]*]",), ("predict[[]*]", "probe[[]*]", "escalate[[]*]")


@dataclass(frozen=True)
class Change:
    """A change of the project or of the config.

    Attributes:
        name: what the change is.
        again: patterns of the ids of the nodes that get a new fingerprint.
        edits: modules that get a further statement at their end.
        lines: lines added to registries, by module; each goes after the first match of its pattern.
        plugins: new plug-ins, each with its registry and its module.
        config: new values in the config.
    """

    name: str
    again: tuple[str, ...]
    edits: tuple[str, ...] = ()
    lines: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    plugins: tuple[tuple[Registry, str], ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


def plugin(place: str, registry: Registry, module: str, again: tuple[str, ...] = NONE) -> Change:
    """A new plug-in: its file and its line in a registry."""
    opening = f'Registry\\(\n    "{registry.kind}",\n    {{\n'
    line = f'\\g<0>        "another": "dermrobust.{module}:Another",\n'
    return Change(
        f"new {registry.kind}",
        again,
        lines={f"dermrobust.{place}": (opening, line)},
        plugins=((registry, f"dermrobust.{module}"),),
    )


CHANGES = (
    plugin("models.registry", OBJECTIVES, "models.objectives.another"),
    plugin("models.registry", NETWORKS, "models.networks.another"),
    plugin("attacks.registry", ATTACKS, "attacks.another"),
    plugin("components.ingest.registry", DATASETS, "components.ingest.datasets.another.source"),
    plugin("components.slices.registry", SLICES, "components.slices.another"),
    plugin("components.corruptions.registry", CORRUPTIONS, "components.corruptions.another"),
    plugin("components.runners.registry", RUNNERS, "components.runners.another"),
    # Every metric is measured, so a new one is measured as well; nothing is attacked again.
    plugin("components.evaluation.metrics.registry", METRICS, "components.evaluation.metrics.another", ("evaluate",)),
    plugin("components.gate.registry", RULES, "components.gate.rules.another"),
    plugin("pipeline.report.registry", PANELS, "pipeline.report.panels.another"),
    Change(
        "new artifact type",
        NONE,
        lines={"dermrobust.components.registry": ('    DATASET = "dataset"\n', '\\g<0>    ANOTHER = "another"\n')},
    ),
    Change("changed gate vocabulary", ("gate", "export"), edits=("dermrobust.components.evaluation.thresholds",)),
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
    Change("changed attack that probes try", ("probe[[]*]", "escalate[[]*]"), edits=("dermrobust.attacks.square",)),
    Change("changed prediction", ("predict[[]*]",), edits=("dermrobust.components.predict.executor",)),
    Change("changed escalated attack", ("escalate[[]*]",), edits=("dermrobust.attacks.straight_through",)),
    Change("changed probe", ("probe[[]*]",), edits=("dermrobust.components.probe.executor",)),
    Change("changed corruption", ("probe[[]*]",), edits=("dermrobust.components.corruptions.natural",)),
    Change("changed slice feature", ("predict[[]*]", "probe[[]*]"), edits=("dermrobust.components.slices.skin_tone",)),
    Change("changed search for leakage", ("leakage",), edits=("dermrobust.components.leakage.executor",)),
    Change("changed metric", ("evaluate",), edits=("dermrobust.components.evaluation.metrics.ece",)),
    Change(
        "changed gate threshold",
        ("gate",),
        config={
            "evaluate": {
                "gate": {
                    "candidate": "vanilla",
                    "thresholds": [{"metric": "accuracy", "attack": "pgd", "epsilon": 1, "min": 0.1}],
                }
            }
        },
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
    change: Change, before: dict[str, str], edit: Edit, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in change.edits:
        edit(module, r"\Z", "\nedited = 1\n")
    for module, (pattern, line) in change.lines.items():
        edit(module, pattern, line)
    for registry, module in change.plugins:
        add(module, "class Another: pass\n")
        monkeypatch.setitem(registry.entries, "another", f"{module}:Another")

    after = fingerprints_of(change.config)

    changed = {node for node, value in after.items() if before[node] != value}
    assert changed == {node for node in after if any(fnmatch(node, pattern) for pattern in change.again)}


def test_the_precision_of_gradients_concerns_those_who_use_it_only() -> None:
    beyond = {"threats": ["colour:1"], "certificates": {"sigmas": [0.25]}, "referral": {"rates": [0.1]}}
    one, other = (
        fingerprints_of({"evaluate": {**beyond, "gradient_precision": precision}})
        for precision in ("float32", "bfloat16")
    )

    assert {node.partition("[")[0] for node in one} >= {"transform", "certify", "refer"}
    changed = {node.partition("[")[0] for node in one if one[node] != other[node]}
    assert changed - {"craft"} == {"predict", "probe"}
