"""Commands on a root on an object store: what is kept here, what is not known here, and a store that refuses."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dermrobust.components import storage
from dermrobust.pipeline.cli.main import main
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import ledger_path
from tests.memory_storage import FILES, MemoryFileSystem

ROOT = "memory://root/one"


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    FILES.clear()


def test_each_remote_root_has_a_ledger_of_its_own() -> None:
    one, same, other = (ledger_path(PipelineConfig(root=root)) for root in (ROOT, f"{ROOT}/", "memory://root/other"))

    assert one == same != other
    assert one.parent.parent == Path(".dermrobust")


def test_garbage_of_a_remote_root_is_deleted_only_if_nobody_else_uses_it() -> None:
    Ledger(ledger_path(PipelineConfig(root=ROOT)))
    FILES[f"{ROOT}/work/elsewhere/unfinished"] = b"another machine's"

    refused = CliRunner().invoke(main, ["gc", "--delete", "--set", f"root={ROOT}"])

    assert refused.exit_code == 2, refused.output
    assert "say so with --only-user" in refused.stderr
    assert FILES
    confirmed = CliRunner().invoke(main, ["gc", "--delete", "--only-user", "--set", f"root={ROOT}"])
    assert confirmed.exit_code == 0, confirmed.output
    assert not FILES


@pytest.mark.parametrize("command", [("run",), ("runs",), ("verify",), ("config", "validate")])
@pytest.mark.parametrize("root", ["foo://bucket/x", "file:///tmp/x"])
def test_a_root_of_no_known_file_system_is_refused_with_those_that_are(command: tuple[str, ...], root: str) -> None:
    result = CliRunner().invoke(main, [*command, "--set", f"root={root}"])

    assert result.exit_code == 2, result.output
    told = " ".join(result.stderr.split())
    assert f"root: '{root}': there is no file system for {root.partition(':')[0]}:// here" in told
    assert "Give a local path without a scheme, or one of " in told
    assert {"memory://", "s3://"} <= set(told.partition(" one of ")[2].replace(";", ",").split(", "))
    assert not list(Path().iterdir())


def test_a_store_whose_package_is_missing_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryFileSystem, "scheme", classmethod(lambda cls: "elsewhere"))
    monkeypatch.setattr(storage, "_BROUGHT", ("memory",))

    result = CliRunner().invoke(main, ["run", "--set", f"root={ROOT}"])

    assert result.exit_code == 2, result.output
    assert f"root: '{ROOT}': there is no file system for memory:// here" in result.stderr


def test_a_store_that_refuses_is_told_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    Ledger(ledger_path(PipelineConfig(root=ROOT)))

    def refuse(self: Any, path: str) -> Any:
        raise PermissionError("InvalidAccessKeyId")

    monkeypatch.setattr(MemoryFileSystem, "_list", refuse)

    result = CliRunner().invoke(main, ["gc", "--set", f"root={ROOT}"])

    assert result.exit_code == 2, result.output
    assert "the object store cannot be used: " in result.stderr
    assert "InvalidAccessKeyId" in result.stderr
    assert "the credentials, and the packages of the store: pip install" in result.stderr
