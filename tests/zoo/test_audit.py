"""`dermrobust audit --model zoo:NAME`: what the card settles, and the comparison with the card's figures."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dermrobust.components.artifacts import Artifact, ArtifactType
from dermrobust.components.evaluation.reading import read_evaluation
from dermrobust.models.foreign.spec import InputFormat, OutputKind
from dermrobust.models.tasks.ham10000 import TASK
from dermrobust.pipeline.audit_settings import Audit
from dermrobust.pipeline.cli.main import main
from dermrobust.pipeline.outcomes import DONE, NodeResult, RunResult
from dermrobust.pipeline.zoo.reproducing import reproduction
from dermrobust.pipeline.zoo.split_digest import audited_digest, combined_digest
from tests.datasets import write_files, write_table
from tests.pipeline.report.evaluations import write_evaluation
from tests.zoo.cards import DIGEST, card, figures, write_model

DOCS = Path(__file__).parents[2] / "docs" / "zoo.md"
NAMES = ("nv", "bcc", "mel")


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of three files and their labels."""
    write_files(tmp_path / "images", {f"{name}.jpg": name.encode() for name in NAMES})
    write_table(tmp_path / "labels.csv", [{"image_id": name, "dx": name} for name in NAMES])
    return tmp_path / "images", tmp_path / "labels.csv"


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Audit]:
    """Settings of audits, which return a drawn evaluation of "model" instead of working."""
    evaluation = tmp_path / "evaluation"
    write_evaluation(evaluation, ("model", "trades"))
    settings: list[Audit] = []

    def listen(audit: Audit, *_: object, **__: object) -> RunResult:
        settings.append(audit)
        made = Artifact(ArtifactType.EVALUATION, "0badcafe", "0badcafe", str(evaluation))
        return RunResult("run", (NodeResult("evaluate", DONE, outputs={"evaluation": made}),))

    monkeypatch.setattr("dermrobust.pipeline.audit.run_audit", listen)
    monkeypatch.setattr("dermrobust.pipeline.cli.results.report_of", lambda *_: None)
    return settings


def audit(zoo: Path, photos: tuple[Path, Path], *options: str) -> Result:
    places = ("--data", str(photos[0]), "--labels", str(photos[1]), "--output", str(zoo.parent / "out"))
    return CliRunner().invoke(main, ["audit", "--model", "zoo:robust", "--zoo", str(zoo), *places, *options])


def test_the_card_settles_what_is_not_said(zoo: Path, photos: tuple[Path, Path], heard: list[Audit]) -> None:
    result = audit(zoo, photos)

    assert result.exit_code == 0, result.output
    (settings,) = heard
    assert settings.model == zoo / "ham10000" / "robust" / "model.keras"
    assert settings.preprocessing == card().preprocessing
    assert settings.classes == TASK.class_names
    assert (settings.input, settings.outputs) == (InputFormat(), OutputKind.LOGITS)
    # "transfer" needs the other models of the run.
    assert list(settings.attacks) == ["fgsm", "pgd", "auto"]
    assert settings.attacks["pgd"].model_dump()["steps"] == 20
    assert [threat.epsilon for threat in settings.epsilons] == [1, 2, 4, 8]
    assert settings.gradient_precision == card().evaluation.settings["gradient_precision"] == "bfloat16"


def test_what_is_said_counts(zoo: Path, photos: tuple[Path, Path], heard: list[Audit]) -> None:
    said = ("--suite", "paper", "--epsilon", "3", "--input-range", "0..255", "--gradient-precision", "float32")
    audit(zoo, photos, *said, "--control", "zoo:plain")

    (settings,) = heard
    assert settings.gradient_precision == "float32"
    assert list(settings.attacks) == ["fgsm", "pgd"]
    assert [threat.epsilon for threat in settings.epsilons] == [3]
    assert str(settings.input) == "0..255"
    assert settings.control == zoo / "ham10000" / "plain" / "model.keras"


