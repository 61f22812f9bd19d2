"""`dermrobust report`: page and card of a run, read from its artifacts alone, and what is missing where it fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dermrobust.components.artifacts import ArtifactType
from dermrobust.pipeline.cli.main import main
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import ledger_path
from dermrobust.pipeline.reporting import evaluated_run, write_report
from tests.pipeline.report.evaluations import DrawnRoot

RUN = "20261122T100000-aaaaaa"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def drawn(root: Path) -> DrawnRoot:
    return DrawnRoot(root)


def report(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["report", "--set", f"root={root}", *arguments])


def refusal(root: Path, *arguments: str) -> str:
    result = report(root, *arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.stderr


def test_page_and_card_are_written_below_the_root(drawn: DrawnRoot, root: Path) -> None:
    drawn.run(RUN)
    result = report(root)
    assert result.exit_code == 0, result.output
    page, card = root / "report" / "report.html", root / "report" / "model_card.md"
    assert result.stdout.split() == [str(page), str(card)]
    assert RUN in page.read_text(encoding="utf-8")
    assert "# Model card: trades" in card.read_text(encoding="utf-8")


def test_the_same_run_gives_the_same_page(drawn: DrawnRoot, tmp_path: Path) -> None:
    drawn.run(RUN)
    pages = [write_report(drawn.config, RUN, tmp_path / name)[0].read_bytes() for name in ("one", "two")]
    assert pages[0] == pages[1]


def test_it_can_be_written_elsewhere(drawn: DrawnRoot, root: Path, tmp_path: Path) -> None:
    drawn.run(RUN)
    page = tmp_path / "far" / "away.html"
    assert report(root, "--output", str(page)).exit_code == 0
    assert page.is_file() and (page.parent / "model_card.md").is_file()
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refusal(root, "--output", str(tmp_path / "file" / "r.html"))


def test_without_a_run_the_latest_that_evaluated_is_shown(drawn: DrawnRoot) -> None:
    drawn.run(RUN)
    drawn.run("20261122T110000-bbbbbb", seed=3)
    drawn.begin("20261122T120000-cccccc")
    assert evaluated_run(drawn.config, None).run == "20261122T110000-bbbbbb"
    assert evaluated_run(drawn.config, RUN).run == RUN


def test_lineage_reaches_from_the_evaluation_to_the_data(drawn: DrawnRoot) -> None:
    drawn.run(RUN, seed=5)
    lineage = evaluated_run(drawn.config, RUN).lineage
    assert {"evaluation", "predictions", "model", "examples", "dataset"} == {a.type for a in lineage.artifacts}
    assert [model.name for model in lineage.models] == ["vanilla", "fgsm", "trades"]
    assert lineage.data is not None and lineage.data.name == "ham10000"
    assert lineage.data.counts["train"] == 6964
    assert lineage.seed == 5 and lineage.attacks["pgd"]["steps"] == 20
    assert lineage.versions["tensorflow-model-analysis"] == "0.52.0"
    assert any(RUN in command for command in lineage.commands)


def test_a_root_that_was_moved_still_gives_its_report(drawn: DrawnRoot, root: Path, tmp_path: Path) -> None:
    drawn.run(RUN)
    moved = tmp_path / "moved"
    shutil.move(root, moved)
    assert report(moved).exit_code == 0
    text = (moved / "report" / "model_card.md").read_text(encoding="utf-8")
    assert "6,964" in text


def test_where_nothing_ran_it_says_how_to_start(root: Path) -> None:
    assert "dermrobust run" in refusal(root)
    assert not root.exists()


def test_an_unknown_run_is_named(drawn: DrawnRoot, root: Path) -> None:
    drawn.run(RUN)
    assert "there is no run 'nonesuch'" in refusal(root, "--run", "nonesuch")


def test_a_half_finished_run_says_which_stage_is_missing(drawn: DrawnRoot, root: Path) -> None:
    drawn.begin(RUN)
    drawn.node(RUN, "ingest", "ingest")
    message = refusal(root, "--run", RUN)
    assert "stage 'preprocess' did not run" in message
    assert "still running, or was stopped" in message
    assert "dermrobust run --to evaluate" in message


def test_a_failed_run_says_which_node_failed(drawn: DrawnRoot, root: Path) -> None:
    drawn.begin(RUN)
    for stage in ("ingest", "preprocess"):
        drawn.node(RUN, stage, stage)
    drawn.node(RUN, "train[vanilla]", "train", status="failed")
    drawn.node(RUN, "evaluate", "evaluate", status="skipped")
    drawn.ledger.end_run(RUN, "failed")
    message = refusal(root)
    assert "stage 'train' did not finish (train[vanilla]: failed)" in message
    assert "still running" not in message


def test_an_audit_says_how_it_is_repeated(drawn: DrawnRoot, root: Path) -> None:
    settings = {"audit": {"model": "my model.keras", "data": "images", "labels": "labels.csv", "seed": 4}}
    drawn.run(RUN, settings=settings)
    commands = evaluated_run(drawn.config, RUN).lineage.commands
    assert "dermrobust audit --model 'my model.keras' --data images --labels labels.csv --seed 4" in commands[1]
    drawn.begin("20261122T120000-cccccc", settings)
    message = refusal(root, "--run", "20261122T120000-cccccc")
    assert "stage 'adopt' did not run" in message and "dermrobust audit" in message


def test_an_evaluation_that_was_deleted_is_missed(drawn: DrawnRoot, root: Path) -> None:
    shutil.rmtree(drawn.run(RUN))
    message = refusal(root)
    assert "no longer in" in message and "stage 'evaluate'" in message


def test_a_model_that_was_deleted_leaves_the_rest(drawn: DrawnRoot, root: Path) -> None:
    drawn.run(RUN)
    shutil.rmtree(root / "artifacts" / ArtifactType.MODEL.value)
    assert report(root).exit_code == 0
    assert "how it was trained is not known" in (root / "report" / "model_card.md").read_text(encoding="utf-8")


def test_a_run_that_did_not_end_well_says_so(drawn: DrawnRoot) -> None:
    drawn.run(RUN)
    drawn.node(RUN, "export", "export", status="refused")
    assert "export refused" in evaluated_run(drawn.config, RUN).lineage.notes[0]


def test_the_ledger_returns_a_run_whole(drawn: DrawnRoot) -> None:
    drawn.run(RUN)
    record = Ledger(ledger_path(drawn.config)).run(RUN)
    assert record is not None
    assert record["config"]["root"] == drawn.config.root
    assert record["nodes"][0]["fingerprint"] == "fingerprint of ingest"
    assert {output["type"] for output in record["outputs"]} == {"dataset", "examples", "evaluation", "blessing"}
    assert drawn.ledger.run("nonesuch") is None
