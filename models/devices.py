"""Set-up of TensorFlow's devices."""

from __future__ import annotations

import tensorflow as tf
from tensorflow.python.framework.config import disable_op_determinism


def prepare_devices() -> None:
    """Make results depend on their inputs alone, and take a GPU's memory as it is needed.

    Without determinism, sums over a batch run in the order in which threads finish: no seed would give the same model
    twice, and an attack could differ between workers. On the measured CPUs it costs nothing.

    Without growth, TensorFlow takes all memory of a GPU for one process, so that a second worker could not use it. It
    can only be set before the GPU is first used; where it is too late, memory stays as it is.
    """
    tf.config.experimental.enable_op_determinism()
    for gpu in tf.config.list_physical_devices("GPU"):
        if not tf.config.experimental.get_memory_growth(gpu):
            try:
                tf.config.experimental.set_memory_growth(gpu, True)
            except RuntimeError:
                return


def compute_nondeterministically() -> None:
    """Take back determinism, for operations that TensorFlow cannot compute so on a device."""
    # There is no public function for it (TensorFlow 2.21).
    disable_op_determinism()


def described_devices() -> str:
    """Return the names of the GPUs that TensorFlow can use, or that there is none."""
    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    return ", ".join(names) or "no GPU; TensorFlow computes on the CPU"
