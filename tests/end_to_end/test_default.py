"""The embedded default shows what this project is for, and the notebook that runs it can be followed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from dermrobust.pipeline.api.evaluation import Evaluation

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
BUDGET = 4.0


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The variables of docs/tutorial.ipynb after all its cells, which were run in an empty folder."""
    matplotlib.use("agg")
    content = json.loads((REPOSITORY / "docs" / "tutorial.ipynb").read_text(encoding="utf-8"))
    variables: dict[str, Any] = {"__name__": "__main__"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("notebook"))
        for cell in content["cells"]:
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), cell["id"], "exec"), variables)
        variables["root"] = Path("output").resolve()
        yield variables


@pytest.fixture(scope="module")
def evaluation(notebook: dict[str, Any]) -> Evaluation:
    found: Evaluation = notebook["evaluation"]
    return found


def balanced_accuracy(evaluation: Evaluation, model: str, attack: str) -> float:
    figure = evaluation.figure(model, attack, 0.0 if attack == "none" else BUDGET, "balanced_accuracy")
    assert figure is not None
    return figure.value


def test_the_undefended_model_is_good_and_breaks(evaluation: Evaluation) -> None:
    assert balanced_accuracy(evaluation, "vanilla", "none") > 0.7
    assert balanced_accuracy(evaluation, "vanilla", "worst_case") < 0.25


def test_the_static_defence_holds_only_against_transferred_images(evaluation: Evaluation) -> None:
    transferred, adaptive = (balanced_accuracy(evaluation, "static", attack) for attack in ("transfer", "worst_case"))
    assert transferred > 0.4
    assert adaptive < transferred / 2


def test_the_online_defence_holds_and_is_exported(notebook: dict[str, Any], evaluation: Evaluation) -> None:
    assert balanced_accuracy(evaluation, "online", "none") > 0.6
    assert balanced_accuracy(evaluation, "online", "worst_case") > 0.35
    assert notebook["result"].exit_code == 0
    assert (notebook["root"] / "export" / "1" / "saved_model.pb").is_file()
    assert evaluation.blessing is not None
    assert len(evaluation.blessing.thresholds) == 2
    assert evaluation.blessing.uncovered == ()
    assert not [check for check in evaluation.checks if check.model == "online" and check.status == "fail"]


def test_the_gate_refuses_the_undefended_model(notebook: dict[str, Any]) -> None:
    refused = notebook["refused"]
    assert refused.exit_code == 3
    assert {node.status for node in refused.nodes} == {"cached", "done", "refused"}
    assert [node.node for node in refused.nodes if node.status == "done"] == ["gate"]
    assert [path.name for path in (notebook["root"] / "export").iterdir()] == ["1"]


def test_the_exported_model_classifies_a_photograph(notebook: dict[str, Any]) -> None:
    answer = notebook["answer"]
    assert answer["probabilities"].shape == (1, 7)
    assert answer["status"].numpy().tolist() == [b"ok"]
