"""The canary: a fresh process loads the SavedModel and answers for test images, as a server would.

Run as `python -m dermrobust.components.export.canary SAVED_MODEL REQUESTS ANSWERS`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_TIMEOUT_SECONDS = 600


def ask(saved_model: Path, encoded: Sequence[bytes], folder: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the probabilities that a fresh process gets from a SavedModel for encoded images.

    Raises:
        RuntimeError: the process failed; with what it printed.
    """
    requests, answers = folder / "requests.npz", folder / "answers.npy"
    lengths = np.asarray([len(image) for image in encoded])
    np.savez(requests, content=np.frombuffer(b"".join(encoded), np.uint8), lengths=lengths)
    command = [
        sys.executable,
        "-m",
        "dermrobust.components.export.canary",
        str(saved_model),
        str(requests),
        str(answers),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"export: a fresh process could not serve the SavedModel:\n{done.stderr[-4000:]}")
    return np.asarray(np.load(answers, allow_pickle=False))


def _answer(saved_model: str, requests: str, answers: str) -> None:
    import tensorflow as tf

    with np.load(requests, allow_pickle=False) as stored:
        content, lengths = stored["content"].tobytes(), stored["lengths"]
    ends = np.cumsum(lengths)
    images = [content[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    serve = tf.saved_model.load(saved_model).signatures["serving_default"]
    np.save(answers, serve(image_bytes=tf.constant(images))["probabilities"].numpy())


if __name__ == "__main__":
    _answer(*sys.argv[1:])
