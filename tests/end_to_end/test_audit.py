"""A user's own model and images through the command line, to the table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf
from click.testing import CliRunner, Result

from dermrobust.models.tasks.ham10000 import TASK
from dermrobust.pipeline.api.evaluation import load_evaluation
from dermrobust.pipeline.cli.main import main
from tests.datasets import encoded, write_files, write_table
from tests.foreign_models import BYTES, SIZE, exported, learned, taking
from tests.small_networks import colored_images

pytestmark = pytest.mark.slow

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("audit")
    pixels, labels = colored_images(70, SIZE, seed=7)
    write_files(root / "images", {f"P{index}.png": encoded(image) for index, image in enumerate(pixels)})
    rows = [{"image_id": f"P{index}", "dx": TASK.class_names[label]} for index, label in enumerate(labels)]
    write_table(root / "labels.csv", rows)
    pixels, labels = colored_images(40, SIZE, seed=8)
    write_files(root / "others", {f"V{index}.png": encoded(image) for index, image in enumerate(pixels)})
    rows = [{"image_id": f"V{index}", "dx": TASK.class_names[label]} for index, label in enumerate(labels)]
    write_table(root / "others.csv", rows)
    taking(BYTES).save(root / "model.keras")
    learned().save(root / "control.keras")
    return root


@pytest.fixture(scope="module")
def audit(root: Path) -> Command:
    def run(model: str, *options: str) -> Result:
        places = {"--model": root / model, "--data": root / "images", "--labels": root / "labels.csv"}
        arguments = [part for name, path in places.items() for part in (name, str(path))]
        small = ("--suite", "paper", "--epsilon", "4", "--epsilon", "8", "--output", str(root / "out"))
        return CliRunner().invoke(main, ["audit", *arguments, *small, *options])

    return run


@pytest.fixture(scope="module")
def referring(root: Path) -> tuple[str, ...]:
    """Options for a model that refers images."""
    others = ("--validation-data", str(root / "others"), "--validation-labels", str(root / "others.csv"))
    return ("--refer", "0.25", *others)


@pytest.fixture(scope="module")
def first(audit: Command, referring: tuple[str, ...]) -> Result:
    return audit("model.keras", *referring)


def statuses(result: Result) -> dict[str, str]:
    return {node["node"]: node["status"] for node in json.loads(result.stdout)["nodes"]}


def test_it_says_what_it_found_and_prints_the_table(first: Result) -> None:
    assert first.exit_code == 0, first.output
    for text in (
        "model: image_size 16 px (detected: declared by the model)",
        "model: input 0..255 (detected: balanced accuracy on 70 images",
        "model: outputs logits (detected: taken before 'softmax')",
        "data: 40 validation images: ",
        "data: the labels have no column lesion_id, age, sex, localization: no slices by age, sex, localization",
        "worst_case",
        "evaluation:",
    ):
        assert text in first.stdout


def test_a_second_audit_does_nothing(first: Result, audit: Command, referring: tuple[str, ...]) -> None:
    again = audit("model.keras", *referring, "--json")

    assert set(statuses(again).values()) == {"cached"}
    assert json.loads(again.stdout)["models"]["model"]["input"]["range"] == "0..255"


def test_saying_what_was_found_attacks_nothing_again(first: Result, audit: Command, referring: tuple[str, ...]) -> None:
    said = statuses(audit("model.keras", *referring, "--input-range", "0..255", "--json"))

    assert {node for node, status in said.items() if status == "done"} == {"adopt[model]"}


def test_its_runs_and_metrics_are_shown_like_any_others(first: Result, root: Path) -> None:
    place = ("--set", f"root={root / 'out'}", "--json")

    rows = json.loads(CliRunner().invoke(main, ["show", "metrics", *place]).stdout)
    runs = json.loads(CliRunner().invoke(main, ["runs", *place]).stdout)

    assert {row["model"] for row in rows} == {"model", "constant"}
    assert "adopt[model]" in {node["node"] for node in runs[-1]["nodes"]}


def test_what_it_refers_is_fitted_to_the_validation_images(first: Result, root: Path) -> None:
    evaluation = load_evaluation(root / "out")
    rejector = evaluation.about.rejectors["model"]

    assert rejector["images"] == 40
    assert rejector["thresholds"][0]["referred"] <= 0.25
    clean, fgsm, worst = (
        evaluation.figure("model", f"referral/0.25/{attack}", epsilon, metric)
        for attack, epsilon, metric in (
            ("none", 0, "coverage"),
            ("fgsm", 8, "unreferred_errors"),
            ("worst_case", 8, "unreferred_errors"),
        )
    )
    assert clean is not None and fgsm is not None and worst is not None
    assert 0 < clean.value <= 1
    assert clean.n == worst.n == 70
    # The attacks that the evaluation ran are part of the worst case.
    assert worst.value >= fgsm.value
    page = (root / "out" / "report" / "report.html").read_text(encoding="utf-8")
    assert "fitted to 40 given validation images. Whether a model was trained on them is not known here" in page


def test_a_saved_model_is_audited_beside_a_control(first: Result, audit: Command, root: Path) -> None:
    exported(root / "exported", taking(BYTES))

    result = audit("exported", "--control", str(root / "control.keras"), "--limit", "40")

    assert result.exit_code == 0, result.output
    assert "model: signature serving_default (detected" in result.stdout
    assert "model: note: the outputs are probabilities" in result.stdout
    assert "control: input 0..1 (detected" in result.stdout


def test_a_saved_model_that_may_write_files_must_be_trusted(first: Result, audit: Command, root: Path) -> None:
    def function(network: keras.Model, images: Any) -> dict[str, Any]:
        tf.print("classified", output_stream=f"file://{root / 'log'}")
        return {"scores": network(images, training=False)}

    exported(root / "printing", taking(BYTES), serving_default=function)
    small = ("--limit", "40", "--epsilon", "16")

    refused = audit("printing", *small)

    assert refused.exit_code == 2
    assert "not known to be harmless: PrintV2" in refused.stderr
    assert not (root / "log").exists()

    trusted = audit("printing", *small, "--trust-model")

    assert trusted.exit_code == 0, trusted.output
    assert "model: note: the model was trusted: it uses PrintV2" in trusted.stdout
    page = (root / "out" / "report" / "report.html").read_text(encoding="utf-8")
    assert "the model was trusted: it uses PrintV2" in page
    assert "--trust-model" in page


def test_a_model_that_does_not_fit_the_data_leaves_no_model_behind(first: Result, audit: Command, root: Path) -> None:
    before = sorted((root / "out" / "artifacts" / "model").iterdir())

    result = audit("model.keras", "--classes", ",".join([*TASK.class_names, "scc"]))

    assert result.exit_code == 2
    assert "the model tells 7 classes apart, but 8 are named" in result.stderr
    assert "Traceback" not in result.output
    assert sorted((root / "out" / "artifacts" / "model").iterdir()) == before
