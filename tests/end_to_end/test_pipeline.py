"""The whole pipeline through its command line, on a few hundred drawn images."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from click.testing import CliRunner, Result

from dermrobust import UserError, load_evaluation, load_model
from dermrobust.components.artifacts import ArtifactStore, ArtifactType
from dermrobust.components.audit.labels import read_labels
from dermrobust.models.tasks.ham10000 import TASK
from dermrobust.pipeline.audit_settings import Audit
from dermrobust.pipeline.cli.main import main
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import ledger_path
from dermrobust.pipeline.outcomes import NodeResult, RunResult
from dermrobust.pipeline.zoo.catalog import read_card
from dermrobust.pipeline.zoo.split import write_verified_split
from dermrobust.pipeline.zoo.split_digest import audited_digest
from dermrobust.pipeline.zoo.verifying import verify_folder
from tests.artifact_files import seal

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "ingest": {"dataset": {"dataset": "synthetic", "count": 360}},
    "preprocess": {"image_size": 16},
    "train": {"network": "cnn", "epochs": 3, "warmup_epochs": 0, "xla": False},
    "defences": {"fast": {"objective": {"objective": "fast", "epsilon": "linf:4/255"}, "class_sampling": "sqrt"}},
    "augment": {
        "attacks": {"fgsm": {"attack": "fgsm"}, "pgd": {"attack": "pgd", "steps": 3}},
        "models": {"mixed": ["fgsm", "pgd"]},
        "train": {"epochs": 1},
    },
    "evaluate": {
        "epsilons": [1, "linf:4/255"],
        "attacks": {
            "fgsm": {"attack": "fgsm"},
            "pgd": {"attack": "pgd", "steps": 5},
            "transfer": {"attack": "transfer", "source": "vanilla", "crafted_with": "fgsm"},
            "auto": {"attack": "auto", "steps": 3, "queries": 5},
        },
        "probes": {"images": 16, "queries": 5, "spsa_images": 0, "corruption_images": 16},
        "gate": {
            "candidate": "mixed",
            "baseline": "vanilla",
            "thresholds": [
                {"metric": "accuracy", "min": 0.01},
                {"metric": "accuracy", "attack": "pgd", "epsilon": 4, "min": 0.0},
            ],
            "checks": "ignored",  # networks that learn nothing in three epochs cannot pass all
        },
    },
}

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pipeline")


@pytest.fixture(scope="module")
def command(root: Path) -> Command:
    config = root / "config.json"
    config.write_text(json.dumps({**SMALL, "root": str(root / "output")}))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, [*arguments, "--config", str(config)])

    return run


@pytest.fixture(scope="module")
def first_run(command: Command) -> Result:
    """The pipeline's first run, which everything else in this file looks at."""
    return command("run")


def statuses(result: Result) -> dict[str, str]:
    return {node["node"]: node["status"] for node in json.loads(result.stdout)["nodes"]}


def metric_rows(command: Command) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(command("show", "metrics", "--all", "--json").stdout)
    return rows


def test_one_command_runs_everything_and_prints_the_table(first_run: Result, root: Path) -> None:
    assert first_run.exit_code == 0, first_run.output
    for text in ("vanilla", "mixed", "fgsm", "pgd", "worst_case", "balanced", "evaluation:", "report:", "exported:"):
        assert text in first_run.stdout
    assert (root / "output" / "export" / "1" / "saved_model.pb").is_file()
    assert "Self-checks:" in first_run.stdout
    assert "Traceback" not in first_run.output


def test_a_run_ends_with_its_report_which_can_be_made_again(first_run: Result, command: Command, root: Path) -> None:
    page = root / "output" / "report" / "report.html"
    assert page.stat().st_size < 5_000_000
    assert "they show nobody" in page.read_text(encoding="utf-8")
    assert (page.parent / "model_card.md").is_file()
    written = page.read_bytes()
    again = root / "again.html"
    assert command("report", "--output", str(again)).exit_code == 0
    assert again.read_bytes() == written


