"""`dermrobust zoo extend`: the budgets of an audit join a card if model, images and settings are those of the card."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dermrobust.components.evaluation.checks import Check, Status
from dermrobust.pipeline.audit_settings import Audit
from dermrobust.pipeline.cli.main import main
from dermrobust.pipeline.zoo.card_text import render_card_text
from dermrobust.pipeline.zoo.catalog import read_card
from dermrobust.pipeline.zoo.reproducing import audited_attacks
from dermrobust.pipeline.zoo.split_digest import audited_digest
from dermrobust.pipeline.zoo.verifying import verify_folder
from tests.artifact_files import seal
from tests.datasets import write_files, write_table
from tests.pipeline.report.evaluations import EPSILONS, DrawnRoot
from tests.zoo.cards import card, figures, write_model

NAMES = ("nv", "bcc", "mel")
FIRST = EPSILONS[:2]


class Zoo:
    """A zoo with one model, of whose card the larger budgets are missing, and a root for drawn audits of it."""

    def __init__(self, folder: Path) -> None:
        self.path, self.root = folder / "zoo", folder / "root"
        write_files(folder / "images", {f"{name}.jpg": name.encode() for name in NAMES})
        write_table(folder / "labels.csv", [{"image_id": name, "dx": name} for name in NAMES])
        images = {"data": folder / "images", "labels": folder / "labels.csv"}
        split = card().split.model_copy(update={"sha256": audited_digest(Audit(model=Path("-"), **images))})
        drawn = card(
            split=split,
            evaluation=card().evaluation.model_copy(update={"epsilons": FIRST}),
            figures=[each for each in figures("model") if each.epsilon in (0, *FIRST)],
            floor=[each for each in figures("constant") if each.epsilon in (0, *FIRST)],
        )
        self.folder = write_model(self.path, drawn)
        self.audit = Audit(model=self.folder / "model.keras", preprocessing=drawn.preprocessing, **images)
        self.attacks = {name: attack.model_dump(mode="json") for name, attack in audited_attacks(drawn).items()}
        self.attacks = {name: drawn.evaluation.attacks[name] for name in self.attacks}

    def audited(self, *, audit: dict[str, Any] | None = None, **changes: Any) -> None:
        """Note an audit that measured all budgets; `audit` changes its settings, `changes` its evaluation."""
        drawn = DrawnRoot(self.root)
        found = self.audit.model_copy(update=audit or {}).model_dump(mode="json")
        settings = {**drawn.config.model_dump(mode="json"), "audit": found}
        drawn.run("audit", ("model", "trades"), settings=settings, **{"attacks": self.attacks, **changes})

    def extend(self, *options: str) -> Result:
        return CliRunner().invoke(main, ["zoo", "extend", "robust", str(self.root), "--zoo", str(self.path), *options])


@pytest.fixture
def zoo(tmp_path: Path) -> Zoo:
    return Zoo(tmp_path)


def test_the_card_has_the_budgets_of_both(zoo: Zoo) -> None:
    before = read_card(zoo.folder)
    zoo.audited()

    result = zoo.extend()

    assert result.exit_code == 0, result.output
    after = verify_folder(zoo.folder)
    assert after.epsilons == EPSILONS
    assert (after.evaluation, after.training, after.split) == (before.evaluation, before.training, before.split)
    assert {(each.attack, each.epsilon, each.metric, each.slice): each for each in after.figures} == {
        (each.attack, each.epsilon, each.metric, each.slice): each for each in figures("model")
    }
    assert len(after.figures) == len(figures("model"))
    assert {each.epsilon for each in after.floor} == {0, *EPSILONS}
    (audit,) = after.audits
    assert (audit.run, audit.epsilons, audit.attacks) == ("audit", EPSILONS[2:], zoo.attacks)
    assert len(after.checks) > len(before.checks)
    text = (zoo.folder / "card.md").read_text()
    assert "ε 8/255" in text
    assert "Measured later, by an audit of this file with the attacks fgsm, pgd, auto: 4/255, 8/255." in text


def test_the_text_says_in_how_many_evaluations_a_self_check_did_not_pass() -> None:
    told: dict[str, Any] = {"name": "control", "title": "The control breaks", "model": None, "figures": {}}
    doubt = Check(status=Status.WARN, sentence="There is none.", **told)
    passed = doubt.model_copy(update={"status": Status.PASS, "sentence": "It breaks."})
    alone = card(checks=[doubt])
    extended = alone.model_copy(update={"audits": (alone.evaluation,) * 2, "checks": (passed, doubt, doubt)})

    lines = [line for line in render_card_text(extended).splitlines() if "The control" in line]

    assert lines == ['- Check "The control breaks", in 2 of 3 evaluations: warn. There is none.']
    assert '- Check "The control breaks": warn. There is none.' in render_card_text(alone)


def test_a_budget_is_added_once(zoo: Zoo) -> None:
    zoo.audited()
    zoo.extend()

    result = zoo.extend()

    assert result.exit_code == 2
    assert "has all budgets of run 'audit' already" in result.stderr


def test_other_settings_images_or_models_are_refused(zoo: Zoo, tmp_path: Path) -> None:
    other = tmp_path / "other.keras"
    other.write_bytes(b"other weights")
    weaker = {**zoo.attacks, "pgd": {**zoo.attacks["pgd"], "steps": 1}}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"audit": {"model": other}}, "is not the network of ham10000/robust"),
        ({"audit": {"limit": 2}}, "are not the test split of ham10000/robust"),
        ({"audit": {"preprocessing": None}}, "has not prepared the images"),
        ({"attacks": weaker}, "in attacks"),
        ({"attacks": {"pgd": zoo.attacks["pgd"]}}, "in attacks"),
        ({"seed": 7}, "in seed: 7; card: 0"),
    ]
    before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in zoo.folder.iterdir()}
    for number, (changes, told) in enumerate(cases):
        zoo.root = tmp_path / f"root{number}"
        zoo.audited(**changes)

        result = zoo.extend()

        assert result.exit_code == 2, told
        assert told in result.stderr
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in zoo.folder.iterdir()} == before


def test_other_clean_figures_are_refused(zoo: Zoo) -> None:
    zoo.audited()
    (table,) = zoo.root.glob("artifacts/evaluation/*/metrics.parquet")
    _halve_clean_accuracy(table)
    seal(table.parent)

    result = zoo.extend()

    assert result.exit_code == 2
    assert "clean accuracy (overall) of the audit differs from the card" in result.stderr


def _halve_clean_accuracy(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pq.read_table(path).to_pylist()
    for row in rows:
        if (row["attack"], row["metric"], row["slice"]) == ("none", "accuracy", "overall"):
            row["value"] /= 2
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_failed_checks_are_refused_unless_they_are_accepted(zoo: Zoo) -> None:
    zoo.audited()
    (checks,) = zoo.root.glob("artifacts/evaluation/*/checks.json")
    content = json.loads(checks.read_text())
    content["checks"][0]["status"] = "fail"
    checks.write_text(json.dumps(content))
    seal(checks.parent)

    refused, accepted = zoo.extend(), zoo.extend("--allow-failed-checks")

    assert refused.exit_code == 2
    assert "self-checks of 'model' failed" in refused.stderr
    assert accepted.exit_code == 0
    assert read_card(zoo.folder).failed


def test_a_run_that_is_no_audit_is_refused(zoo: Zoo) -> None:
    DrawnRoot(zoo.root).run("run", ("model", "trades"))

    result = zoo.extend()

    assert result.exit_code == 2
    assert "run 'run' is no audit" in result.stderr
