"""CONTRIBUTING.md's table of plug-ins: each is one new file and one line of a registry, and works."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.test_extending import ROOT, copied_project

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Change:
    """A plug-in: its file (None: the line is all), and its line before the end of a registry."""

    kind: str
    path: str | None
    content: str
    registry: str
    line: str
    before: str = "    },\n"


CHANGES = (
    Change(
        "attack",
        "attacks/halfway.py",
        '''
from typing import Literal

from dermrobust.attacks.noise import Noise


class Halfway(Noise):
    """Noise by another name."""

    attack: Literal["halfway"] = "halfway"
''',
        "attacks/registry.py",
        '        "halfway": "dermrobust.attacks.halfway:Halfway",\n',
    ),
    Change(
        "objective",
        "models/objectives/plain.py",
        '''
from typing import Literal

from dermrobust.models.objectives.cross_entropy import CrossEntropy


class Plain(CrossEntropy):
    """Cross-entropy by another name."""

    objective: Literal["plain"] = "plain"
''',
        "models/registry.py",
        '        "plain": "dermrobust.models.objectives.plain:Plain",\n',
        '        "cross_entropy":',
    ),
    Change(
        "network",
        "models/networks/pooled.py",
        """
from typing import Literal

import keras

from dermrobust.models.networks.network import HEAD, Network


class Pooled(Network):
    network: Literal["pooled"] = "pooled"

    def build(self, input_shape, class_count, seed):
        keras.utils.set_random_seed(seed)
        images = keras.Input(input_shape, name="images")
        features = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="features")(images)
        pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(features)
        return keras.Model(images, keras.layers.Dense(class_count, name=HEAD)(pooled))
""",
        "models/registry.py",
        '        "pooled": "dermrobust.models.networks.pooled:Pooled",\n',
        '        "small_resnet":',
    ),
    Change(
        "data set",
        "components/ingest/datasets/few/source.py",
        '''
from typing import Literal

from dermrobust.components.ingest.datasets.synthetic.source import SyntheticSource


class FewSource(SyntheticSource):
    """A few drawn images."""

    dataset: Literal["few"] = "few"
    count: int = 240
''',
        "components/ingest/registry.py",
        '        "few": "dermrobust.components.ingest.datasets.few.source:FewSource",\n',
    ),
    Change(
        "metric",
        "components/evaluation/metrics/error_rate.py",
        """
import numpy as np

from dermrobust.components.evaluation.metrics.metric import Metric, Rate

METRIC = Metric(
    name="error_rate",
    formula=Rate(lambda rows, problem: (rows.predicted != rows.labels, np.ones(len(rows.labels), np.bool_))),
    title="Error rate",
    meaning="share of images whose class is wrong",
    higher_is_better=False,
)
""",
        "components/evaluation/metrics/registry.py",
        '        "error_rate": f"{_HERE}.error_rate:METRIC",\n',
    ),
    Change(
        "slice feature",
        "components/slices/tint.py",
        """
def tints(pixels):
    means = pixels.mean(axis=(1, 2))
    return ["warm" if red > blue else "cold" for red, _, blue in means]
""",
        "components/slices/registry.py",
        '        "tint": "dermrobust.components.slices.tint:tints",\n',
    ),
    Change(
        "gate rule",
        "components/gate/rules/enough_images.py",
        """
from dermrobust.components.gate.ruling import Ruling


def judge(gate, evaluation):
    few = evaluation.about.images < 1000
    return Ruling(objections=(f"Only {evaluation.about.images} test images.",) if few else ())
""",
        "components/gate/registry.py",
        '        "enough_images": "dermrobust.components.gate.rules.enough_images:judge",\n',
    ),
    Change(
        "report panel",
        "pipeline/report/panels/summary.py",
        """
from dermrobust.pipeline.report.panel import ReportPanel

PANEL = ReportPanel("A new panel", "<p>It saw {{ about.images }} images.</p>")
""",
        "pipeline/report/registry.py",
        '        "summary": f"{_HERE}.summary:PANEL",\n',
    ),
    Change(
        "runner",
        "components/runners/announced.py",
        """
import sys

from dermrobust.components.runners.in_process import create as in_process


def create(options, root):
    print("announced runner", file=sys.__stdout__)
    return in_process(options, root)
""",
        "components/runners/registry.py",
        '        "AnnouncedRunner": "dermrobust.components.runners.announced:create",\n',
    ),
    Change(
        "artifact type",
        None,
        "",
        "components/registry.py",
        '    NOTES = "notes"\n',
        '    EXPORTED_MODEL = "exported_model"\n',
    ),
)

CONFIG: dict[str, Any] = {
    "root": "output",
    "beam": {"runner": "AnnouncedRunner"},
    "ingest": {"dataset": "few"},
    "preprocess": {"image_size": 16},
    "train": {"network": "pooled", "objective": "plain", "epochs": 1, "warmup_epochs": 0, "xla": False},
    "augment": {"attacks": {}, "models": {}},
    "evaluate": {
        "attacks": {"halfway": "halfway"},
        "epsilons": [4],
        "slices": ["tint"],
        "probes": {"images": 8, "queries": 2, "spsa_images": 0, "corruption_images": 0},
        "gate": {
            "candidate": "vanilla",
            "rules": ["enough_images"],
            "checks": "ignored",
            "thresholds": [
                {"metric": "error_rate", "attack": "halfway", "epsilon": 4, "slice": "tint=warm", "max": 1},
                {"metric": "accuracy", "attack": "worst_case", "epsilon": 4, "min": 0},
            ],
        },
    },
}
TRY = """
import json
from dermrobust.components.artifacts import ArtifactType
from dermrobust.pipeline.api.evaluation import load_evaluation
from dermrobust.pipeline.api.running import run

done = run("config.json")
evaluation = load_evaluation("output")
rows = evaluation.table().to_pylist()
print(json.dumps({
    "nodes": {node.node: node.status for node in done.nodes},
    "messages": [node.message for node in done.nodes],
    "attacks": sorted({row["attack"] for row in rows if row["attack"]}),
    "metrics": sorted({row["metric"] for row in rows}),
    "slices": sorted({row["slice"].split("=")[0] for row in rows}),
    "objections": evaluation.blessing.checks,
    "panel": "A new panel" in evaluation.report("report.html").read_text(),
    "type": ArtifactType.NOTES.value,
}))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with all ten changes, and the folder that it is tried in."""
    folder = tmp_path_factory.mktemp("changed")
    package = copied_project(folder)
    for change in CHANGES:
        if change.path is not None:
            path = package / change.path
            assert not path.exists()
            path.parent.mkdir(exist_ok=True)
            path.write_text(change.content)
        registry = package / change.registry
        text = registry.read_text()
        assert change.before in text, change.kind
        registry.write_text(text.replace(change.before, change.line + change.before, 1))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def test_contributing_lists_every_change() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    for change in CHANGES:
        assert f"| {change.kind} |" in page
        assert change.registry in page


def test_all_ten_changes_work_in_one_run(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRY], cwd=project, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])

    assert "announced runner" in done.stdout
    assert found["nodes"]["gate"] == "done", found
    # The rule is in force: the model is not exported.
    assert found["nodes"]["export"] == "refused", found
    assert any("test images" in objection for objection in found["objections"])
    assert found["attacks"] == ["halfway", "none", "worst_case"]
    assert "error_rate" in found["metrics"]
    assert "tint" in found["slices"]
    assert found["panel"]
    assert found["type"] == "notes"
