"""TensorBoard events of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf

from dermrobust.components import storage


class EventLog:
    """TensorBoard events with the figures of each epoch."""

    def __init__(self, folder: Path, history: Sequence[Mapping[str, float]]) -> None:
        """Write to a local folder, beginning with the figures of epochs before an interruption.

        Those are written anew: an epoch that ended between its event and its checkpoint would be there twice.
        """
        storage.remove(str(folder))
        self._writer = tf.summary.create_file_writer(str(folder))
        for figures in history:
            self.write(figures)

    def write(self, figures: Mapping[str, float]) -> None:
        """Write the figures of an epoch; `epoch` among them is the step."""
        with self._writer.as_default(step=int(figures["epoch"])):
            for name, value in figures.items():
                if name != "epoch":
                    tf.summary.scalar(name, value)
        # Events wait in memory for up to two minutes otherwise, and a crash would lose them.
        self._writer.flush()

    def close(self) -> None:
        """Finish the event file."""
        self._writer.close()