def test_two_runs_stand_side_by_side(first_run: Result, command: Command) -> None:
    runs = [run["id"] for run in json.loads(command("runs", "--json").stdout)]
    compared = command("compare", runs[-1], runs[-1])
    assert compared.exit_code == 0, compared.output
    assert "overlap" in compared.stdout  # the same run twice: every pair of intervals does


def test_progress_goes_to_stderr_and_chatter_nowhere(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "from dermrobust.pipeline.cli.entry import main; main()"]
    arguments = [
        "run",
        "--to",
        "preprocess",
        "--json",
        "--set",
        f"root={tmp_path}",
        "--set",
        "ingest.dataset.count=200",
    ]
    done = subprocess.run([*program, *arguments], capture_output=True, text=True, check=True)
    assert {node["status"] for node in json.loads(done.stdout)["nodes"]} == {"done"}
    assert "preprocess: done in" in done.stderr
    for chatter in ("cuda", "oneDNN", "WARNING", "absl", "Downloading"):
        assert chatter not in done.stderr


def test_unchanged_work_is_not_done_again(first_run: Result, root: Path) -> None:
    program = (
        "import sys; from dermrobust.pipeline.cli.main import main; main(standalone_mode=False); print(*sys.modules)"
    )
    arguments = ["run", "--json", "--config", str(root / "config.json")]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    again, end = json.JSONDecoder().raw_decode(done.stdout)
    assert {node["status"] for node in again["nodes"]} == {"cached"}
    assert again["exported"].endswith("/export/1")
    # Their imports take longer than all the rest.
    assert {"tensorflow", "keras", "apache_beam", "tensorflow_model_analysis"} & {*done.stdout[end:].split()} == set()


def test_a_changed_parameter_runs_only_what_depends_on_it(first_run: Result, command: Command) -> None:
    changed = statuses(command("run", "--json", "--set", "export.warmup_requests=2"))
    assert {node for node, status in changed.items() if status == "done"} == {"export"}


def test_a_model_that_misses_a_threshold_is_not_exported(first_run: Result, command: Command, root: Path) -> None:
    threshold = '[{"metric":"balanced_accuracy","attack":"pgd","epsilon":4,"min":0.99}]'
    elsewhere = root / "elsewhere"
    refused = command("run", "--set", f"evaluate.gate.thresholds={threshold}", "--set", f"export.directory={elsewhere}")
    assert refused.exit_code == 3
    assert "not blessed" in refused.stderr
    assert "balanced_accuracy under pgd at epsilon 4" in refused.stderr
    assert not elsewhere.exists()


def test_the_metrics_name_model_attack_epsilon_slice_and_n(first_run: Result, command: Command) -> None:
    rows = metric_rows(command)
    assert {"model", "attack", "epsilon", "slice", "metric", "value", "n"} <= set(rows[0])
    assert {row["model"] for row in rows} == {"vanilla", "mixed", "fast", "constant"}
    assert {row["norm"] for row in rows if row["attack"] == "pgd" and row["epsilon"]} == {"linf"}
    slices = {row["slice"].split("=")[0] for row in rows}
    assert slices == {"overall", "dx", "sex", "age_group", "localization", "skin_tone"}
    assert all(isinstance(row["n"], int) and row["n"] > 0 for row in rows)
    under_attack = [row for row in rows if row["attack"] == "pgd" and row["slice"] == "dx=mel"]
    assert {row["epsilon"] for row in under_attack} == {1.0, 4.0}


def test_the_worst_case_is_no_better_than_any_attack(first_run: Result, command: Command) -> None:
    rows = [row for row in metric_rows(command) if row["slice"] == "overall" and row["metric"] == "accuracy"]
    values = {(row["model"], row["attack"], row["epsilon"]): row["value"] for row in rows}
    for (model, attack, epsilon), value in values.items():
        if epsilon:
            assert values[model, "worst_case", epsilon] <= value
        elif attack == "none":
            assert values[model, "worst_case", 4.0] <= value


