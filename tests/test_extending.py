"""docs/extending.md does what it says: its code is put where it says, and a pipeline's config can name it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "extending.md"
TRY = """
import json, sys
import numpy as np
from dermrobust.attacks.engine import attack_pixels
from dermrobust.attacks.threat import ThreatModel
from dermrobust.models.classifier import attack_target
from dermrobust.pipeline.config import PipelineConfig
from tests.small_networks import accuracy, colored_images, trained_network

attack_config, objective_config = (json.loads(text) for text in sys.argv[1:])
attack = PipelineConfig.model_validate(
    {**attack_config, "evaluate": {**attack_config["evaluate"], "gate": {"candidate": "vanilla", "thresholds": [
        {"metric": "accuracy", "attack": "shrinking", "epsilon": 8, "min": 0.1}]}}}
).evaluate.attacks["shrinking"]
pixels, labels = colored_images(48)
network = trained_network(pixels, labels)
stored = attack_pixels(
    attack, attack_target(network), pixels, labels, np.arange(48, dtype=np.uint64), threat=ThreatModel(8)
)
assert attack.runs == 4
assert accuracy(network, stored, labels) < accuracy(network, pixels, labels) - 0.3

import keras
import tensorflow as tf
from dermrobust.components.train.step import compiled_step

objective = PipelineConfig.model_validate(objective_config).defence_train("half_clean").objective
optimizer = keras.optimizers.Adam(0.01)
optimizer.build(network.trainable_variables)
step = compiled_step(network, objective, optimizer, np.ones(7, np.float32), xla=False)
images = tf.constant(pixels / np.float32(255))
losses = [float(step(images, tf.constant(labels), tf.constant(4 / 255), tf.constant([0, i]))) for i in range(20)]
assert losses[-1] < losses[0]
print("worked")
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def with_line(registry: Path, opening: str, line: str) -> None:
    """Add a line to a registry, after the line that opens it."""
    text = registry.read_text(encoding="utf-8")
    assert text.count(opening) == 1
    registry.write_text(text.replace(opening, f"{opening}{line}"), encoding="utf-8")


def copied_project(folder: Path) -> Path:
    """Copy the project as it is installed, and its tests, to where Python looks first; return the package."""
    package = folder / "dermrobust"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "dermrobust", package, ignore=ignored)
    for folder_name in ("attacks", "models", "components", "pipeline", "zoo"):
        shutil.copytree(ROOT / folder_name, package / folder_name, ignore=ignored)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=ignored)
    shutil.copy(ROOT / "pipeline_config.json", package)
    return package


@pytest.mark.slow
def test_the_worked_examples_of_the_page_work(tmp_path: Path) -> None:
    package = copied_project(tmp_path)
    attack, attack_entry, objective, objective_entry = blocks("python")
    paths = re.findall(r"^`((?:attacks|models)/\S+\.py)`:", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    for path, code in zip(paths, (attack, objective), strict=True):
        package.joinpath(path).write_text(code, encoding="utf-8")
    with_line(package / "attacks/registry.py", 'ATTACKS = Registry(\n    "attack",\n    {\n', attack_entry)
    with_line(package / "models/registry.py", 'OBJECTIVES = Registry(\n    "objective",\n    {\n', objective_entry)

    tried = subprocess.run(
        [sys.executable, "-c", TRY, *blocks("json")], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )

    assert tried.stdout.endswith("worked\n"), tried.stderr[-2000:]
