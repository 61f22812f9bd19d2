"""What Beam 2.77 lacks for files on S3."""

from __future__ import annotations

from typing import Any

_clients: dict[str, Any] = {}
"""Clients of boto3, which threads may share, by the options that they were made with."""


def keep_clients() -> None:
    """Let Beam make one client instead of one for each call, which reads the definition of the service again.

    That takes 60 ms of processor time, several times for every file.
    """
    from apache_beam.io.aws.clients.s3 import boto3_client
    from apache_beam.options.pipeline_options import PipelineOptions, S3Options

    if getattr(boto3_client.Client, "keeps_clients", False):
        return

    class Client(boto3_client.Client):
        keeps_clients = True
        client: Any

        def __init__(self, options: Any) -> None:
            chosen = options.view_as(S3Options).get_all_options() if isinstance(options, PipelineOptions) else options
            key = repr(sorted(chosen.items()))
            if key not in _clients:
                super().__init__(options)
                _clients[key] = self.client
            self.client = _clients[key]
            # Each instance reads one file.
            self._download_request: Any = None
            self._download_stream: Any = None
            self._download_pos = 0

    boto3_client.Client = Client


def put_nothing(uri: str) -> None:
    """Write an empty file: Beam would complete an upload of no parts, which S3 refuses."""
    from apache_beam.io.aws.s3io import S3IO, parse_s3_path
    from apache_beam.options.pipeline_options import PipelineOptions

    bucket, key = parse_s3_path(uri)
    S3IO(options=PipelineOptions([])).client.client.put_object(Bucket=bucket, Key=key, Body=b"")
