"""Sweep: the models of a run for several seeds, each trained once, whatever fails or is killed meanwhile."""

from __future__ import annotations

import contextlib
import csv
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import dermrobust
from dermrobust.attacks.errors import UserError
from dermrobust.components.artifacts import Artifact
from dermrobust.components.progress import Silent, Task
from dermrobust.pipeline.cli.main import main
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.graph import build_graph
from dermrobust.pipeline.history import recent_runs
from dermrobust.pipeline.nodes import Node
from dermrobust.pipeline.outcomes import RunResult
from dermrobust.pipeline.runner import run_graph
from dermrobust.pipeline.sweep import SweepResult
from tests.components.trainings import Steps, network_bytes
from tests.pipeline.small_stages import executed, interrupted_as_by_beam, node, trouble

Sweep = Callable[..., Result]

MODELS = ("vanilla", "online", "distilled")


def small_graph(config: PipelineConfig) -> list[Node]:
    """Models as a config has them: two that need the data alone, one that needs the baseline."""
    seed = f" {config.train.seed}"
    return [
        node("ingest", "ingest"),
        node("preprocess", "preprocess", "ingest"),
        node("train[vanilla]", "train", "preprocess", text=seed),
        # Trained with other parameters that are the same for all seeds, if the config says so.
        node("train[online]", "train", "preprocess", text="" if config.description == "online is fixed" else seed),
        node("train[distilled]", "train", "preprocess", "train[vanilla]", text=seed),
    ]


def small_values(root: Path) -> dict[str, Any]:
    defences = {"online": {"objective": "fast"}, "distilled": {"objective": "fast", "distillation": 0.5}}
    return {"root": str(root), "defences": defences, "augment": {"models": {}}}


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sweep]:
    """A function that calls the command on the small graph."""
    for module in ("runner", "sweep"):
        monkeypatch.setattr(f"dermrobust.pipeline.{module}.build_graph", small_graph)
    file = tmp_path / "config.json"

    def sweep(*options: str, **values: Any) -> Result:
        executed.clear()
        file.write_text(json.dumps({**small_values(tmp_path / "output"), **values}))
        return CliRunner().invoke(main, ["sweep", "--config", str(file), *options])

    yield sweep
    trouble.clear()


def statuses(result: Result) -> dict[tuple[int, str], str]:
    return {(row["seed"], row["model"]): row["status"] for row in json.loads(result.stdout)["models"]}


def failing_once(error: Exception) -> Callable[[], object]:
    """Fails for the first seed that gets there."""
    left = [error]

    def fail() -> object:
        if left:
            raise left.pop()
        return None

    return fail


def test_a_failure_stops_only_what_needs_the_model_and_the_next_sweep_does_the_rest(
    sweep: Sweep, tmp_path: Path
) -> None:
    trouble["train[vanilla]"] = failing_once(ValueError("no more memory\nand more lines"))
    trouble["train[online]"] = failing_once(UserError("choose a smaller batch"))

    first = sweep("--seeds", "3,5", "--json")

    assert first.exit_code == 2  # the larger of 1, a crash, and 2, a mistake
    assert sorted(status for status in statuses(first).values()) == ["done"] * 3 + ["failed"] * 2 + ["skipped"]
    (failed,) = (seed for (seed, model), status in statuses(first).items() if (model, status) == ("vanilla", "failed"))
    assert statuses(first)[failed, "distilled"] == "skipped"
    errors = [line for line in first.stderr.splitlines() if line.startswith("error: ")]
    assert f"error: seed {failed}: train[vanilla] failed: ValueError: no more memory" in errors
    assert len(errors) == 2
    log = next(line for line in first.stderr.splitlines() if line.startswith("  The traceback is in "))
    trace = Path(log.removeprefix("  The traceback is in ")).read_text()
    assert trace.startswith("Traceback")
    assert "small_stages.py" in trace
    assert trace.rstrip().endswith("ValueError: no more memory\nand more lines")
    assert sorted(run["status"] for run in recent_runs(PipelineConfig(root=str(tmp_path / "output")), 10)) in (
        ["failed", "failed", "succeeded"],
        ["failed", "succeeded", "succeeded"],
    )

    second = sweep("--seeds", "3,5", "--json")

    assert sorted(executed) == ["train[distilled]", "train[online]", "train[vanilla]"]
    assert second.exit_code == 0
    assert sorted(statuses(second).values()) == ["cached"] * 3 + ["done"] * 3
    assert not list((tmp_path / "output" / "staging").iterdir())
    assert not list((tmp_path / "output" / "work").iterdir())


