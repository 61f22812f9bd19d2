"""Keeps the chatter of libraries (CUDA, deprecations, retries) away from the user."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

_NOISY = ("absl", "apache_beam", "tensorflow", "h5py", "matplotlib", "urllib3", "root")


def silence_libraries() -> None:
    """Set levels before any library is imported; errors that matter reach the user as exceptions."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.CRITICAL)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def chatter_to(path: Path) -> Iterator[TextIO]:
    """Send what libraries print to stderr, from Python or C++, to a file; give what still reaches the user's stderr.

    TensorFlow's C++ side prints before any level can be set, and Beam's workers log; a crash below Python leaves its
    last words in the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    kept = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="replace")
    with path.open("a", encoding="utf-8") as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield kept
        finally:
            sys.stderr.flush()
            os.dup2(kept.fileno(), 2)
            kept.close()
