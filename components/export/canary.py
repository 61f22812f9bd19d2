"""The canary: a fresh process that loads the SavedModel as servers do and classifies test images.

Run as `python -m dermrobust.components.export.canary`; it reads the JSON list [SavedModel, requests, answers] of paths
from its standard input.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from dermrobust.components.garbage_collection import collect_rarely

Floats = np.ndarray[Any, np.dtype[np.float32]]

_COMPARED = ("probabilities", "confidence")
"""Outputs that are compared, where the signature has them."""
_TIMEOUT_SECONDS = 600
_LONGEST_REASON = 600
"""Characters of an error; TensorFlow appends the graph to some."""


class Canary:
    """A fresh process, which has imported TensorFlow by the time that there is a SavedModel to ask it about.

    Used as a context, at whose end the process is gone, asked or not.
    """

    def __enter__(self) -> Self:
        """Start the process."""
        pipe = subprocess.PIPE
        # No module is found because the command was started in its folder.
        command = [sys.executable, "-P", "-m", __name__]
        # TensorFlow imports Keras 3 together with itself unless it is told to use the old one. A server has neither,
        # and the process starts in 60 % of the time.
        without_keras = {**os.environ, "TF_USE_LEGACY_KERAS": "1"}
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=without_keras)
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._process.kill()
        # Closes the pipes, and waits for it.
        self._process.communicate()

    def ask(self, saved_model: Path, encoded: Sequence[bytes], folder: Path) -> dict[str, Floats]:
        """Classify encoded images in the process, once.

        Args:
            saved_model: folder of the SavedModel.
            encoded: content of the image files.
            folder: place for the files that the processes exchange.

        Returns:
            Probabilities float32 [count, class_count] for each way of loading, by its name in messages. Of a model that
            refers images its confidence is one more column.

        Raises:
            RuntimeError: the SavedModel cannot be loaded or run in one of the ways.
        """
        requests, answers = folder / "requests.npz", folder / "answers.npy"
        lengths = np.asarray([len(image) for image in encoded])
        np.savez(requests, content=np.frombuffer(b"".join(encoded), np.uint8), lengths=lengths)
        question = json.dumps([str(saved_model), str(requests), str(answers)])
        told, log = self._process.communicate(question, timeout=_TIMEOUT_SECONDS)
        if self._process.returncode != 0:
            reason = told.strip() or log[-4000:]
            raise RuntimeError(
                f"export: a fresh process could not serve the SavedModel. Nothing was exported.\n{reason}"
            )
        return dict(zip(_LOADERS, np.load(answers, allow_pickle=False), strict=True))


def _load(saved_model: str, images: list[bytes]) -> Floats:
    import tensorflow as tf

    serve = tf.saved_model.load(saved_model).signatures[tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY]
    answers = serve(image_bytes=tf.constant(images))
    return _side_by_side({name: np.asarray(answers[name]) for name in _COMPARED if name in answers})


def _load_into_session(saved_model: str, images: list[bytes]) -> Floats:
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], saved_model)
        signature = graph.signature_def[tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY]
        feeds = {signature.inputs["image_bytes"].name: np.asarray(images, np.object_)}
        wanted = {name: signature.outputs[name].name for name in _COMPARED if name in signature.outputs}
        return _side_by_side(session.run(wanted, feeds))


def _side_by_side(answers: Mapping[str, Floats]) -> Floats:
    """Return outputs [count] or [count, width] as one array float32 [count, columns]."""
    return np.concatenate([values.reshape(len(values), -1) for values in answers.values()], axis=1)


# Both are needed: they restore variables by different names, so that a SavedModel can serve under one of them alone.
# TensorFlow Serving, saved_model_cli and TensorFlow Java load as the session does.
_LOADERS: dict[str, Callable[[str, list[bytes]], Floats]] = {
    "tf.saved_model.load": _load,
    "tf.compat.v1.saved_model.load": _load_into_session,
}


def _answer(saved_model: str, requests: str, answers: str) -> int:
    with np.load(requests, allow_pickle=False) as stored:
        content, lengths = stored["content"].tobytes(), stored["lengths"]
    ends = np.cumsum(lengths)
    images = [content[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    found = []
    for name, load in _LOADERS.items():
        try:
            found.append(load(saved_model, images))
        except Exception as error:  # TensorFlow raises whatever the file's content leads to.
            print(f"{name}: {type(error).__name__}: {str(error).strip()[:_LONGEST_REASON]}")
            return 1
    np.save(answers, np.stack(found))
    return 0


def _main() -> int:
    collect_rarely()
    # Before there is a question: the import takes most of this process's time.
    import tensorflow as tf

    del tf
    question = sys.stdin.read()
    # Without one the other process has ended, or does not need an answer any more.
    return _answer(*json.loads(question)) if question else 0


if __name__ == "__main__":
    sys.exit(_main())