def test_threat_models_of_the_card_are_searched_unless_others_are_named(
    photos: tuple[Path, Path], heard: list[Audit], tmp_path: Path
) -> None:
    search = {"search": "random", "draws": 3}
    beyond = {"threats": ("colour:0.5",), "searches": {"random": search}}
    write_model(tmp_path / "zoo", card(evaluation=card().evaluation.model_copy(update=beyond)))

    for options in ((), ("--threat", "patch:0.05")):
        audit(tmp_path / "zoo", photos, *options)

    assert [[str(threat) for threat in settings.threats] for settings in heard] == [["colour:0.5"], ["patch:0.05"]]
    assert {name: found.model_dump() for name, found in heard[0].searches.items()} == {"random": search}


def test_other_images_are_not_compared(zoo: Path, photos: tuple[Path, Path], heard: list[Audit]) -> None:
    told = audit(zoo, photos).stdout
    found = json.loads(audit(zoo, photos, "--json").stdout)["zoo"]

    assert "not the test split of the card" in told
    assert "lie within" not in told
    assert (found["same_split"], found["figures"]) == (False, [])


def test_figures_on_the_split_of_the_card_are_compared(
    photos: tuple[Path, Path], heard: list[Audit], tmp_path: Path
) -> None:
    digest = audited_digest(Audit(model=Path("-"), data=photos[0], labels=photos[1]))
    expected = list(figures("model"))
    expected[1] = expected[1].model_copy(update={"lower": 0.98, "upper": 0.99})
    split = card().split.model_copy(update={"sha256": digest})
    write_model(tmp_path / "zoo", card(figures=expected, split=split))

    result = audit(tmp_path / "zoo", photos)
    found = json.loads(audit(tmp_path / "zoo", photos, "--json").stdout)["zoo"]

    lines = [line for line in result.stdout.splitlines() if line.startswith(("overall", "dx="))]
    bounded = [each for each in expected if each.lower is not None]
    assert len(lines) == len(expected)
    assert sum(line.endswith(" yes") for line in lines) == len(bounded) - 1
    assert lines[1].endswith(" no")
    assert f"{len(bounded) - 1} of {len(bounded)} compared figures lie within" in result.stdout
    assert f"{len(expected) - len(bounded)} are not compared" in result.stdout
    assert found["same_split"]
    assert [each["inside"] for each in found["figures"]].count(False) == 1


def test_what_was_measured_differently_is_told(tmp_path: Path) -> None:
    write_evaluation(tmp_path, ("model", "trades"), attacks={"pgd": {"attack": "pgd", "steps": 3}}, seed=7)

    found = reproduction(card(), read_evaluation(str(tmp_path)), "model", DIGEST)

    assert found.differences == (
        "attacks that the audit leaves out: fgsm, auto, transfer",
        "attacks with other parameters than on the card: pgd",
        "seed: 7; card: 0",
    )


def test_a_model_that_is_not_there_ends_with_code_2(zoo: Path, photos: tuple[Path, Path]) -> None:
    result = audit(zoo, photos, "--model", "zoo:nonesuch")

    assert result.exit_code == 2
    assert "there are: ham10000/plain, ham10000/robust" in result.stderr


def test_the_digest_of_a_split_is_that_of_a_sorted_list(photos: tuple[Path, Path]) -> None:
    lines = "".join(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in sorted(NAMES))
    settings = Audit(model=Path("-"), data=photos[0], labels=photos[1])

    digest = audited_digest(settings)
    assert digest == hashlib.sha256(lines.encode()).hexdigest()
    command = next(line for line in DOCS.read_text(encoding="utf-8").splitlines() if "sha256sum *" in line)
    told = subprocess.run(["bash", "-c", command.partition("&& ")[2]], cwd=photos[0], capture_output=True, text=True)
    assert told.stdout.split()[0] == digest
    assert combined_digest([("b", "1"), ("a", "2")]) == combined_digest([("a", "2"), ("b", "1")])
    assert audited_digest(settings.model_copy(update={"limit": 2})) != digest
