"""Attackers set on what `auto` left of a network that trains in seconds; most of them are made here."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import pytest

from benchmarks import independent
from benchmarks.independent import (
    ATTACKERS,
    Attacker,
    Effort,
    Subject,
    main,
    measured,
    standing,
    trained_subjects,
    withstanding,
)
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.engine import attack_images
from dermrobust.attacks.errors import AttackError
from dermrobust.attacks.noise import Noise
from dermrobust.attacks.problem import Labels
from dermrobust.attacks.selection import read_suite
from dermrobust.attacks.threat import Images, ThreatModel
from dermrobust.components.artifacts import Artifact, ArtifactStore, ArtifactType, Provenance
from dermrobust.components.model_files import NETWORK
from dermrobust.models.classifier import attack_target, save_network
from dermrobust.pipeline.config import PipelineConfig
from tests.benchmarks.roots import COUNT, LABELS, PIXELS, SIZE, note_run, published, write_examples, write_predictions
from tests.small_networks import accuracy, colored_images, trained_network

THREAT = ThreatModel(8)
EFFORT = Effort(steps=10, restarts=2, queries=20)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return trained_network(*colored_images(256, SIZE))


@pytest.fixture(scope="module")
def config(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> PipelineConfig:
    """A root whose second run has `vanilla` and `pgd`; the one after it has come no further than `vanilla`."""
    config = PipelineConfig(root=str(tmp_path_factory.mktemp("root")))
    store = ArtifactStore(config.root)
    examples = published(store, ArtifactType.EXAMPLES, "examples", write_examples)
    model = published(store, ArtifactType.MODEL, "good", lambda folder: save_network(network, folder / NETWORK))
    older = published(store, ArtifactType.MODEL, "older", lambda folder: (folder / NETWORK).write_bytes(b"no network"))
    gone = Artifact(ArtifactType.MODEL, "gone", "", "")
    note_run(
        config, "run1", {"preprocess": examples, "train[vanilla]": older, "train[gone]": gone, "train[pgd]": older}
    )
    note_run(config, "run2", {"preprocess": examples, "train[vanilla]": model, "train[pgd]": model})
    note_run(config, "run3", {"preprocess": examples, "train[vanilla]": older})
    return config


STOOD = np.arange(COUNT) % 6 == 0
"""Images that the audit classified correctly when clean and under `auto`."""


@pytest.fixture(scope="module")
def audit(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Output folder of an audit at 8/255; a later one got no further than its model."""
    config = PipelineConfig(root=str(tmp_path_factory.mktemp("audit")))
    store = ArtifactStore(config.root)
    examples = published(store, ArtifactType.EXAMPLES, "examples", write_examples)
    model = published(store, ArtifactType.MODEL, "model", lambda folder: save_network(network, folder / NETWORK))
    origin = Provenance("test", {"attacks": {"auto": {"attack": "auto", "queries": 7}}}, {}, {})
    predictions = published(store, ArtifactType.PREDICTIONS, "predictions", write_predictions, origin)
    adopted = {"adopt[data]": examples, "adopt[model]": model}
    note_run(config, "run1", adopted | {"predict[model]": predictions})
    note_run(config, "run2", adopted)
    return config.root


@pytest.fixture
def subject(config: PipelineConfig) -> Subject:
    return trained_subjects(config, ["vanilla", "pgd"], COUNT)[0]


@pytest.fixture
def command(config: PipelineConfig, tmp_path: Path) -> list[str]:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"description": "For tests."}))
    return ["--config", str(path), "--root", config.root, "--models", "vanilla", "pgd", "--epsilon", str(THREAT)]


def as_they_are(images: Images, labels: Labels) -> Images:
    return images


def shifted(levels: float) -> Callable[[Images, Labels], Images]:
    return lambda images, labels: np.clip(images + np.float32(levels / 255), 0, 1)


def attacker(name: str, attack: Callable[[Images, Labels], Images], restarts: int = 1) -> Attacker:
    return Attacker(name, lambda network, radius, effort: attack, lambda effort: restarts)


def pgd(network: keras.Model, radius: float, effort: Effort) -> Callable[[Images, Labels], Images]:
    threat = ThreatModel(radius * 255)

    def attack(images: Images, labels: Labels) -> Images:
        seeds = np.arange(len(labels), dtype=np.uint64)
        return attack_images(
            PGD(steps=effort.steps), attack_target(network), images, labels, seeds, threat=threat, batch_size=32
        )

    return attack


