"""Commands that verify files and sign exported models."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dermrobust.pipeline.cli.options import config_from, config_option, json_option, set_option, user_errors
from dermrobust.pipeline.cli.terminal import echo, echo_json


@click.command(short_help="Compare files with their recorded digests.")
@click.argument("place", required=False)
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Public key in PEM format, with which a version of an exported model must be signed.",
)
@config_option
@set_option
@json_option
@user_errors
def verify(
    place: str | None, key: Path | None, config_path: Path | None, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Compare files with the digests that were recorded when they were written; exit code 1 if any differs.

    PLACE is the folder of an artifact or of a version of an exported model; default: all artifacts of the root, and all
    versions in its export directory. Signatures are verified as well; without --key one by any key will do.
    """
    from dermrobust.pipeline.verification import verify_place, verify_root

    config = config_from(config_path, overrides)
    found = [verify_place(place, key)] if place else list(verify_root(config, key))
    bad = [verified for verified in found if verified.problems]
    if as_json:
        echo_json([one.__dict__ for one in found])
    else:
        for problem in (problem for verified in bad for problem in verified.problems):
            echo(problem)
        for verified in found:
            if verified.signature:
                echo(f"'{verified.place}' is {verified.signature}")
        echo(f"{len(found) - len(bad)} of {len(found)} as they were written")
    sys.exit(1 if bad else 0)


@click.command(short_help="Sign an exported model with its report.")
@click.argument("version")
@click.option(
    "--key",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Ed25519 private key in PEM format: openssl genpkey -algorithm ed25519 -out key.pem",
)
@click.option("--signer", required=True, help="Your name.")
@click.option(
    "--report",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The report that you have read; the signature holds its SHA-256.",
)
@user_errors
def sign(version: str, key: Path, signer: str, report: Path) -> None:
    """Sign a version of an exported model: its files as they are now, and the report that you have read.

    VERSION is its folder, such as output/export/1. Whoever has your public key verifies it with: dermrobust verify
    VERSION --key public.pem
    """
    from dermrobust.pipeline import signing

    password = None
    if signing.is_encrypted(key):
        password = click.prompt("Password of the key", hide_input=True, err=True).encode()
    signed = signing.sign(version, report, key, signer, password)
    echo(f"'{version}' is signed by '{signer}' with key {signing.key_name(signed)}")
