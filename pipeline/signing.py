"""Signatures of exported models: who signed off which files, with which report."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.export.files import CHECKSUMS, SIGNATURE
from dermrobust.components.export.publish import version_problems

_MAKE_KEY = (
    "make one with: openssl genpkey -algorithm ed25519 -out key.pem && openssl pkey -in key.pem -pubout -out public.pem"
)


class Statement(BaseModel):
    """What a signer states.

    Attributes:
        signer: name of the signer.
        signed: time in UTC, ISO 8601.
        checksums: SHA-256 of the version's `SHA256SUMS`, and so of all its files.
        report: SHA-256 of the report that the signer has read.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    signer: str = Field(min_length=1, max_length=200)
    signed: str
    checksums: str
    report: str

    def content(self) -> bytes:
        """Return the bytes that are signed."""
        return json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":")).encode()


class Signed(BaseModel):
    """Content of the signature's file.

    Attributes:
        statement: what is signed.
        public_key: Ed25519 public key, 32 bytes in base64.
        signature: Ed25519 signature of the statement, 64 bytes in base64.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    statement: Statement
    public_key: str
    signature: str


def sign(version: str, report: Path, key: Path, signer: str, password: bytes | None = None) -> Signed:
    """Sign a version of an exported model together with a report, and write the signature into the version.

    Args:
        version: folder or URI of the version.
        report: the report that the signer has read.
        key: Ed25519 private key in PEM format.
        signer: name of the signer.
        password: of the key, if it is encrypted.

    Raises:
        UserError: the version was changed since its export, or a file cannot be read.
    """
    if (problem := next(version_problems(version), None)) is not None:
        raise UserError(f"{problem}. It is not signed")
    private = _private_key(key, password)
    statement = Statement(
        signer=signer,
        signed=datetime.now(UTC).isoformat(timespec="seconds"),
        checksums=_sha256(storage.read_bytes(storage.join(version, CHECKSUMS))),
        report=_sha256(_content(report)),
    )
    public = private.public_key().public_bytes_raw()
    signed = Signed(
        statement=statement,
        public_key=base64.b64encode(public).decode(),
        signature=base64.b64encode(private.sign(statement.content())).decode(),
    )
    storage.write_bytes(storage.join(version, SIGNATURE), signed.model_dump_json(indent=1).encode())
    return signed


def is_encrypted(key: Path) -> bool:
    """Return whether a private key needs a password."""
    return b"ENCRYPTED" in _content(key)


def signature_of(version: str, public_key: Path | None = None) -> Signed | None:
    """Return the signature of a version; None if it has none.

    Args:
        version: folder or URI of the version, whose files are as `SHA256SUMS` says.
        public_key: Ed25519 public key in PEM format that must have signed; None: any.

    Raises:
        UserError: the signature is not valid, of other files, or by another key.
    """
    place = storage.join(version, SIGNATURE)
    if not storage.exists(place):
        return None
    try:
        signed = Signed.model_validate_json(storage.read_bytes(place))
        public = base64.b64decode(signed.public_key, validate=True)
        key = Ed25519PublicKey.from_public_bytes(public)
        key.verify(base64.b64decode(signed.signature, validate=True), signed.statement.content())
    except (ValidationError, binascii.Error, ValueError, InvalidSignature) as error:
        raise UserError(f"'{place}' is no valid signature") from error
    if signed.statement.checksums != _sha256(storage.read_bytes(storage.join(version, CHECKSUMS))):
        raise UserError(f"'{place}' is the signature of other files")
    if public_key is not None and public != _public_key(public_key):
        raise UserError(f"'{version}' is signed by '{signed.statement.signer}', but not with the key '{public_key}'")
    return signed


def key_name(signed: Signed) -> str:
    """Return a name of the key for readers: the first 16 digits of its SHA-256."""
    return _sha256(base64.b64decode(signed.public_key))[:16]


def _private_key(path: Path, password: bytes | None) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(_content(path), password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UserError(f"'{path}' is no private key in PEM format, or its password is wrong; {_MAKE_KEY}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(f"'{path}' is no Ed25519 key; {_MAKE_KEY}")
    return key


def _public_key(path: Path) -> bytes:
    try:
        key = serialization.load_pem_public_key(_content(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UserError(f"'{path}' is no public key in PEM format; {_MAKE_KEY}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise UserError(f"'{path}' is no Ed25519 key; {_MAKE_KEY}")
    return key.public_bytes_raw()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror}") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
