"""Files that were changed after they were published are found before they are used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dermrobust.components import integrity
from dermrobust.components.artifacts import MANIFEST, Artifact
from dermrobust.components.export.files import CHECKSUMS
from dermrobust.pipeline.cli.main import main
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.outcomes import RunResult
from tests.pipeline.conftest import Listening, Run
from tests.pipeline.small_stages import TEXT, executed


def made(result: RunResult, node: str) -> Artifact:
    artifact = result.output(node, "made")
    assert artifact is not None
    return artifact


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def change(path: Path) -> None:
    """Change a byte; the size stays."""
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_a_result_with_a_file_that_is_cut_or_missing_is_made_again(
    damage: Callable[[Path], object], run: Run, config: PipelineConfig
) -> None:
    before = run()
    damage(Path(made(before, "preprocess").path(TEXT)))
    told = Listening()

    after = run(progress=told)

    assert after.exit_code == 0
    assert executed == ["preprocess"]
    assert made(after, "preprocess") == made(before, "preprocess")
    (line,) = [line for line in told.lines if "made again" in line]
    assert line.startswith(f"preprocess: made again, since '{made(before, 'preprocess').path(TEXT)}'")
    (kept,) = Path(config.root, "damaged").iterdir()
    assert str(kept) in line


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"type": "model"}'])
def test_a_manifest_that_cannot_be_read_makes_no_artifact(content: bytes, run: Run) -> None:
    before = run()
    Path(made(before, "train[one]").path(MANIFEST)).write_bytes(content)

    after = run()

    assert after.exit_code == 0
    assert executed == ["train[one]"]
    assert made(after, "train[one]") == made(before, "train[one]")


def test_a_changed_byte_is_found_before_the_file_is_used(run: Run, config: PipelineConfig) -> None:
    before = run()
    path = Path(made(before, "preprocess").path(TEXT))
    change(path)

    refused = run(one=" changed")

    assert refused.exit_code == 2
    assert "train[one]" not in executed
    (failed,) = [node for node in refused.nodes if node.status == "failed"]
    assert f"'{path}' was changed: its SHA-256" in failed.message
    assert "the same command makes it again" in failed.message

    again = run(one=" changed")

    assert again.exit_code == 0
    assert executed[:2] == ["preprocess", "train[one]"]
    assert made(again, "preprocess") == made(before, "preprocess")


def test_a_manifest_that_was_edited_with_its_files_is_found(run: Run) -> None:
    before = run()
    path = Path(made(before, "preprocess").path(MANIFEST))
    manifest = json.loads(path.read_text())
    manifest["files"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(manifest))

    after = run()

    assert after.exit_code == 0
    assert executed == ["preprocess"]


def test_a_later_stage_does_not_go_on_from_a_damaged_result(run: Run) -> None:
    before = run()
    cut(Path(made(before, "preprocess").path(TEXT)))

    result = run(first="train", one=" changed")

    assert result.exit_code == 2
    (failed,) = [node for node in result.nodes if node.status == "failed"]
    assert failed.message.startswith("preprocess: its result is damaged: ")
    assert failed.message.endswith("Run it first: dermrobust run --to preprocess")


def test_an_exported_version_that_was_changed_is_not_called_exported(run: Run, config: PipelineConfig) -> None:
    first = run()
    assert first.published is not None
    change(Path(first.published, "saved_model.pb"))

    second = run()

    assert second.published == str(Path(config.root, "export", "2"))
    exported = Path(made(second, "export").path("saved_model", "saved_model.pb"))
    assert Path(second.published, "saved_model.pb").read_bytes() == exported.read_bytes()
    assert run().published == second.published


@pytest.fixture
def verify(config: PipelineConfig) -> Callable[..., Result]:
    def verify(*arguments: str) -> Result:
        integrity._intact.clear()
        return CliRunner().invoke(main, ["verify", *arguments, "--set", f"root={config.root}"])

    return verify


def test_verify_names_every_file_that_differs(run: Run, verify: Callable[..., Result]) -> None:
    result = run()
    assert result.published is not None
    sound = verify()
    assert (sound.exit_code, sound.stdout) == (0, "8 of 8 as they were written\n")
    changed = [Path(made(result, "train[two]").path(TEXT)), Path(result.published, "saved_model.pb")]
    for path in changed:
        change(path)

    found = verify()

    assert found.exit_code == 1
    assert [str(path) in found.stdout for path in changed] == [True, True]
    assert found.stdout.endswith("6 of 8 as they were written\n")
    assert verify(made(result, "train[one]").uri).exit_code == 0
    assert verify(made(result, "train[two]").uri).exit_code == 1
    listed = json.loads(verify(result.published, "--json").stdout)
    assert [len(one["problems"]) for one in listed] == [1]
    Path(result.published, CHECKSUMS).unlink()
    assert "it cannot be known" in verify().stdout


def test_a_list_of_digests_that_was_cut_vouches_for_nothing(run: Run, verify: Callable[..., Result]) -> None:
    published = run().published
    assert published is not None
    Path(published, CHECKSUMS).write_bytes(b"")

    found = verify(published)

    assert found.exit_code == 1
    assert "saved_model.pb' does not stand in" in found.stdout


def test_verify_refuses_what_is_neither(verify: Callable[..., Result], tmp_path: Path) -> None:
    refused = verify(str(tmp_path))

    assert refused.exit_code == 2
    assert "neither an artifact" in refused.stderr