STRONG = Attacker("strong", pgd, lambda effort: 1)
IDLE = attacker("idle", as_they_are)


def test_models_and_images_are_those_of_the_latest_run_that_has_all_of_them(
    config: PipelineConfig, network: keras.Model
) -> None:
    found = trained_subjects(config, ["vanilla", "pgd"], 60)

    assert [(each.name, each.model.fingerprint) for each in found] == [("vanilla", "good"), ("pgd", "good")]
    assert np.array_equal(found[0].images.pixels, PIXELS[:60])
    correct = found[0].correct(found[0].images.pixels)
    assert correct.mean() == pytest.approx(accuracy(network, PIXELS[:60], LABELS[:60]))


def test_an_attacker_that_finds_nothing_more_leaves_the_figure_of_auto(subject: Subject) -> None:
    auto = read_suite("auto")["auto"].model_copy(update={"steps": 10, "queries": 20})

    row = measured(subject, THREAT, standing(subject, THREAT, auto), [IDLE, STRONG], EFFORT)

    assert 0.0 < row["auto"] < row["clean"] - 0.1
    assert row["with"]["idle"] == row["auto"]
    lower, upper = row["auto_interval"]
    assert lower < row["auto"] < upper
    assert row["difference"] == pytest.approx(100 * (row["auto"] - row["together"]))
    assert row["holds"] == (row["difference"] <= 0.5)
    assert row["n"] == COUNT


def test_a_stronger_attacker_is_found_out(subject: Subject, network: keras.Model) -> None:
    row = measured(subject, THREAT, standing(subject, THREAT, Noise()), [IDLE, STRONG], EFFORT)

    stood = row["auto"]
    assert row["with"]["idle"] == stood
    assert row["with"]["strong"] < stood - 0.1
    assert row["together"] == row["with"]["strong"]
    assert row["difference"] == pytest.approx(100 * (stood - row["together"]))
    assert not row["holds"]


def test_a_restart_is_set_on_what_the_ones_before_left(subject: Subject, network: keras.Model) -> None:
    clean = subject.correct(subject.images.pixels)
    strong, seen = pgd(network, THREAT.radius, EFFORT), list[int]()

    def on_the_first_half(images: Images, labels: Labels) -> Images:
        half = len(images) // 2
        seen.append(len(images))
        return np.concatenate([strong(images[:half], labels[:half]), images[half:]])

    left = withstanding(subject, THREAT, attacker("half", on_the_first_half, restarts=3), EFFORT, clean)

    assert seen[0] == clean.sum()
    assert seen[0] > seen[1] > seen[2] > left.sum()
    assert not (left & ~clean).any()


def test_nothing_is_attacked_where_nothing_stands(subject: Subject) -> None:
    def never(images: Images, labels: Labels) -> Images:
        raise AssertionError("was called")

    assert not withstanding(subject, THREAT, attacker("never", never), EFFORT, np.zeros(COUNT, bool)).any()


def test_what_vanishes_in_rounding_breaks_nothing(subject: Subject, network: keras.Model) -> None:
    everything = np.ones(COUNT, bool)
    clean = subject.correct(subject.images.pixels)

    left = withstanding(subject, THREAT, attacker("faint", shifted(0.4)), EFFORT, everything)
    moved = withstanding(subject, THREAT, attacker("plain", shifted(8)), EFFORT, everything)

    assert np.array_equal(left, clean)
    assert not np.array_equal(moved, clean)


def test_an_attacker_outside_the_budget_is_refused(subject: Subject) -> None:
    with pytest.raises(AttackError, match="left its budget"):
        measured(subject, THREAT, np.ones(COUNT, bool), [attacker("greedy", shifted(9))], EFFORT)


