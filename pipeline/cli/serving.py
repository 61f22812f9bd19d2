"""Command that serves an exported model."""

from __future__ import annotations

import socket
from pathlib import Path

import click

from dermrobust.pipeline.cli.options import config_from, config_option, set_option, user_errors
from dermrobust.pipeline.cli.terminal import echo


@click.command(short_help="Serve the exported model over REST, to try it out.")
@config_option
@set_option
@click.option(
    "--export",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of exported versions; default: the config's.",
)
@click.option("--name", default="dermrobust", show_default=True, help="Name of the model in the address.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8501, show_default=True, help="Port; 0: a free one.")
@click.option("--max-bytes", type=click.IntRange(1), default=32_000_000, show_default=True, help="Size of a request.")
@click.option("--max-images", type=click.IntRange(1), default=64, show_default=True, help="Images in a request.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1),
    default=30.0,
    show_default=True,
    help="Seconds for a request, and for its answer.",
)
@click.option("--max-requests", type=click.IntRange(1), default=16, show_default=True, help="Requests at once.")
@user_errors
def serve(
    config_path: Path | None,
    overrides: tuple[str, ...],
    directory: Path | None,
    name: str,
    host: str,
    port: int,
    max_bytes: int,
    max_images: int,
    timeout: float,
    max_requests: int,
) -> None:
    """Serve the newest exported model with the REST interface of TensorFlow Serving.

    For trying a model out: it has no encryption, no authentication and no batching across requests. A research tool,
    not a medical device.
    """
    from dermrobust.attacks.errors import UserError
    from dermrobust.pipeline.local_files import export_directory

    try:
        from dermrobust.pipeline.serving.app import Limits
        from dermrobust.pipeline.serving.server import new_server
    except ModuleNotFoundError as error:
        raise UserError(f"'{error.name}' is missing; install it with: pip install 'dermrobust[serve]'") from None
    from dermrobust.pipeline.serving.served import ServedModel

    place = directory or Path(export_directory(config_from(config_path, overrides)))
    model = ServedModel(place)
    with _listening(host, port) as listener:
        address = f"http://{host}:{listener.getsockname()[1]}/v1/models/{name}"
        echo(f"version {model.version} of '{place}' at {address}; stop with Ctrl-C", err=True)
        limits = Limits(bytes=max_bytes, instances=max_images, seconds=timeout, at_once=max_requests)
        new_server(model, name, limits).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        UserError: the address is not of this machine, or the port is taken.
    """
    from dermrobust.attacks.errors import UserError

    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise UserError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port or --host") from None
