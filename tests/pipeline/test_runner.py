"""Runner: repeats no finished work, confines failures to the nodes that depend on them, and records outcomes."""

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import Refused
from dermrobust.components.progress import Silent
from dermrobust.pipeline import local_files
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.history import recent_runs
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.outcomes import RunResult
from dermrobust.pipeline.runner import run_pipeline
from tests import memory_storage
from tests.pipeline import small_stages
from tests.pipeline.conftest import Listening, Run
from tests.pipeline.small_stages import TEXT, executed, trouble

ALL = ["ingest", "preprocess", "train[one]", "train[two]", "evaluate", "export"]

KILLED_IN_THE_SECOND_FILE = """
import os, signal, sys
from dermrobust.components.progress import Silent
from dermrobust.pipeline import runner
from dermrobust.pipeline.config import PipelineConfig
from tests.pipeline import small_stages

small_stages.trouble["2"] = lambda: os.kill(os.getpid(), signal.SIGKILL)
runner.build_graph = lambda config: [small_stages.resumable()]
runner.run_pipeline(PipelineConfig(root=sys.argv[1]), Silent(), first="ingest", last="ingest", force=False)
"""


def failing(error: BaseException) -> Callable[[], object]:
    def fail() -> object:
        raise error

    return fail


def statuses(result: RunResult) -> dict[str, str]:
    return {node.node: node.status for node in result.nodes}


def message(result: RunResult, node: str) -> str:
    return next(found.message for found in result.nodes if found.node == node)


def text(result: RunResult, node: str) -> str:
    artifact = result.output(node, "made")
    assert artifact is not None
    return Path(artifact.path(TEXT)).read_text()


def staged(config: PipelineConfig) -> list[Path]:
    folder = Path(config.root, "staging")
    return list(folder.iterdir()) if folder.exists() else []


def test_every_node_runs_after_those_that_it_needs(run: Run) -> None:
    result = run()

    assert statuses(result) == dict.fromkeys(ALL, "done")
    assert result.exit_code == 0
    assert text(result, "evaluate").split() == [
        *("ingest", "preprocess", "train[one]"),
        *("ingest", "preprocess", "train[two]"),
        "evaluate",
    ]


def test_a_second_run_does_nothing_and_has_the_same_results(run: Run) -> None:
    first = run()

    second = run()

    assert executed == []
    assert statuses(second) == dict.fromkeys(ALL, "cached")
    assert second.exit_code == 0
    assert [second.output(node, "made") for node in ALL] == [first.output(node, "made") for node in ALL]


def test_a_changed_parameter_runs_only_what_depends_on_it(run: Run) -> None:
    run()

    result = run(two=" with more epochs")

    assert executed == ["train[two]", "evaluate", "export"]
    assert "train[two] with more epochs" in text(result, "evaluate")


def test_a_changed_parameter_that_changes_no_content_runs_only_its_node(run: Run) -> None:
    """Later nodes depend on the content of their inputs, not on their parameters."""
    run()

    run(remark="cosmetic")

    assert executed == ["preprocess"]


def test_going_back_to_earlier_parameters_finds_their_results(run: Run) -> None:
    run()
    run(ingest=" other images")

    run()

    assert executed == []


def test_a_failure_stops_only_what_depends_on_it(run: Run) -> None:
    trouble["train[two]"] = failing(ValueError("no more memory"))

    result = run()

    assert statuses(result) == {
        "ingest": "done",
        "preprocess": "done",
        "train[one]": "done",
        "train[two]": "failed",
        "evaluate": "skipped",
        "export": "skipped",
    }
    assert message(result, "evaluate") == "needs train[two]"
    assert message(result, "export") == "needs evaluate"


def test_after_a_failure_only_what_is_missing_is_done(run: Run) -> None:
    trouble["train[two]"] = failing(ValueError("no more memory"))
    run()
    trouble.clear()

    result = run()

    assert executed == ["train[two]", "evaluate", "export"]
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("error", "status", "exit_code"),
    [
        (ValueError("the loss is not finite"), "failed", 1),
        (UserError("there is no folder '/images'"), "failed", 2),
        (Refused("not blessed"), "refused", 3),
    ],
)
def test_how_a_node_ends_decides_the_exit_code(error: Exception, status: str, exit_code: int, run: Run) -> None:
    trouble["train[one]"] = failing(error)

    result = run()

    assert statuses(result)["train[one]"] == status
    assert statuses(result)["evaluate"] == "skipped"
    assert result.exit_code == exit_code
    assert str(error) in message(result, "train[one]")


