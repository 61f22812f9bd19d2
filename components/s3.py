"""What Beam 2.77 lacks for files on S3."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

_clients: dict[str, Any] = {}
"""Clients of boto3, which threads may share, by the options and variables that they were made with."""


def keep_clients() -> None:
    """Let Beam make one client instead of several for every file; each reads the definition of the service again."""
    from apache_beam.io.aws.clients.s3 import boto3_client
    from apache_beam.options.pipeline_options import PipelineOptions, S3Options

    if getattr(boto3_client.Client, "keeps_clients", False):
        return

    class Client(boto3_client.Client):
        keeps_clients = True
        client: Any

        def __init__(self, options: Any) -> None:
            chosen = options.view_as(S3Options).get_all_options() if isinstance(options, PipelineOptions) else options
            # Without options boto3 reads credentials, region and endpoint from these variables.
            variables = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
            key = repr((sorted(chosen.items()), sorted(variables.items())))
            if key not in _clients:
                super().__init__(options)
                _clients[key] = self.client
            self.client = _clients[key]
            # Each instance reads one file.
            self._download_request: Any = None
            self._download_stream: Any = None
            self._download_pos = 0

    boto3_client.Client = Client


def put(source: BinaryIO, uri: str, options: Any) -> None:
    """Write what a file holds; a failed upload leaves no file.

    Beam completes an upload when its writer is closed, even after an error, and cannot write an empty file.

    Args:
        source: file that is read to its end.
        uri: where it is written.
        options: options of Beam's pipelines, which may hold credentials.
    """
    from apache_beam.io.aws.s3io import S3IO, parse_s3_path

    bucket, key = parse_s3_path(uri)
    S3IO(options=options).client.client.upload_fileobj(source, bucket, key)
