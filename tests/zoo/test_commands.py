"""`dermrobust zoo list|show|verify`: what they print, what they refuse, and that they read at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dermrobust.pipeline.cli.main import main
from tests.pipeline.test_speed import SLOW_LIBRARIES
from tests.zoo.cards import MODEL_FILES, card, write_model


def command(zoo: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["zoo", *arguments, "--zoo", str(zoo)])


def test_the_list_has_every_model_with_its_figures(zoo: Path) -> None:
    told = command(zoo, "list").stdout

    assert [line.split()[0] for line in told.splitlines()[3:]] == ["ham10000/plain", "ham10000/robust"]
    figure = card().figure("worst_case", 4.0, "balanced_accuracy")
    assert figure is not None
    assert f"{figure.value:.3f} [{figure.lower:.2f}, {figure.upper:.2f}]" in told


def test_what_is_listed_is_machine_readable(zoo: Path) -> None:
    listed = json.loads(command(zoo, "list", "--json").stdout)

    assert [each["name"] for each in listed] == ["plain", "robust"]
    assert listed[0]["split"]["sha256"] == card().split.sha256


@pytest.mark.parametrize("name", ["robust", "ham10000/robust"])
def test_a_card_is_shown_by_its_short_and_its_full_name(name: str, zoo: Path) -> None:
    assert command(zoo, "show", name).stdout == (zoo / "ham10000" / "robust" / "card.md").read_text()
    shown = json.loads(command(zoo, "show", name, "--json").stdout)
    assert shown == json.loads((zoo / "ham10000/robust/card.json").read_bytes())


def test_a_model_is_also_named_by_its_folder(zoo: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    folder = str(zoo / "ham10000" / "robust")

    assert command(tmp_path / "empty", "show", folder).stdout == command(zoo, "show", "robust").stdout
    assert command(tmp_path / "empty", "verify", folder).exit_code == 0


def test_an_unknown_name_is_answered_with_those_that_exist(zoo: Path) -> None:
    result = command(zoo, "show", "nonesuch")

    assert result.exit_code == 2
    assert "no model 'nonesuch'" in result.stderr
    assert "ham10000/plain, ham10000/robust" in result.stderr


def test_a_name_of_two_tasks_must_say_which(zoo: Path) -> None:
    other = card().task.model_copy(update={"name": "other"})
    write_model(zoo, card(task=other))

    assert "several models" in command(zoo, "show", "robust").stderr
    assert command(zoo, "show", "other/robust").exit_code == 0


def test_whole_folders_are_verified(zoo: Path) -> None:
    assert command(zoo, "verify").exit_code == 0
    assert command(zoo, "verify", "robust").stdout == "ham10000/robust: 4 files are as the card says\n"


@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_changed_file_is_named_with_code_2(name: str, zoo: Path) -> None:
    path = zoo / "ham10000" / "robust" / name
    path.write_bytes(path.read_bytes() + b"\n")

    result = command(zoo, "verify")

    assert result.exit_code == 2
    assert f"'{path}'" in result.stderr
    assert result.stdout == "ham10000/plain: 4 files are as the card says\n"


def test_a_changed_figure_is_noticed(zoo: Path) -> None:
    path = zoo / "ham10000" / "robust" / "card.json"
    path.write_text(path.read_text().replace('"value": 0.', '"value": 0.9', 1))

    assert f"'{path}' was changed" in command(zoo, "verify", "robust").stderr


@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_missing_file_is_named(name: str, zoo: Path) -> None:
    path = zoo / "ham10000" / "robust" / name
    path.unlink()

    result = command(zoo, "verify")

    assert result.exit_code == 2
    assert f"'{path}'" in result.stderr


def test_a_file_that_is_not_on_the_card_is_named(zoo: Path) -> None:
    path = zoo / "ham10000" / "robust" / "more.bin"
    path.write_bytes(b"")

    assert f"'{path}' is not on the card" in command(zoo, "verify").stderr


def test_a_folder_of_another_name_is_noticed(zoo: Path) -> None:
    (zoo / "ham10000" / "robust").rename(zoo / "ham10000" / "renamed")

    assert "is the card of ham10000/robust" in command(zoo, "verify", "renamed").stderr


@pytest.mark.parametrize("arguments", [("list",), ("verify",)])
def test_a_zoo_may_be_empty(arguments: tuple[str, ...], tmp_path: Path) -> None:
    result = command(tmp_path, *arguments)

    assert result.exit_code == 0
    assert "has no models yet" in result.stdout
    assert "has no models yet" in command(tmp_path, "show", "robust").stderr


def test_a_card_that_is_none_is_one_message(zoo: Path) -> None:
    (zoo / "ham10000" / "robust" / "card.json").write_text('{"name": "robust"}')

    result = command(zoo, "list")

    assert result.exit_code == 2
    assert "is not a card of the zoo: task: Field required" in result.stderr


@pytest.mark.parametrize("arguments", [("list",), ("show", "robust"), ("verify",)])
def test_reading_imports_no_slow_library(arguments: tuple[str, ...], zoo: Path) -> None:
    program = (
        "import sys; from dermrobust.pipeline.cli.main import main;"
        f"main({['zoo', *arguments, '--zoo', str(zoo)]}, standalone_mode=False); print('LOADED', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    printed, _, loaded = done.stdout.rpartition("LOADED")
    assert "ham10000/robust" in printed
    assert {*loaded.split()} & SLOW_LIBRARIES == set()