@pytest.mark.parametrize("error", [UserError("there is no folder '/images'"), Refused("not blessed")])
def test_a_mistake_of_the_user_and_a_refusal_come_without_a_traceback(
    error: Exception, run: Run, config: PipelineConfig
) -> None:
    trouble["ingest"] = failing(error)

    result = run()

    assert message(result, "ingest") == str(error)
    assert not Path(config.root, "logs").exists()


def test_a_crash_leaves_its_traceback_in_a_file_that_the_message_names(run: Run, config: PipelineConfig) -> None:
    trouble["train[two]"] = failing(ValueError("no more memory\nand more lines"))

    result = run()

    first, second = message(result, "train[two]").splitlines()
    assert first == "train[two] failed: ValueError: no more memory"
    log = Path(second.removeprefix("The traceback is in "))
    assert log == local_files.crash_log(config, result.run, "train-two")
    content = log.read_text()
    assert content.startswith("Traceback (most recent call last)")
    assert "small_stages.py" in content
    assert content.rstrip().endswith("ValueError: no more memory\nand more lines")


def test_a_crash_publishes_nothing_of_its_node(run: Run, config: PipelineConfig) -> None:
    trouble["train[two]"] = failing(ValueError("after half of the output"))

    result = run()

    assert result.output("train[two]", "made") is None
    published = [path.parent for path in Path(config.root, "artifacts", "model").glob("*/manifest.json")]
    assert len(published) == len([node for node in result.nodes if node.status == "done"]) == 3


