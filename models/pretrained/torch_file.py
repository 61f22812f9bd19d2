"""Reader of PyTorch checkpoints of the format before version 1.6, without PyTorch and without running their code.

Such a file is a sequence of pickles (magic number, protocol version, sizes of the writer's integers, the object with
references to storages, the keys of the storages in order), followed by each storage: an int64 with the number of its
elements, and the elements.
"""

from __future__ import annotations

import collections
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_ELEMENT_TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


def read_tensors(path: Path) -> dict[str, Array]:
    """Return the tensors of a checkpoint that holds a dictionary of tensors, by name.

    Raises:
        ValueError: The file is no such checkpoint, is damaged, or refers to anything but tensors.
    """
    storages: dict[str, Array] = {}
    try:
        with path.open("rb") as file:
            if _Unpickler(file, storages).load() != _MAGIC_NUMBER:
                raise ValueError("it does not begin with the magic number of the format")
            # Protocol version and sizes of integers.
            for _ in range(2):
                _Unpickler(file, storages).load()
            tensors = _Unpickler(file, storages).load()
            for key in _Unpickler(file, storages).load():
                _fill(storages[key], file)
    except (pickle.UnpicklingError, EOFError, KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"'{path}' is not a PyTorch checkpoint of the format before 1.6: {error}") from error
    return dict(tensors)


def _fill(storage: Array, file: BinaryIO) -> None:
    """Read the elements of a storage in place, since tensors refer to it already."""
    count = int.from_bytes(file.read(8), "little")
    if count != storage.size:
        raise ValueError(f"a storage has {count} elements where {storage.size} are declared")
    content = file.read(storage.nbytes)
    if len(content) != storage.nbytes:
        raise ValueError("the file ends within a storage")
    storage[...] = np.frombuffer(content, storage.dtype)


class _Unpickler(pickle.Unpickler):
    """Unpickler of numbers, texts and tensors; everything else could run code."""

    def __init__(self, file: BinaryIO, storages: dict[str, Array]) -> None:
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _view
        if module == "torch" and name in _ELEMENT_TYPES:
            return _ELEMENT_TYPES[name]
        return _refuse(f"it refers to {module}.{name}, which is no tensor")

    def persistent_load(self, pid: Any) -> Array:
        # ("storage", element type, key, device, element count, view): several tensors may share a storage.
        kind, dtype, key, _, count, *_ = pid
        if kind != "storage":
            _refuse(f"it refers to {kind!r}, which is no storage")
        return self._storages.setdefault(key, np.zeros(count, dtype))


def _refuse(reason: str) -> NoReturn:
    raise pickle.UnpicklingError(reason)


def _view(storage: Array, offset: int, shape: Sequence[int], strides: Sequence[int], *_: Any) -> Array:
    """Return a tensor as a view of its storage; strides count elements."""
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True) if size)
    if offset < 0 or min(strides, default=0) < 0 or last >= max(storage.size, 1):
        raise ValueError("a tensor lies outside its storage")
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)