@pytest.mark.usefixtures("sweep", "python_handles_ctrl_c")
def test_ctrl_c_ends_a_sweep_of_the_api(tmp_path: Path) -> None:
    values = small_values(tmp_path / "output")
    executed.clear()
    trouble["train[vanilla]"] = interrupted_as_by_beam

    with pytest.raises(KeyboardInterrupt):
        dermrobust.sweep(values, seeds=[3, 5])

    runs = recent_runs(PipelineConfig(root=values["root"]), 10)
    assert sorted(run["status"] for run in runs) == ["interrupted", "interrupted", "succeeded"]
    assert "train[distilled]" not in executed


def test_the_table_has_a_row_for_each_failure(sweep: Sweep) -> None:
    trouble["train[vanilla]"] = failing_once(ValueError("no memory"))

    result = sweep("--seeds", "3", "--models", "distilled,vanilla")

    assert result.exit_code == 1
    rows = [line.split() for line in result.stdout.splitlines() if " 3 " in line]
    assert [(row[0], row[-1]) for row in rows] == [("vanilla", "failed"), ("distilled", "skipped")]
    assert "vanilla, seed 3: failed: train[vanilla] failed: ValueError: no memory" in result.stdout.splitlines()
    assert "distilled, seed 3: skipped: needs train[vanilla]" in result.stdout.splitlines()
    assert "online" not in result.stdout
    assert "train[online]" not in executed


def test_work_that_is_the_same_for_all_seeds_is_done_once(sweep: Sweep) -> None:
    result = sweep("--seeds", "0,1", "--json", description="online is fixed")

    assert result.exit_code == 0, result.output
    assert sorted(executed).count("train[online]") == 1
    assert sorted(executed).count("train[vanilla]") == 2
    assert sorted(statuses(result)[seed, "online"] for seed in (0, 1)) == ["cached", "done"]


def test_two_trainings_never_share_a_process_at_once(sweep: Sweep) -> None:
    """Keras and TensorFlow have one random state in a process; this engine runs elements in threads."""
    at_work, most = [0], [0]
    counting = threading.Lock()

    def work() -> None:
        for change in (1, -1):
            with counting:
                at_work[0] += change
                most[0] = max(most[0], at_work[0])
            time.sleep(0.05)

    trouble.update(dict.fromkeys(("train[vanilla]", "train[online]"), work))
    threads = ["--direct_num_workers=4", "--direct_running_mode=multi_threading"]

    result = sweep("--seeds", "0,1,2", "--json", beam={"options": threads})

    assert result.exit_code == 0, result.output
    assert len(executed) == 2 + 3 * 3
    assert most == [1]


KILLED_IN_A_TRAINING = """
import json, os, signal, sys
from dermrobust.components.progress import Silent
from dermrobust.pipeline import runner, sweep
from dermrobust.pipeline.config import PipelineConfig
from tests.pipeline import small_stages
from tests.pipeline.test_sweep import small_graph

def kill_in_the_second():
    if small_stages.executed.count("train[online]") == 2:
        os.kill(os.getpid(), signal.SIGKILL)

small_stages.trouble["train[online]"] = kill_in_the_second
runner.build_graph = sweep.build_graph = small_graph
sweep.run_sweep(PipelineConfig.model_validate(json.loads(sys.argv[1])), Silent(), seeds=[0, 1])
"""


