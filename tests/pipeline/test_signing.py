"""Signatures of exported models: valid for these files, this report and this key alone."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from dermrobust.components.export.files import CHECKSUMS, SIGNATURE
from dermrobust.components.progress import Silent
from dermrobust.pipeline.cli.main import main
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.runner import run_pipeline
from tests.pipeline.small_stages import graph

PASSWORD = b"correct horse"
PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


def write_keys(folder: Path, name: str, encryption: serialization.KeySerializationEncryption | None = None) -> None:
    """Write `NAME.pem` and `NAME_public.pem`."""
    key = ed25519.Ed25519PrivateKey.generate()
    (folder / f"{name}.pem").write_bytes(key.private_bytes(PEM, PKCS8, encryption or serialization.NoEncryption()))
    public = key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}_public.pem").write_bytes(public)


@pytest.fixture
def version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A version of an exported model; the current folder holds keys and a report."""
    monkeypatch.setattr("dermrobust.pipeline.runner.build_graph", lambda config: graph())
    config = PipelineConfig(root=str(tmp_path / "output"))
    published = run_pipeline(config, Silent(), first="ingest", last="export", force=False).published
    assert published is not None
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "other"):
        write_keys(tmp_path, name)
    (tmp_path / "report.html").write_text("<p>It holds.</p>")
    return Path(published)


def sign(version: Path, key: str = "mine.pem", **options: Any) -> Result:
    arguments = ["sign", str(version), "--key", key, "--signer", "A. Physician", "--report", "report.html"]
    return CliRunner().invoke(main, arguments, **options)


def verify(version: Path, key: str | None = "mine_public.pem") -> Result:
    return CliRunner().invoke(main, ["verify", str(version), *(() if key is None else ("--key", key))])


def test_a_signature_tells_who_signed_what_with_which_report(version: Path) -> None:
    assert sign(version).exit_code == 0

    for key in ("mine_public.pem", None):
        found = verify(version, key)
        assert found.exit_code == 0, found.output
        digest = hashlib.sha256(Path("report.html").read_bytes()).hexdigest()
        assert "signed by 'A. Physician' at " in found.stdout
        assert f"report {digest}" in found.stdout


def test_a_key_with_a_password_is_asked_for_it(version: Path, tmp_path: Path) -> None:
    write_keys(tmp_path, "locked", serialization.BestAvailableEncryption(PASSWORD))

    assert sign(version, "locked.pem", input=f"{PASSWORD.decode()}\n").exit_code == 0
    assert verify(version, "locked_public.pem").exit_code == 0
    wrong = sign(version, "locked.pem", input="wrong\n")
    assert wrong.exit_code == 2
    assert "its password is wrong" in wrong.stderr


def edited(version: Path) -> None:
    path = version / SIGNATURE
    content = json.loads(path.read_text())
    content["statement"]["signer"] = "Somebody else"
    path.write_text(json.dumps(content))


def cut(version: Path) -> None:
    path = version / SIGNATURE
    path.write_bytes(path.read_bytes()[:-20])


def other_files(version: Path) -> None:
    """A file and the sums are changed together."""
    (version / "saved_model.pb").write_bytes(b"another model")
    digest = hashlib.sha256(b"another model").hexdigest()
    sums = (version / CHECKSUMS).read_text().splitlines()
    changed = [f"{digest}  saved_model.pb" if line.endswith("  saved_model.pb") else line for line in sums]
    (version / CHECKSUMS).write_text("\n".join(changed) + "\n")


def changed_file(version: Path) -> None:
    (version / "saved_model.pb").write_bytes(b"another model")


def unsigned(version: Path) -> None:
    (version / SIGNATURE).unlink()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (edited, "is no valid signature"),
        (cut, "is no valid signature"),
        (other_files, "is the signature of other files"),
        (changed_file, "was changed"),
        (unsigned, "is not signed"),
    ],
)
def test_what_was_changed_after_the_signature_is_found(spoil: Callable[[Path], None], told: str, version: Path) -> None:
    sign(version)
    spoil(version)

    found = verify(version)

    assert found.exit_code == 1
    assert told in found.stdout


def test_another_key_is_not_enough(version: Path) -> None:
    sign(version, "other.pem")

    found = verify(version)

    assert found.exit_code == 1
    assert "signed by 'A. Physician', but not with the key 'mine_public.pem'" in found.stdout


def test_a_signature_cannot_be_moved_to_another_model(version: Path, tmp_path: Path) -> None:
    sign(version)
    shutil.copytree(version, tmp_path / "copy")
    other_files(tmp_path / "copy")

    assert "of other files" in verify(tmp_path / "copy").stdout


def test_a_version_that_was_changed_is_not_signed(version: Path) -> None:
    changed_file(version)

    refused = sign(version)

    assert refused.exit_code == 2
    assert "It is not signed" in refused.stderr
    assert not (version / SIGNATURE).exists()


def test_only_ed25519_keys_sign(version: Path, tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    (tmp_path / "rsa.pem").write_bytes(key.private_bytes(PEM, PKCS8, serialization.NoEncryption()))

    for name, told in (("rsa.pem", "is no Ed25519 key"), ("report.html", "no private key"), ("none.pem", "cannot be")):
        refused = sign(version, name)
        assert refused.exit_code == 2
        assert told in refused.stderr