def test_it_says_what_an_adaptive_attack_removes(first_run: Result, command: Command) -> None:
    assert "what an adaptive attack removes" in " ".join(first_run.stdout.split())
    rows = {
        (row["model"], row["attack"], row["epsilon"]): row["value"]
        for row in metric_rows(command)
        if row["slice"] == "overall" and row["metric"] == "accuracy"
    }
    removed = rows["mixed", "transfer", 4.0] - rows["mixed", "worst_case", 4.0]
    assert removed >= 0
    assert f"{removed:.3f}" in first_run.stdout


def test_tfma_reads_its_own_result(first_run: Result, root: Path) -> None:
    evaluation = next((root / "output" / "artifacts" / "evaluation").glob("*/tfma"))
    result = tfma.load_eval_result(str(evaluation), model_name="vanilla")
    assert (("attack", "pgd"), ("epsilon", 4.0)) in {entry[0] for entry in result.slicing_metrics}


def test_what_is_exported_serves_photographs(first_run: Result, root: Path) -> None:
    served = tf.saved_model.load(str(root / "output" / "export" / "1"))
    photograph = tf.io.encode_jpeg(tf.cast(tf.random.uniform((60, 80, 3), maxval=255, dtype=tf.int32), tf.uint8))
    answer = served.signatures["serving_default"](image_bytes=tf.stack([photograph, photograph]))
    assert answer["probabilities"].shape == (2, 7)
    assert answer["class"].numpy()[0].decode() in {"akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"}


def client_of_the_documentation() -> str:
    page = Path(__file__).parents[2] / "docs" / "serving.md"
    _, code = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return str(code)