def test_a_resumable_stage_goes_on_from_the_files_that_it_finished(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setattr("dermrobust.pipeline.runner.build_graph", lambda config: [small_stages.resumable()])
    trouble["2"] = failing(ValueError("a crash"))
    interrupted = run_pipeline(config, Silent(), first="ingest", last="ingest", force=False)
    trouble.clear()
    executed.clear()

    result = run_pipeline(config, Silent(), first="ingest", last="ingest", force=False)

    assert (statuses(interrupted), statuses(result)) == ({"ingest": "failed"}, {"ingest": "done"})
    assert executed == ["ingest 2", f"ingest {TEXT}"]
    assert staged(config) == []


def test_a_resumable_stage_that_was_killed_publishes_the_same_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setattr("dermrobust.pipeline.runner.build_graph", lambda config: [small_stages.resumable()])
    killed = PipelineConfig(root=str(tmp_path / "killed"))
    child = subprocess.run([sys.executable, "-c", KILLED_IN_THE_SECOND_FILE, killed.root], timeout=600, check=False)
    assert child.returncode == -signal.SIGKILL
    assert {path.name.split("-")[0] for path in staged(killed)[0].iterdir()} == {"1", "2.partial"}
    executed.clear()

    artifacts = [
        run_pipeline(config, Silent(), first="ingest", last="ingest", force=False).output("ingest", "made")
        for config in (killed, PipelineConfig(root=str(tmp_path / "whole")))
    ]

    assert executed == ["ingest 2", f"ingest {TEXT}", "ingest 1", "ingest 2", f"ingest {TEXT}"]
    assert len({artifact.digest for artifact in artifacts if artifact is not None}) == 1
    assert len({tuple(sorted(storage.list_files(artifact.uri))) for artifact in artifacts if artifact}) == 1


KILLED_IN_A_STAGE = """
import os, signal, sys
from dermrobust.components.progress import Silent
from dermrobust.pipeline import runner
from dermrobust.pipeline.config import PipelineConfig
from tests.pipeline import small_stages

small_stages.trouble["preprocess"] = lambda: os.kill(os.getpid(), signal.SIGKILL)
runner.build_graph = lambda config: small_stages.graph()
runner.run_pipeline(PipelineConfig(root=sys.argv[1]), Silent(), first="ingest", last="export", force=False)
"""


def test_the_next_run_removes_what_a_killed_one_left_and_records_its_end(run: Run, config: PipelineConfig) -> None:
    child = subprocess.run([sys.executable, "-c", KILLED_IN_A_STAGE, config.root], timeout=600, check=False)
    assert child.returncode == -signal.SIGKILL
    assert len(staged(config)) == 1
    (before,) = recent_runs(config, 10)
    assert before["status"] == "killed"
    assert before["finished"] is None

    # Of another text, so that the killed stage itself does not run again.
    result = run(ingest=" changed")

    assert result.exit_code == 0
    assert staged(config) == []
    assert [found["status"] for found in Ledger(local_files.ledger_path(config)).runs(10)] == ["succeeded", "killed"]
    assert not list(Path(config.root, "locks").glob("run-*"))


def test_what_a_living_run_has_staged_stays(run: Run, config: PipelineConfig) -> None:
    seen: list[tuple[list[Path], str]] = []

    def look() -> None:
        trouble.clear()
        before = staged(config)
        with ThreadPoolExecutor(1) as other:
            other.submit(run_pipeline, config, Silent(), first="ingest", last="ingest", force=False).result()
        assert staged(config) == before
        seen.append((before, recent_runs(config, 10)[-1]["status"]))

    trouble["preprocess"] = look
    result = run()

    assert result.exit_code == 0, result.nodes
    ((during, status),) = seen
    assert len(during) == 1
    assert status == "running"


@pytest.mark.parametrize("node", [None, "train[two]"])
def test_nothing_stays_staged(node: str | None, run: Run, config: PipelineConfig) -> None:
    if node:
        trouble[node] = failing(ValueError("a crash"))

    run()
    run()

    assert staged(config) == []


def test_work_in_progress_outlives_a_crash_and_no_success(run: Run, config: PipelineConfig) -> None:
    trouble["train[two]"] = failing(ValueError("a crash"))
    run()
    assert len(list(Path(config.root, "work").iterdir())) == 1

    trouble.clear()
    run()

    assert list(Path(config.root, "work").iterdir()) == []


def test_from_without_earlier_results_says_what_to_run_first(run: Run) -> None:
    result = run(first="train", last="evaluate")

    assert executed == []
    assert result.exit_code == 2
    assert message(result, "ingest") == (
        "ingest: there is no result of this stage for the present config, data and code. "
        "Run it first: dermrobust run --to ingest"
    )
    assert {status for node, status in statuses(result).items() if node != "ingest"} == {"skipped"}


def test_from_goes_on_with_what_earlier_stages_left(run: Run) -> None:
    run(last="preprocess")
    assert executed == ["ingest", "preprocess"]

    result = run(first="train", last="train")

    assert sorted(executed) == ["train[one]", "train[two]"]
    assert statuses(result) == {
        "ingest": "cached",
        "preprocess": "cached",
        "train[one]": "done",
        "train[two]": "done",
    }


def test_from_after_a_change_does_not_take_results_of_other_parameters(run: Run) -> None:
    run(last="preprocess")

    result = run(first="train", last="train", preprocess=" at 64 pixels")

    assert executed == []
    assert result.exit_code == 2
    assert "dermrobust run --to preprocess" in message(result, "preprocess")


def test_force_does_the_selected_stages_again(run: Run) -> None:
    first = run()

    result = run(first="train", last="train", force=True)

    assert sorted(executed) == ["train[one]", "train[two]"]
    assert statuses(result)["preprocess"] == "cached"
    assert result.output("train[one]", "made") == first.output("train[one]", "made")


def test_an_exported_model_is_published_and_keeps_its_version(run: Run, config: PipelineConfig) -> None:
    published = [run(one=text).published for text in ("", " changed", "")]

    names = [Path(uri).name for uri in published if uri is not None]
    assert names == ["1", "2", "1"]
    assert Path(local_files.export_directory(config), "2", "saved_model.pb").exists()


def test_a_relative_root_counts_from_where_the_run_began(
    monkeypatch: pytest.MonkeyPatch, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    config = PipelineConfig(root="relative")
    monkeypatch.setattr("dermrobust.pipeline.runner.build_graph", lambda config: small_stages.graph())

    result = run_pipeline(config, Silent(), first="ingest", last="export", force=False)
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = run_pipeline(config, Silent(), first="ingest", last="export", force=False)

    assert config.root == str(tmp_path / "relative")
    assert set(statuses(again).values()) == {"cached"}
    assert again.published == result.published == str(tmp_path / "relative" / "export" / "1")
    recorded = Ledger(local_files.ledger_path(config)).run(result.run)
    assert recorded is not None
    assert all(Path(output["uri"]).is_dir() for output in recorded["outputs"])
    assert memory_storage.MemoryFileSystem.scheme() == "memory"
    assert PipelineConfig(root="memory://bucket/x").root == "memory://bucket/x"
    assert not list((tmp_path / "elsewhere").iterdir())


def test_without_an_export_nothing_is_published(run: Run, config: PipelineConfig) -> None:
    assert run(last="evaluate").published is None
    assert not Path(local_files.export_directory(config)).exists()


def test_progress_tells_what_became_of_every_node(run: Run) -> None:
    run(last="train")
    trouble["evaluate"] = failing(UserError("no"))
    progress = Listening()

    run(progress=progress, two=" changed")

    told = dict(line.split(": ", 1) for line in progress.lines)
    assert told.pop("train[two]").startswith("done in ")
    assert told.pop("run") == (
        "6 steps, ingest to export; unchanged ones are not repeated; their work took 1 s when it last ran "
        "here, without 2 that have not run"
    )
    assert told == {
        "ingest": "unchanged, not run again",
        "preprocess": "unchanged, not run again",
        "train[one]": "unchanged, not run again",
        "evaluate": "failed",
        "export": "skipped: needs evaluate",
    }


def test_the_ledger_has_every_run_with_what_became_of_its_nodes(run: Run, config: PipelineConfig) -> None:
    first = run()
    trouble["train[two]"] = failing(ValueError("no more memory"))
    second = run(two=" changed")

    runs = Ledger(local_files.ledger_path(config)).runs(10)

    assert [(row["id"], row["status"]) for row in runs] == [(second.run, "failed"), (first.run, "succeeded")]
    for row, result in zip(runs, (second, first), strict=True):
        assert row["started"] <= row["finished"]
        for found, expected in zip(row["nodes"], result.nodes, strict=True):
            assert (found["node"], found["status"]) == (expected.node, expected.status)
            assert found["message"] == expected.message
            assert found["seconds"] >= 0


def test_the_ledger_tells_from_what_a_result_was_made(run: Run, config: PipelineConfig) -> None:
    result = run()

    with sqlite3.connect(local_files.ledger_path(config)) as connection:
        query = "SELECT direction, name, type, fingerprint, uri FROM lineage WHERE run = ? AND node = 'evaluate'"
        rows = set(connection.execute(query, (result.run,)))

    one, two, made = (result.output(node, "made") for node in ("train[one]", "train[two]", "evaluate"))
    assert one is not None
    assert two is not None
    assert made is not None
    assert rows == {
        ("input", "from_0", "model", one.fingerprint, one.uri),
        ("input", "from_1", "model", two.fingerprint, two.uri),
        ("output", "made", "model", made.fingerprint, made.uri),
    }


def test_the_ledger_finds_the_latest_result_of_a_type(run: Run, config: PipelineConfig) -> None:
    run()
    latest = run(one=" changed")

    found = Ledger(local_files.ledger_path(config)).latest_output(ArtifactType.EXPORTED_MODEL.value)

    exported = latest.output("export", "exported_model")
    assert exported is not None
    assert found == (latest.run, exported.fingerprint)


def test_two_runs_at_once_on_one_root_both_succeed(run: Run, config: PipelineConfig) -> None:
    run(last="preprocess")
    executed.clear()
    listening = [Listening(), Listening()]

    def work_until_the_other_waits() -> None:
        deadline = time.monotonic() + 600
        while not any("another run is at the same work" in line for heard in listening for line in heard.lines):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    trouble["train[one]"] = work_until_the_other_waits

    with ThreadPoolExecutor(2) as pool:
        results = list(
            pool.map(lambda heard: run_pipeline(config, heard, first="ingest", last="export", force=False), listening)
        )

    assert [(result.exit_code, statuses(result)) for result in results if result.exit_code] == []
    assert sorted(executed) == ["evaluate", "export", "train[one]", "train[two]"]  # what both need is done once
    for node in ALL:
        assert results[0].output(node, "made") == results[1].output(node, "made")
    assert results[0].published == results[1].published
    assert staged(config) == []
    assert len(Ledger(local_files.ledger_path(config)).runs(10)) == 3


def test_small_stages_are_what_they_say() -> None:
    """The graph of these tests is one that the runner would get."""
    seen: set[str] = set()
    for node in small_stages.graph():
        assert {output.node for outputs in node.inputs.values() for output in outputs} <= seen
        seen.add(node.id)
    assert sorted(seen) == sorted(ALL)