def test_a_killed_sweep_goes_on_from_the_finished_trainings(sweep: Sweep, tmp_path: Path) -> None:
    values = json.dumps(small_values(tmp_path / "output"))
    child = subprocess.run([sys.executable, "-c", KILLED_IN_A_TRAINING, values], timeout=600, check=False)
    assert child.returncode == -signal.SIGKILL
    made = {path.parent for path in tmp_path.glob("output/artifacts/model/*/manifest.json")}
    assert len(made) > 2  # data, and at least one training

    result = sweep("--seeds", "0,1", "--json")

    assert result.exit_code == 0, result.output
    assert len(executed) == 2 + 2 * 3 - len(made)
    assert not list((tmp_path / "output" / "staging").iterdir())
    found = recent_runs(PipelineConfig(root=str(tmp_path / "output")), 10)
    assert [run["status"] for run in found].count("killed") == 2


@pytest.mark.parametrize(
    ("options", "values", "told"),
    [
        (["--seeds", " , "], {}, "there are no seeds"),
        (["--seeds", "0,1,0"], {}, "seed 0 is named 2 times"),
        (["--seeds", "0,one"], {}, "expected whole numbers"),
        (["--seeds", "-1"], {}, "-1 cannot be a seed"),
        (["--seeds", "2147483648"], {}, "2147483648 cannot be a seed"),
        (["--seeds", "0", "--models", "onlin"], {}, "there is no model 'onlin'; there are: vanilla, online, distilled"),
        (["--seeds", "0", "--models", ""], {}, "there are no models"),
        (["--seeds", "0"], {"defences": {"online": {"objective": "fast", "seed": 3}}}, "defences.online.seed"),
        (["--seeds", "0"], {"beam": {"runner": "NoRunner"}}, "beam.runner: 'NoRunner' cannot be used"),
        (["--seeds", "0", "--csv", "/dev/null/table.csv"], {}, "the table cannot be written to"),
    ],
)
def test_a_mistake_is_one_message(options: list[str], values: dict[str, Any], told: str, sweep: Sweep) -> None:
    result = sweep(*options, **values)

    assert result.exit_code == 2, result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert told in errors[0]
    assert "Traceback" not in result.output
    assert "csv" in " ".join(options) or not [name for name in executed if name.startswith("train")]


# Networks that are trained

TINY: dict[str, Any] = {
    "ingest": {"dataset": {"dataset": "synthetic", "count": 84, "height": 32, "width": 32, "balanced": True}},
    "preprocess": {"image_size": 8},
    "train": {"network": "tiny", "epochs": 2, "patience": 2, "batch_size": 64, "xla": False},
    "defences": {"online": {"objective": "fast", "validation_steps": 1, "overfitting_drop": 1.0}},
    "augment": {"models": {}},
    "evaluate": {
        "epsilons": [4],
        "gate": {
            "candidate": "online",
            "thresholds": [{"metric": "accuracy", "attack": "worst_case", "epsilon": 4, "min": 0.0}],
        },
    },
}