def test_what_is_exported_is_served_over_rest(first_run: Result, root: Path) -> None:
    photograph = tf.io.encode_jpeg(
        tf.cast(tf.random.uniform((60, 80, 3), maxval=255, dtype=tf.int32), tf.uint8)
    ).numpy()
    classify = tf.saved_model.load(str(root / "output" / "export" / "1")).signatures["serving_default"]
    expected = classify(image_bytes=tf.constant([photograph]))["probabilities"].numpy()
    program = "from dermrobust.pipeline.cli.entry import main; main()"
    export = str(root / "output" / "export")
    command = [sys.executable, "-c", program, "serve", "--export", export, "--port", "0", "--name", "skin"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            told = next(line for line in server.stderr if " at http://" in line)
            address = told.split(" at ")[1].split(";")[0]
            (root / "photo.jpg").write_bytes(photograph)
            client = client_of_the_documentation()
            assert "http://localhost:8501/v1/models/dermrobust" in client
            client = client.replace("http://localhost:8501/v1/models/dermrobust", address)
            answered = subprocess.run(
                [sys.executable, "-c", client, "photo.jpg"], cwd=root, capture_output=True, text=True, check=True
            )
        finally:
            server.terminate()
    name, status, found, probabilities = answered.stdout.split(maxsplit=3)
    assert (name, status) == ("photo.jpg", "ok")
    assert found in TASK.class_names
    assert json.loads(probabilities) == pytest.approx(expected[0].tolist(), abs=1e-5)


def test_serve_says_what_is_missing(tmp_path: Path) -> None:
    empty = CliRunner().invoke(main, ["serve", "--export", str(tmp_path)])

    assert empty.exit_code == 2
    assert f"nothing is exported in '{tmp_path}'" in empty.stderr


@pytest.fixture
def add(first_run: Result, root: Path, tmp_path: Path) -> Command:
    """Add a model of a copy of the run's root to a zoo; tests may change the copy."""
    shutil.copytree(root / "output", tmp_path / "output")
    (tmp_path / "zoo").mkdir()

    def run(model: str, name: str, *options: str) -> Result:
        arguments = ("zoo", "add", str(tmp_path / "output"), model, name, "--zoo", str(tmp_path / "zoo"))
        return CliRunner().invoke(main, [*arguments, *options])

    return run


def test_a_model_of_a_run_joins_a_zoo(add: Command, command: Command, tmp_path: Path) -> None:
    added = add("train[fast]", "hardened", "--allow-failed-checks", "--machine", "2 cores", "--minutes", "3")

    assert added.exit_code == 0, added.output
    card = verify_folder(tmp_path / "zoo" / "ham10000" / "hardened")
    figures = load_evaluation(tmp_path / "output")
    for attack, epsilon, metric, where in (
        ("none", 0.0, "balanced_accuracy", "overall"),
        ("worst_case", 4.0, "macro_auc", "overall"),
        ("worst_case", 1.0, "accuracy", "dx=nv"),
    ):
        assert card.figure(attack, epsilon, metric, where) == figures.figure("fast", attack, epsilon, metric, where)
    assert card.training.threat == "linf:4/255"
    assert (card.training.seconds, card.training.machine) == (180, "2 cores")
    assert card.split.images == figures.about.images
    assert {check.model for check in card.checks} == {None, "fast"}
    config = (tmp_path / "zoo" / "ham10000" / "hardened" / "config.json").read_text(encoding="utf-8")
    assert json.loads(config)["root"] == "output/hardened"
    assert str(Path.cwd()) not in config
    network = load_model("ham10000/hardened", zoo=tmp_path / "zoo")
    assert network.output_shape == (None, 7)


@pytest.mark.parametrize(("model", "last"), [("fast", "train"), ("mixed", "augment")])
def test_the_config_of_a_model_of_the_zoo_trains_it_again(model: str, last: str, add: Command, tmp_path: Path) -> None:
    """In the root of its run nothing has to be done, since the model of that config is the same one."""
    add(model, "again", "--allow-failed-checks")
    folder = tmp_path / "zoo" / "ham10000" / "again"
    card = read_card(folder)
    assert card.training.command.endswith(f"--to {last}")

    place = ("--set", f"root={tmp_path / 'output'}")
    result = CliRunner().invoke(main, ["run", "--config", str(folder / "config.json"), "--to", last, "--json", *place])

    nodes = json.loads(result.stdout)["nodes"]
    assert {node["status"] for node in nodes} == {"cached"}
    made = [node["outputs"]["model"] for node in nodes if node["node"].startswith("train[")]
    assert any(uri.endswith(card.training.fingerprint) for uri in made)
    assert len(made) == (1 if last == "train" else 3)


def test_the_split_that_a_model_never_saw_is_written_for_an_audit(add: Command, tmp_path: Path) -> None:
    add("fast", "hardened", "--allow-failed-checks")
    add("vanilla", "other", "--allow-failed-checks")
    hardened, other = (tmp_path / "zoo" / "ham10000" / name for name in ("hardened", "other"))
    (found,) = (tmp_path / "output" / "artifacts" / "dataset").iterdir()
    dataset = ArtifactStore(str(tmp_path / "output")).find(ArtifactType.DATASET, found.name)
    assert dataset is not None
    ingested = RunResult("run", (NodeResult("ingest", "done", outputs={"dataset": dataset}),))

    images, labels = write_verified_split(hardened, ingested, tmp_path / "split")

    card = read_card(hardened)
    assert audited_digest(Audit(model=Path("-"), data=images, labels=labels)) == card.split.sha256
    assert len(read_labels(labels).rows) == card.split.images
    assert read_labels(labels).missing == ()
    assert len({row.group for row in read_labels(labels).rows}) == card.split.groups
    changed = read_card(other).model_copy(update={"split": card.split.model_copy(update={"sha256": "5e" * 32})})
    (other / "card.json").write_bytes(changed.to_json())
    with pytest.raises(UserError, match="Is it the same release"):
        write_verified_split(other, ingested, tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


def test_a_zoo_refuses_what_it_must_not_hold(add: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusal(*arguments: str) -> str:
        before = sorted((tmp_path / "zoo").rglob("*"))
        result = add(*arguments)
        assert (result.exit_code, sorted((tmp_path / "zoo").rglob("*"))) == (2, before), result.output
        return result.stderr

    (checks,) = (tmp_path / "output" / "artifacts" / "evaluation").glob("*/checks.json")
    failing = json.loads(checks.read_text())
    failing["checks"][0] |= {"status": "fail", "model": "fast", "title": "Gradients exist"}
    checks.write_text(json.dumps(failing))
    seal(checks.parent)
    assert "self-checks of 'fast' failed" in refusal("fast", "hardened")
    assert "has evaluated no model 'nonesuch'; it has: vanilla" in refusal("nonesuch", "hardened")
    assert "task is 'ham10000', not 'other'" in refusal("fast", "other/hardened")
    assert "is no name for a model" in refusal("fast", "Hardened!")
    assert add("fast", "hardened", "--allow-failed-checks").exit_code == 0
    assert "has a model 'ham10000/hardened' already" in refusal("fast", "hardened", "--allow-failed-checks")
    with monkeypatch.context() as limited:
        limited.setattr("dermrobust.pipeline.zoo.adding.MAX_BYTES", 1000)
        assert "must stay below" in refusal("fast", "large", "--allow-failed-checks")
    with monkeypatch.context() as limited:
        limited.setattr("dermrobust.pipeline.zoo.adding.MAX_MODELS", 1)
        assert "1 at most" in refusal("fast", "second", "--allow-failed-checks")


def test_a_zoo_refuses_a_model_that_was_not_the_evaluated_one(add: Command, tmp_path: Path) -> None:
    evaluation = load_evaluation(tmp_path / "output")
    config = PipelineConfig(root=str(tmp_path / "output"))
    ledger, store = Ledger(ledger_path(config)), ArtifactStore(config.root)
    record = ledger.run(evaluation.run)
    assert record is not None
    (trained,) = (output for output in record["outputs"] if output["node"] == "train[fast]")
    artifact = store.find(ArtifactType.MODEL, trained["fingerprint"])
    assert artifact is not None

    Path(artifact.path("model.keras")).write_bytes(b"other weights")
    assert "files in" in add("fast", "hardened").stderr

    ledger.begin_run("20991122T100000-aaaaaa", {})
    newer = dataclasses.replace(artifact, fingerprint="0badcafe")
    outcome: dict[str, Any] = {
        "stage": "train",
        "component": "train",
        "fingerprint": "0badcafe",
        "status": "done",
        "seconds": 1.0,
    }
    ledger.record(
        "20991122T100000-aaaaaa", node="train[fast]", message="", inputs={}, outputs={"model": newer}, **outcome
    )
    refused = add("fast", "hardened")
    assert refused.exit_code == 2
    assert "is of another model: 'train[fast]' has made 0badcafe since" in refused.stderr


def test_a_stage_runs_by_itself_on_what_earlier_ones_left(first_run: Result, command: Command) -> None:
    forced = command("augment", "--force", "--json")
    assert forced.exit_code == 0, forced.output
    by_status = statuses(forced)
    assert by_status["augment[fgsm]"] == by_status["train[mixed]"] == "done"
    assert by_status["train[vanilla]"] == "cached"
    assert "evaluate" not in by_status
    # Done again from the same inputs, the same content came out: nothing downstream has to run.
    assert set(statuses(command("run", "--json")).values()) == {"cached"}


def test_a_stage_without_what_it_needs_says_what_to_run(command: Command, tmp_path: Path) -> None:
    result = command("evaluate", "--set", f"root={tmp_path}")
    assert result.exit_code == 2
    assert "dermrobust run --to ingest" in result.stderr
    assert "Traceback" not in result.output


def test_runs_are_listed_newest_first(first_run: Result, command: Command) -> None:
    runs = json.loads(command("runs", "--json").stdout)
    assert [run["started"] for run in runs] == sorted((run["started"] for run in runs), reverse=True)
    assert runs[-1]["status"] == "succeeded"
    assert {node["status"] for node in runs[-1]["nodes"]} == {"done"}


def test_mistakes_end_with_a_message_and_code_2(command: Command) -> None:
    for arguments, text in (
        (("run", "--set", "trian.epochs=3"), "trian"),
        (("run", "--from", "export", "--to", "train"), "comes after"),
        (("run", "--set", "ingest.dataset=ham10000"), "ingest.path"),
        (("run", "--set", "beam.runner=DaskRunner"), "loses data"),
        (("show", "metrics", "--run", "nonesuch"), "nonesuch"),
    ):
        result = command(*arguments)
        assert result.exit_code == 2, arguments
        assert text in result.stderr
        assert "Traceback" not in result.output
