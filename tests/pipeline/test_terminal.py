"""What the terminal shows: commands in the order of use, rows that were asked for, rates, and the verdict."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dermrobust.components.artifacts import Artifact, ArtifactType
from dermrobust.pipeline.cli.console import Console
from dermrobust.pipeline.cli.main import main
from dermrobust.pipeline.cli.progress import pace, progress_on
from dermrobust.pipeline.cli.results import print_verdict, summary_table
from dermrobust.pipeline.outcomes import DONE, NodeResult, RunResult
from dermrobust.pipeline.report.wording import duration
from tests.pipeline.report.evaluations import DrawnRoot, metric_rows

WIDTH = 100


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one run that evaluated three models, whose last one the gate refuses."""
    root = tmp_path_factory.mktemp("terminal") / "output"
    DrawnRoot(root).run("run")
    return root


def shown(root: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["show", "metrics", "--set", f"root={root}", *options])


def rows(root: Path, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(shown(root, "--json", *options).stdout)
    return found


def test_help_lists_run_first_and_cuts_no_summary() -> None:
    lines = CliRunner().invoke(main, ["--help"], terminal_width=80).stdout.splitlines()
    commands = [line for line in lines[lines.index("Commands:") + 1 :] if line]

    assert commands[0].split()[0] == "run"
    assert len(commands) == len(main.commands)
    assert not [line for line in commands if line.endswith("...") or not line.endswith(".")]


def test_metrics_are_those_of_all_images_unless_slices_are_named(root: Path) -> None:
    assert {row["slice"] for row in rows(root)} == {"overall"}
    assert {row["slice"] for row in rows(root, "--slice", "dx=mel")} == {"dx=mel"}
    assert {row["slice"].split("=")[0] for row in rows(root, "--slice", "dx")} == {"dx"}
    assert {row["slice"] for row in rows(root, "--all")} > {"overall", "dx=mel"}


def test_metrics_are_filtered_by_every_column(root: Path) -> None:
    found = rows(root, "--model", "vanilla", "--attack", "pgd", "--epsilon", "2", "--metric", "accuracy")

    (row,) = found
    assert (row["model"], row["attack"], row["epsilon"], row["metric"]) == ("vanilla", "pgd", 2.0, "accuracy")
    assert {row["epsilon"] for row in rows(root, "--epsilon", "1", "--epsilon", "2")} == {1.0, 2.0}


@pytest.mark.parametrize(
    ("option", "value", "known"),
    [("--model", "nonesuch", "vanilla"), ("--epsilon", "3", "1, 2"), ("--slice", "dx=nonesuch", "dx=mel")],
)
def test_what_does_not_exist_is_answered_with_what_does(option: str, value: str, known: str, root: Path) -> None:
    result = shown(root, option, value)

    assert result.exit_code == 2
    assert f"{option} {value}" in result.stderr
    assert known in result.stderr


def test_a_row_below_the_constant_classifier_is_red_and_the_table_fits() -> None:
    console = Console(file=io.StringIO(), width=WIDTH, force_terminal=True, color_system="standard")
    drawn = [row for row in metric_rows() if row["slice"] == "overall"]
    floor = next(r["value"] for r in drawn if (r["model"], r["metric"]) == ("constant", "accuracy"))

    console.print(summary_table(drawn))

    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert "…" not in console.file.getvalue()
    below = [r for r in drawn if r["metric"] == "accuracy" and r["value"] < floor and r["attack"] is not None]
    assert len([line for line in lines if "\x1b[31m" in line]) == len(below) > 0
    assert not [line for line in lines if "constant" in line and "\x1b[31m" in line]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "1 s"), (45.2, "45 s"), (720.0, "12 min"), (12_000.0, "3 h 20 min")]
)
def test_durations_are_for_readers(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("rate", "text"), [(0.02, "50 s each"), (0.5, "2 s each"), (2.14, "2.1/s")])
def test_a_slow_pace_is_told_by_its_units(rate: float, text: str) -> None:
    assert pace(rate) == text


def test_lines_of_progress_tell_no_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("dermrobust.pipeline.cli.progress.time.monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), width=WIDTH)
    with progress_on(console).task("attack", 3, "shards") as task:
        for _ in range(3):
            now[0] += 400.0
            task.advance()

    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "attack: 1 of 3 shards (7 min each, 13 min left)",
        "attack: 2 of 3 shards (7 min each, 7 min left)",
        "attack: 3 of 3 shards (7 min each)",
    ]


def test_bars_of_nodes_side_by_side_share_the_terminal() -> None:
    stream = io.StringIO()
    progress = progress_on(Console(stream, force_terminal=True, width=120))

    def drawn() -> list[str]:
        start = stream.tell()
        # The bars are drawn again below a line.
        progress.line("a line")
        return [name for name in ("train[one]", "train[two]") if name in stream.getvalue()[start:]]

    with progress.task("train[one]", 2, "steps"):
        with progress.task("train[two]", 3, "steps"):
            assert drawn() == ["train[one]", "train[two]"]
        assert drawn() == ["train[one]"]
    assert drawn() == []
    with progress.task("train[two]", 1, "steps"):
        assert drawn() == ["train[two]"]


def test_a_run_ends_with_the_verdict(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = DrawnRoot(root)
    (place,) = root.glob("artifacts/evaluation/*")
    evaluation = Artifact(ArtifactType.EVALUATION, "", "", str(place))

    print_verdict(drawn.config, RunResult("run", (NodeResult("evaluate", DONE, outputs={"evaluation": evaluation}),)))
    print_verdict(drawn.config, RunResult("run", ()))

    told = " ".join(capsys.readouterr().out.split())
    assert told.startswith("Refused. Model ")
    assert told.count("must not be exported") == 1


@pytest.mark.parametrize("found", [True, False])
def test_open_shows_the_report_in_the_browser(found: bool, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def launch(address: str) -> int:
        opened.append(address)
        return 0 if found else 1

    monkeypatch.setattr("dermrobust.pipeline.cli.reporting.click.launch", launch)

    result = CliRunner().invoke(main, ["open", "--set", f"root={root}"])

    page = root / "report" / "report.html"
    assert opened == [page.resolve().as_uri()] == [result.stdout.strip()]
    assert page.is_file()
    assert ("no browser" in result.stderr) is not found


def test_stages_for_which_the_config_has_no_work_end_well(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    threshold = {"metric": "accuracy", "attack": "worst_case", "epsilon": 4, "min": 0.1}
    evaluate = {"epsilons": [4], "gate": {"candidate": "vanilla", "thresholds": [threshold]}}
    augment: dict[str, Any] = {"attacks": {}, "models": {}}
    config.write_text(json.dumps({"root": str(tmp_path / "output"), "augment": augment, "evaluate": evaluate}))

    result = CliRunner().invoke(main, ["augment", "--config", str(config), "--json"])

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["nodes"] == []
