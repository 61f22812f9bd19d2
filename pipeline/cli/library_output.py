"""Suppression and redirection of the output of libraries, such as CUDA warnings and retries."""

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
    """Suppress the log messages of libraries; errors that matter reach the user as exceptions.

    Call it before the libraries are imported, since some read these settings only then.
    """
    # Otherwise pydantic searches the metadata of all installed packages for plugins, in every command.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.CRITICAL)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def library_output_to(path: Path) -> Iterator[TextIO]:
    """Redirect stderr to a file, for Python and C++ code, and yield a stream to the original stderr.

    TensorFlow's C++ code prints before any log level can be set, and Beam's workers log. After a crash below Python the
    file holds the last messages.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    original = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="replace")
    with path.open("a", encoding="utf-8") as log:
        # Replacing sys.stderr would not affect C++ code, which writes to file descriptor 2.
        os.dup2(log.fileno(), 2)
        try:
            yield original
        finally:
            sys.stderr.flush()
            os.dup2(original.fileno(), 2)
            original.close()