def test_the_command_writes_a_row_for_each_model_and_budget(
    command: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(independent, "ATTACKERS", (IDLE,))
    path = tmp_path / "new" / "rows.json"

    code = main([*command, "--epsilon", "linf:1/255", "--quick", "--images", "40", "--json", str(path)])

    rows = json.loads(path.read_text())
    assert code == 0
    assert [(row["model"], row["budget"], row["n"]) for row in rows] == [
        (model, budget, 40) for budget in ("linf:8/255", "linf:1/255") for model in ("vanilla", "pgd")
    ]
    printed = capsys.readouterr().out.splitlines()
    assert '"steps":20' in printed[0]
    lines = [line for line in printed if line.startswith("|")]
    assert len(lines) == 2 + len(rows)
    assert f"| {rows[0]['clean']:.3f} | {rows[0]['auto']:.3f} [" in lines[2]
    assert lines[2].endswith("| 0.0 | yes |")
    assert len({line.count("|") for line in lines}) == 1


def test_the_command_fails_where_a_robust_accuracy_does_not_hold(
    command: Sequence[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(independent, "ATTACKERS", (STRONG,))
    monkeypatch.setattr(independent, "read_suite", lambda name: {name: Noise()})

    assert main(command) == 1
    assert capsys.readouterr().out.rstrip().endswith("| NO |")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "pgd", "other"], "no run in .* has all of pgd, other; run: dermrobust run"),
        (["--models", "gone"], "model gone is gone from .*; make it again"),
        (["--root", "nowhere"], "no run in 'nowhere' has all of vanilla, pgd; run: dermrobust run"),
        (["--epsilon", "l2:0.5"], "a level or more in L-infinity"),
        (["--epsilon", "linf:0.5/255"], "a level or more in L-infinity"),
        (["--images", "0"], "write 1 or more"),
        (["--config", "nothing.json"], "there is no config file"),
    ],
)
def test_a_mistake_is_told_without_a_traceback(
    command: Sequence[str],
    arguments: Sequence[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit) as stopped:
        main([*command, *arguments])

    assert stopped.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "nowhere").exists()


def test_an_audit_says_which_images_are_left_to_the_attackers(
    audit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = list[np.ndarray]()

    def keep(images: Images, labels: Labels) -> Images:
        tried.append(images)
        return images

    monkeypatch.setattr(independent, "ATTACKERS", (attacker("keep", keep),))
    path = tmp_path / "rows.json"

    main(["--audit", audit, "--epsilon", "linf:8/255", "--images", "60", "--json", str(path)])

    (row,) = json.loads(path.read_text())
    assert np.array_equal(np.concatenate(tried), (PIXELS[:60] / np.float32(255))[STOOD[:60]])
    assert (row["n"], row["auto"], row["budget"]) == (60, STOOD[:60].mean(), "linf:8/255")
    assert '"queries":7' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epsilon", "linf:4/255"], "the audit has not attacked by 'auto' at linf:4/255"),
        (["--models", "vanilla"], "belong to --config"),
        (["--root", "elsewhere"], "belong to --config"),
        (["--quick"], "belong to --config"),
        (["--config", "config.json"], "not allowed with argument --audit"),
        (["--audit", "nowhere"], "no audit in 'nowhere' has attacked a model; run: dermrobust audit"),
    ],
)
def test_a_mistake_about_an_audit_is_told_without_a_traceback(
    audit: str, arguments: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--audit", audit, *arguments])

    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_model_without_a_network_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = PipelineConfig(root=str(tmp_path))
    store = ArtifactStore(config.root)
    saved = published(store, ArtifactType.MODEL, "model", lambda folder: (folder / "saved_model").mkdir())
    examples = published(store, ArtifactType.EXAMPLES, "examples", write_examples)
    origin = Provenance("test", {"attacks": {}}, {}, {})
    predictions = published(store, ArtifactType.PREDICTIONS, "predictions", write_predictions, origin)
    note_run(config, "run", {"adopt[data]": examples, "adopt[model]": saved, "predict[model]": predictions})

    with pytest.raises(SystemExit):
        main(["--audit", str(tmp_path), "--epsilon", "linf:8/255"])

    assert "is no Keras model" in capsys.readouterr().err


def test_without_names_all_models_of_the_config_are_attacked(
    config: PipelineConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"augment": {"attacks": {"fgsm": "fgsm"}, "models": {"other": ["fgsm"]}}}))

    with pytest.raises(SystemExit):
        main(["--config", str(path), "--root", config.root])

    assert "has all of vanilla, other;" in capsys.readouterr().err


@pytest.mark.parametrize("peer", ATTACKERS, ids=lambda peer: peer.name)
def test_the_attackers_break_images_on_their_own(subject: Subject, peer: Attacker) -> None:
    pytest.importorskip("art" if "ART" in peer.name else "foolbox", reason="pip install '.[benchmarks]'")
    clean = subject.correct(subject.images.pixels)
    keras.utils.set_random_seed(0)

    left = withstanding(subject, ThreatModel(24), peer, Effort(steps=10, restarts=2, queries=50), clean)

    assert left.mean() < clean.mean() - 0.1
