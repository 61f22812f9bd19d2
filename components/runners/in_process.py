"""Beam's in-process engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def create(options: Sequence[str], root: str | None) -> Any:
    """Return the engine that Beam's DirectRunner falls back to.

    DirectRunner itself (Beam 2.77) first tries to download and start another engine, Prism.
    """
    del options, root
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    return FnApiRunner()