class Watched(Silent):
    """Progress that counts the steps of one training, and may crash in it."""

    def __init__(self, description: str, *, crash: bool) -> None:
        self._description, self._crash = description, crash
        self.steps = Steps()

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Task]:
        if description != self._description:
            with super().task(description, total, unit) as task:
                yield task
            return
        assert total is not None
        # In the first step of the second of two epochs.
        self.steps = Steps(total // 2 + 1 if self._crash else None)
        with self.steps.task(description, total, unit) as task:
            yield task


def trained_alone(root: Path) -> RunResult:
    """Run one training of the second seed in another root."""
    config = PipelineConfig.model_validate({**TINY, "root": str(root), "seed": 1})
    names = frozenset({"ingest", "preprocess", "train[online]"})
    nodes = [each for each in build_graph(config) if each.id in names]
    return run_graph(config, nodes, Silent(), settings={}, selected=names, force=False)


class Swept:
    """Two sweeps, the first of which was interrupted in one training, and a run of the second seed elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.config = {**TINY, "root": str(folder / "sweep")}
        interrupted, watched = (Watched("seed 1 train[online]", crash=crash) for crash in (True, False))
        self.first: SweepResult = dermrobust.sweep(self.config, seeds=[0, 1], progress=interrupted)
        self.second: SweepResult = dermrobust.sweep(self.config, seeds=[0, 1], progress=watched)
        self.steps = watched.steps
        self.alone = trained_alone(folder / "alone")
        self.again: RunResult = dermrobust.run({**self.config, "seed": 1}, last="train")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    return Swept(tmp_path_factory.mktemp("sweep"))


def model(result: RunResult, name: str) -> Artifact:
    artifact = result.output(f"train[{name}]", "model")
    assert artifact is not None, [node.message for node in result.nodes]
    return artifact


@pytest.mark.slow
def test_an_interrupted_training_resumes_from_its_epoch_and_no_other_is_repeated(swept: Swept) -> None:
    outcomes = {
        (sweep, seed, node.node): node.status
        for sweep, result in (("first", swept.first), ("second", swept.second))
        for seed, run in result.runs.items()
        for node in run.nodes
        if node.node.startswith("train")
    }
    assert swept.first.exit_code == 1
    assert [place for place, status in outcomes.items() if status == "failed"] == [("first", 1, "train[online]")]
    assert [place for place, status in outcomes.items() if place[0] == "second" and status == "done"] == [
        ("second", 1, "train[online]")
    ]
    assert swept.second.exit_code == 0
    total = swept.steps.total
    assert total is not None
    assert swept.steps.advances[0] == total // 2  # the first epoch was there
    assert sum(swept.steps.advances) == total


@pytest.mark.slow
def test_models_are_those_of_a_run_of_the_seed(swept: Swept) -> None:
    assert {node.status for node in swept.again.nodes} == {"cached"}
    for name in ("vanilla", "online"):
        assert model(swept.second.runs[1], name) == model(swept.again, name)
        assert model(swept.second.runs[1], name).digest != model(swept.second.runs[0], name).digest
    # The one that was interrupted.
    resumed, alone = model(swept.second.runs[1], "online"), model(swept.alone, "online")
    assert (resumed.fingerprint, resumed.digest) == (alone.fingerprint, alone.digest)
    assert network_bytes(resumed) == network_bytes(alone)
    # The same images for both seeds.
    assert len({run.output("preprocess", "examples") for run in swept.second.runs.values()}) == 1


@pytest.mark.slow
def test_the_command_prints_figures_of_all_seeds(swept: Swept, tmp_path: Path) -> None:
    config, table = tmp_path / "config.json", tmp_path / "table.csv"
    config.write_text(json.dumps(swept.config))
    options = ["sweep", "--config", str(config), "--seeds", "1,0", "--csv", str(table)]

    printed = CliRunner().invoke(main, [*options, "--json"])

    assert printed.exit_code == 0, printed.output
    values = json.loads(printed.stdout)
    kept = model(swept.second.runs[1], "online").read_json("metrics.json")
    row = next(row for row in values["models"] if (row["model"], row["seed"]) == ("online", 1))
    assert row["status"] == "cached"
    for name in ("accuracy", "balanced_accuracy", "robust_accuracy", "robust_balanced_accuracy"):
        assert row[name] == kept[f"validation_{name}"]
    pair = [row["balanced_accuracy"] for row in values["models"] if row["model"] == "vanilla"]
    found = values["over_seeds"]["vanilla"]["balanced_accuracy"]
    assert found["mean"] == pytest.approx(sum(pair) / 2)
    assert found["deviation"] == pytest.approx(abs(pair[0] - pair[1]) / 2**0.5)
    assert found["n"] == 2
    assert "robust_accuracy" not in values["over_seeds"]["vanilla"]  # its objective knows no attack
    with table.open() as file:
        written = list(csv.DictReader(file))
    assert [(each["model"], each["seed"]) for each in written] == [
        *(("vanilla", "1"), ("vanilla", "0"), ("online", "1"), ("online", "0"))
    ]
    assert [float(each["accuracy"]) for each in written] == [each["accuracy"] for each in values["models"]]

    shown = CliRunner().invoke(main, options).stdout

    lines = [line.split() for line in shown.splitlines() if line.split()[:1] == ["online"]]
    assert [line[1] for line in lines] == ["1", "0", "mean", "sd"]
    assert lines[0][2] == f"{kept['validation_accuracy']:.3f}"
