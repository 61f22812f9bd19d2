"""The Python API: its page, what it refuses, and what it imports."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import dermrobust
from dermrobust.components.audit.component import AdoptDataParams
from dermrobust.components.audit.labels import read_labels
from dermrobust.components.audit.matching import image_files, matched
from dermrobust.components.examples_layout import Split
from dermrobust.models.tasks.ham10000 import TASK
from dermrobust.pipeline.audit import audit_graph
from dermrobust.pipeline.audit_settings import Audit
from dermrobust.pipeline.outcomes import DONE, EXIT_CODES, REFUSED, NodeResult, RunResult
from tests.pipeline.report.evaluations import DrawnRoot
from tests.small_networks import colored_images, trained_network

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture(scope="module")
def victim() -> tuple[keras.Model, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    pixels, labels = colored_images(48)
    return trained_network(pixels, labels), pixels, labels


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path


@pytest.mark.slow
def test_the_examples_of_the_page_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(code, str(PAGE), "exec"), names)

    assert "robust accuracy" in capsys.readouterr().out
    assert (here / "output" / "api" / "report.html").is_file()
    accuracy = names["evaluation"].figure("model", "worst_case", 8, "accuracy")
    assert accuracy.value <= names["result"].robust_accuracy
    assert accuracy.n == 64


def test_models_with_and_without_softmax_and_functions_are_attacked_alike(victim: Any) -> None:
    network, pixels, labels = victim
    softmax = keras.Sequential([network, keras.layers.Softmax()])

    def attacked(model: Any) -> dermrobust.Result:
        return dermrobust.attack(model, pixels, labels, "pgd", "linf:8/255")

    results = [attacked(model) for model in (network, softmax, lambda images: network(images, training=False))]

    assert len({result.robust_accuracy for result in results}) == 1
    assert results[0].robust_accuracy < results[0].clean_accuracy
    lower, upper = results[0].interval
    assert lower < results[0].robust_accuracy < upper


def test_what_is_attacked_as_a_file_stays_one_inside_the_budget(victim: Any) -> None:
    network, pixels, labels = victim

    as_file = dermrobust.attack(network, pixels, labels, "fgsm", 8)
    as_floats = dermrobust.attack(network, pixels / np.float32(255), labels, "fgsm", 8)

    assert as_file.adversarial.dtype == np.uint8
    assert np.abs(as_file.adversarial.astype(int) - pixels).max() == 8
    assert as_floats.adversarial.dtype == np.float32
    broken = as_file.predictions != labels
    assert (as_file.success == (broken | (as_file.clean_predictions != labels))).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attack": "nonesuch"}, "there is no attack 'nonesuch'"),
        ({"attack": {"attack": "pgd", "stepz": 3}}, "Did you mean 'steps'?"),
        ({"threat": "four"}, "is no threat model"),
        ({"labels": None}, "need 'labels'"),
        ({"images": np.zeros((2, 8, 8))}, "images must be"),
        ({"model": "model.keras"}, "Keras model or a function"),
        ({"input_range": "0..2"}, "must be one of"),
    ],
)
def test_mistakes_are_one_message(victim: Any, changes: dict[str, Any], message: str) -> None:
    network, pixels, labels = victim
    arguments = {"model": network, "images": pixels, "labels": labels, "attack": "fgsm", **changes}

    with pytest.raises(dermrobust.UserError, match=re.escape(message)):
        dermrobust.attack(**arguments)


def test_an_audit_refuses_what_does_not_fit(victim: Any, here: Path) -> None:
    network, pixels, labels = victim
    names = [f"class{index}" for index in range(7)]

    with pytest.raises(dermrobust.UserError, match="48 images"):
        dermrobust.audit(network, pixels, labels, class_names=names, metadata={"sex": ["male"]})
    with pytest.raises(dermrobust.UserError, match="label from 0 to 1"):
        dermrobust.audit(network, pixels, labels, class_names=names[:2])
    with pytest.raises(dermrobust.UserError, match="no runs"):
        dermrobust.load_evaluation(here)


def test_an_audit_returns_the_evaluation_of_a_model_that_the_gate_refuses(
    victim: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, pixels, labels = victim
    DrawnRoot(here / "output").run("20261122T100000-aaaaaa")
    refused = NodeResult("gate", DONE, message="gate: 'model' is not blessed", exit_code=EXIT_CODES[REFUSED])
    result = RunResult("20261122T100000-aaaaaa", (refused,))
    monkeypatch.setattr("dermrobust.pipeline.audit.run_audit", lambda *_, **__: result)

    evaluation = dermrobust.audit(network, pixels, labels, class_names=TASK.class_names, root=here / "output")

    assert evaluation.run == result.run


def test_validation_images_of_an_audit_are_written_beside_the_audited_ones(
    victim: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, pixels, labels = victim
    heard: list[Audit] = []

    def listen(audit: Audit, *_: object, **__: object) -> None:
        heard.append(audit)
        raise KeyboardInterrupt

    monkeypatch.setattr("dermrobust.pipeline.audit.run_audit", listen)
    names, validation = list(TASK.class_names), (pixels[32:], labels[32:])

    with pytest.raises(KeyboardInterrupt):
        dermrobust.audit(
            network, pixels[:32], labels[:32], class_names=names, refer=[0.2], validation=validation, threats=[4]
        )
    with pytest.raises(dermrobust.UserError, match="images that are not audited; give such images"):
        dermrobust.audit(network, pixels, labels, class_names=names, refer=[0.2])

    (audit,) = heard
    assert audit.referral.rates == (0.2,)
    (data,) = (node.params for node in audit_graph(audit) if node.id == "adopt[data]")
    assert isinstance(data, AdoptDataParams)
    found = {
        split: matched(read_labels(table), image_files(folder), names)
        for split, (folder, table) in data.sources().items()
    }
    assert {split: len(rows) for split, rows in found.items()} == {Split.TEST: 32, Split.VALIDATION: 16}
    assert not {row.image_id for row in found[Split.TEST]} & {row.image_id for row in found[Split.VALIDATION]}
    by_id = {row.image_id: row.class_name for row in found[Split.VALIDATION]}
    assert [by_id[name] for name in sorted(by_id)] == [names[label] for label in labels[32:]]


def test_an_evaluation_is_loaded_by_its_root_its_run_or_its_folder(here: Path) -> None:
    drawn = DrawnRoot(here / "output")
    folders = [drawn.run("20261122T100000-aaaaaa"), drawn.run("20261122T110000-bbbbbb")]

    assert dermrobust.load_evaluation("output").run == "20261122T110000-bbbbbb"
    assert dermrobust.load_evaluation("output", "20261122T100000-aaaaaa").run == "20261122T100000-aaaaaa"
    assert [dermrobust.load_evaluation(folder).run for folder in folders] == [
        "20261122T100000-aaaaaa",
        "20261122T110000-bbbbbb",
    ]
    with pytest.raises(dermrobust.UserError, match="is not an evaluation"):
        dermrobust.load_evaluation(next(here.glob("output/artifacts/blessing/*")))


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, dermrobust; dir(dermrobust); print(dermrobust.__version__, *sys.modules)"
    version, *loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    assert version == dermrobust.__version__
    for name in ("tensorflow", "keras", "apache_beam", "numpy", "pydantic", "dermrobust.pipeline"):
        assert name not in loaded
    with pytest.raises(AttributeError, match="nonesuch"):
        dermrobust.nonesuch  # noqa: B018
