"""Text of others on the terminal: names from ledgers, folders, evaluations and cards cannot command it."""

from __future__ import annotations

import ast
import io
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from dermrobust.attacks.errors import UserError
from dermrobust.components.artifacts import ArtifactType
from dermrobust.pipeline.cli.console import Console
from dermrobust.pipeline.cli.main import main
from dermrobust.pipeline.cli.progress import TerminalProgress
from dermrobust.pipeline.cli.terminal import printable
from tests.pipeline.report import evaluations
from tests.pipeline.report.evaluations import DrawnRoot
from tests.zoo.cards import card, write_model

PROJECT = Path(__file__).parents[2]
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
TITLE, CLEAR, TURN = "\x1b]0;owned\x07", "\x9b2J", "\u202e"
HOSTILE = f"{TITLE}{CLEAR}{TURN}[red]x\n2 of 2 as they were written"
SHOWN = r"\x1b]0;owned\x07\x9b2J\u202e[red]x"


def hidden(text: str, allowed: str = "\t") -> list[str]:
    return [each for each in text if unicodedata.category(each) in HIDDEN and each not in allowed]


def strings(value: Any) -> Iterator[str]:
    """All texts in JSON values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (each for item in value for each in strings(item))
    elif isinstance(value, dict):
        yield from (each for item in value.items() for part in item for each in strings(part))


@settings(max_examples=50)
@given(st.text())
def test_nothing_is_left_that_a_terminal_obeys_or_hides(text: str) -> None:
    line, lines = printable(text), printable(text, lines=True)

    assert not hidden(line)
    assert lines.split("\n") == [printable(each) for each in text.split("\n")]
    assert printable(line) == line
    line.encode()
    if not hidden(text):
        assert line == text


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with two runs whose models, nodes and files have hostile names, and a folder that no run reaches."""
    root = tmp_path_factory.mktemp("hostile") / "output"
    drawn = DrawnRoot(root)
    with pytest.MonkeyPatch.context() as patch:
        for known in (evaluations._HARDNESS, evaluations._CLEAN):
            patch.setitem(known, HOSTILE, known["fgsm"])
        for run in ("one", "two"):
            drawn.run(run, ("vanilla", HOSTILE, "trades"))
            drawn.node(run, HOSTILE, "train", status="failed")
    (root / "staging" / HOSTILE).mkdir(parents=True)
    damaged = drawn.publish(ArtifactType.CERTIFICATES, "damaged", "certify", {HOSTILE: "as it was"})
    Path(damaged.path(HOSTILE)).write_text("as it is")
    return root


def shown(root: Path, *arguments: str) -> str:
    """What a command says, in which nothing may command the terminal."""
    result = CliRunner().invoke(main, [*arguments, "--set", f"root={root}"], env={"COLUMNS": "300"})

    assert isinstance(result.exception, SystemExit | None), result.exception
    assert not hidden(result.output, allowed="\t\n")
    return result.output


COMMANDS = [("runs",), ("show", "metrics"), ("compare", "one", "two"), ("verify",), ("gc",)]


@pytest.mark.parametrize("arguments", [*COMMANDS, ("show", "metrics", "--model", "nonesuch")], ids=" ".join)
def test_hostile_names_are_shown_harmlessly(arguments: tuple[str, ...], root: Path) -> None:
    told = shown(root, *arguments)

    assert SHOWN in told
    assert not [line for line in told.splitlines() if line.startswith("2 of 2 as they were written")]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_json_escapes_them_and_keeps_them(arguments: tuple[str, ...], root: Path) -> None:
    told = shown(root, *arguments, "--json")

    assert told.isascii()
    assert [each for each in strings(json.loads(told)) if HOSTILE in each]


@pytest.mark.parametrize("arguments", [("list",), ("show", "robust")], ids=" ".join)
def test_so_are_those_of_the_card_of_a_zoo(arguments: tuple[str, ...], tmp_path: Path) -> None:
    hostile = card().training.model_copy(update={"threat": HOSTILE})
    write_model(tmp_path, card(training=hostile))

    plain, as_json = (
        CliRunner().invoke(main, ["zoo", *arguments, "--zoo", str(tmp_path), *options]) for options in ((), ("--json",))
    )

    assert (plain.exit_code, as_json.exit_code) == (0, 0), plain.output
    assert not hidden(plain.stdout, allowed="\t\n")
    assert r"\x1b" in plain.stdout
    assert as_json.stdout.isascii()
    assert HOSTILE in list(strings(json.loads(as_json.stdout)))


def test_so_are_those_in_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise UserError(f"'{HOSTILE}' is no model")

    monkeypatch.setattr("dermrobust.pipeline.history.recent_runs", fail)

    assert f"error: '{SHOWN}" in shown(tmp_path, "runs")


def test_so_are_those_in_bars_and_lines_of_progress() -> None:
    stream = io.StringIO()
    progress = TerminalProgress(Console(stream, force_terminal=True, width=300))
    with progress.task(f"train[{HOSTILE}]", 2, "steps") as task:
        task.note(HOSTILE)
        progress.line(HOSTILE)
        task.advance(2)

    drawn = stream.getvalue()
    assert f"train[{SHOWN}" in drawn
    assert drawn.count(SHOWN) >= 3
    # The escapes of the bars themselves are others.
    assert not [each for each in (TITLE, CLEAR, TURN) if each in drawn]


def test_there_is_one_way_to_the_terminal() -> None:
    doors = {Path("pipeline/cli/terminal.py"), Path("pipeline/cli/console.py")}
    # Programs of their own: what they print is read by their parent, or is their own text.
    programs = {Path("components/export/canary.py"), Path("components/runners/worker_pool.py")}
    calls = {"print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write"}
    imports = {"rich.console.Console", "rich.print", "rich.get_console"}
    offences = []
    for layer in ("attacks", "models", "components", "pipeline"):
        for path in sorted((PROJECT / layer).rglob("*.py")):
            place, text = path.relative_to(PROJECT), path.read_text(encoding="utf-8")
            # Most files need not be parsed.
            suspect = re.search(r"\bprint\(|click\.s?echo|import .*Console|\brich import|std(out|err)\.write", text)
            for node in ast.walk(ast.parse(text if suspect else "")):
                called = isinstance(node, ast.Call) and ast.unparse(node.func) in calls
                imported = isinstance(node, ast.ImportFrom) and imports & {
                    f"{node.module}.{alias.name}" for alias in node.names
                }
                if (called or imported) and place not in doors | programs:
                    offences.append(f"{place}:{getattr(node, 'lineno', 0)}")

    assert not offences
