"""Images that are worked on together: as many as memory holds, on this machine and on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dermrobust.attacks.errors import AttackError
from dermrobust.attacks.threat import Images, Pixels

_BATCHES_AT_ONCE = 16
"""Number of batches that are attacked together. Several, because full batches are made of what is left of them."""
_Result = TypeVar("_Result")


def blocks(images: Images | Pixels, batch_size: int, bytes_at_once: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the indices of images that are held together: memory does not depend on how many there are.

    Args:
        images: [count, height, width, 3].
        batch_size: number of images in a step.
        bytes_at_once: size that a block may have as float32 images. One batch is a block whatever its size.
    """
    # Also one block of no images, or of a batch size that validation then refuses.
    bytes_each = max(1, 4 * images[:1].size)
    batches = min(_BATCHES_AT_ONCE, max(1, bytes_at_once // (bytes_each * max(batch_size, 1))))
    size = max(batch_size, 1) * batches
    for start in range(0, max(len(images), 1), size):
        yield np.arange(start, min(start + size, len(images)))


def within_memory(name: str, attempt: Callable[[int], _Result], *, batch_size: int, count: int) -> tuple[_Result, int]:
    """Return a result and the batch size for which a device had enough memory: the one that is given, or less.

    Args:
        name: name of the attack, for the message.
        attempt: returns the result for a batch size; what it is does not depend on that size.
        batch_size: number of images in a step.
        count: number of images.

    Raises:
        AttackError: the memory is too small for one image.
    """
    while True:
        try:
            return attempt(batch_size), batch_size
        except tf.errors.ResourceExhaustedError as error:
            size = min(batch_size, count)
            if size <= 1:
                raise AttackError(f"{name}: the memory of the device is too small for one image") from error
            batch_size = size // 2
