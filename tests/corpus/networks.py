"""`.keras` files, and what is called so: made by editing the file of a small network."""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from keras import layers

from tests.corpus.archives import claiming, edited, encrypted
from tests.corpus.case import Case, bad, good, hostile, written

NAME = "model.keras"
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
SIZE = 16


@functools.cache
def members() -> Mapping[str, bytes]:
    """The files inside of a `.keras` file of a small network."""
    inputs = keras.Input((SIZE, SIZE, 3), name="images")
    outputs = layers.Dense(7, name="head")(layers.Flatten(name="flat")(inputs))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, NAME)
        keras.Model(inputs, outputs, name="small").save(path)
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}


def packed(
    changes: Mapping[str, bytes | None] | None = None,
    further: Iterable[tuple[str | zipfile.ZipInfo, bytes]] = (),
    method: int = zipfile.ZIP_STORED,
) -> Callable[[Path], Path]:
    """Return a function that writes the network with other members, or without some."""

    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / NAME, "w", method) as archive:
            for name, content in {**members(), **(changes or {})}.items():
                if content is not None:
                    archive.writestr(name, content)
            for member, content in further:
                archive.writestr(member, content)
        return folder / NAME

    return make


def later(make: Callable[[], Callable[[Path], Path]]) -> Callable[[Path], Path]:
    """Return a function that calls another one only when the file is needed."""
    return lambda folder: make()(folder)


def layer(
    class_name: str, config: Mapping[str, Any], module: str = "keras.layers", **more: Any
) -> Callable[[Path], Path]:
    """Return a function that writes the network with another layer in the place of `Flatten`."""

    def make(folder: Path) -> Path:
        values = json.loads(members()[_CONFIG])
        (flat,) = [entry for entry in values["config"]["layers"] if entry["class_name"] == "Flatten"]
        flat |= {"class_name": class_name, "module": module, "registered_name": None, **more}
        flat["config"] = {"name": "flat", "trainable": True, **config}
        return packed({_CONFIG: json.dumps(values).encode()})(folder)

    return make


def config(change: Callable[[Any], Any]) -> Callable[[Path], Path]:
    """Return a function that writes the network with another config."""
    return later(lambda: packed({_CONFIG: json.dumps(change(json.loads(members()[_CONFIG]))).encode()}))


def units(count: int) -> Callable[[Path], Path]:
    """The network with another number of outputs than it has weights for."""

    def change(values: Any) -> Any:
        values["config"]["layers"][-1]["config"]["units"] = count
        return values

    return config(change)


def large_before_unknown(values: Any) -> Any:
    """A layer of 480 MB that says how it was built, before one that cannot be made."""
    _, large, last = values["config"]["layers"]
    large |= {"class_name": "Dense", "build_config": {"input_shape": [None, SIZE, SIZE, 3]}}
    large["config"] = {"name": "flat", "units": 30_000_000}
    last |= {"class_name": "Stranger", "module": "strange", "registered_name": "strange>Stranger"}
    return values


def weights(change: Callable[[h5py.Group], object]) -> Callable[[Path], Path]:
    """Return a function that writes the network with other weights; `change` gets the group that holds them."""

    def make(folder: Path) -> Path:
        buffer = io.BytesIO(members()[_WEIGHTS])
        with h5py.File(buffer, "r+") as file:
            found: list[h5py.Group] = []
            file.visititems(lambda name, item: found.append(item) if name.endswith("/vars") and len(item) else None)
            change(found[-1])
        return packed({_WEIGHTS: buffer.getvalue()})(folder)

    return make


def replaced(**dataset: Any) -> Callable[[h5py.Group], object]:
    """Return a function that puts another data set in the place of the kernel."""

    def change(group: h5py.Group) -> None:
        del group["0"]
        group.create_dataset("0", **dataset)

    return change


def external_link(group: h5py.Group) -> None:
    del group["0"]
    group["0"] = h5py.ExternalLink("/etc/passwd", "/0")


def external_data(group: h5py.Group) -> None:
    del group["0"]
    group.create_dataset("0", (768, 7), "f4", external=[("/etc/passwd", 0, 768 * 7 * 4)])


class Payload:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch dermrobust-was-here",)


def pickled_weights() -> Callable[[Path], Path]:
    buffer = io.BytesIO()
    np.savez(buffer, np.array([Payload()], dtype=object))
    return packed({_WEIGHTS: None, "model.weights.npz": buffer.getvalue()})


def legacy(folder: Path) -> Path:
    """A file of HDF5 with a config that holds code."""
    with h5py.File(folder / "model.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Lambda", "config": {}})
    return folder / "model.h5"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / NAME)
    return folder / NAME


def link(target: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(target)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    info.create_system = 3
    return info


def lambda_layer() -> dict[str, Any]:
    code = keras.src.utils.python_utils.func_dump(lambda x: x)
    return {"function": {"class_name": "__lambda__", "config": {"code": code[0], "defaults": None, "closure": None}}}


def nested_lambda() -> dict[str, Any]:
    inner = {"class_name": "Lambda", "module": "keras.layers", "registered_name": None, "config": lambda_layer()}
    return {"layer": inner}


_CODE = "holds code"
_UNKNOWN = "not part of Keras and not known here|cannot be loaded|holds code"

CASES: tuple[Case, ...] = (
    good("a good one", later(packed)),
    good("deflated", later(lambda: packed(method=zipfile.ZIP_DEFLATED))),
    good("weights that are NaN", weights(lambda group: group["0"].write_direct(np.full((768, 7), np.nan, "f4")))),
    bad("empty", written(b"", NAME), "is no .keras file, or a damaged one"),
    bad("text", written(b"PK junk", NAME), "is no .keras file, or a damaged one"),
    bad("cut", edited(later(packed), lambda content: content[:5000]), "is no .keras file, or a damaged one"),
    bad("no config", later(lambda: packed({_CONFIG: None})), "cannot be loaded"),
    bad("a config that is no JSON", later(lambda: packed({_CONFIG: b"{"})), "cannot be loaded"),
    bad("a config that is a list", later(lambda: packed({_CONFIG: b"[]"})), "cannot be loaded"),
    bad("no weights", later(lambda: packed({_WEIGHTS: None})), "cannot be loaded"),
    bad("empty weights", later(lambda: packed({_WEIGHTS: b""})), "cannot be loaded"),
    bad("cut weights", later(lambda: packed({_WEIGHTS: members()[_WEIGHTS][:9000]})), "cannot be loaded"),
    bad("text for weights", later(lambda: packed({_WEIGHTS: b"text" * 500})), "cannot be loaded"),
    bad("weights of another shape", weights(replaced(data=np.zeros((5, 5), "f4"))), "cannot be loaded"),
    bad("weights of another type", weights(replaced(data=np.full((768, 7), b"text"))), "cannot be loaded"),
    bad("other units than weights", units(9), "cannot be loaded"),
    bad("units below 0", units(-1), "cannot be loaded"),
    bad(
        "an unknown class", layer("Stranger", {}, "strange", registered_name="strange>Stranger"), "'Stranger', which is"
    ),
    bad("a layer for a model", config(lambda values: values["config"]["layers"][-1]), "which is no Keras model|cannot"),
    bad("another suffix", written(b"PK junk", "model.zip"), "Older formats can run code"),
    hostile("Lambda", later(lambda: layer("Lambda", lambda_layer())), _CODE),
    hostile("Lambda in another layer", later(lambda: layer("TimeDistributed", nested_lambda())), _CODE),
    hostile("a function of the system", layer("system", {"command": "touch dermrobust-was-here"}, "os"), _UNKNOWN),
    hostile("a class that starts programs", layer("Popen", {"args": ["true"]}, "subprocess"), _UNKNOWN),
    hostile("eval", layer("eval", {"source": "1"}, "builtins"), _UNKNOWN),
    hostile("a download", layer("get_file", {"origin": "http://127.0.0.1:9/x"}, "keras.utils"), _UNKNOWN),
    hostile("safe mode off", layer("enable_unsafe_deserialization", {}, "keras.config"), _UNKNOWN),
    hostile("a SavedModel as a layer", layer("TFSMLayer", {"filepath": "/tmp/x"}), "cannot be loaded|holds code"),
    hostile("a module of torch", layer("TorchModuleWrapper", {"module": "x"}), "cannot be loaded|holds code"),
    hostile("a vocabulary of the disk", layer("StringLookup", {"vocabulary": "/etc/passwd"}), "cannot be loaded|holds"),
    hostile("a module of Keras", layer("load_model", {"filepath": "/tmp/x"}, "keras.saving"), _UNKNOWN),
    hostile("a config nested 100,000 times", later(lambda: packed({_CONFIG: b"[" * 100_000})), "cannot be loaded"),
    hostile("a number of 5,000 digits", later(lambda: packed({_CONFIG: b"1" * 5000})), "cannot be loaded"),
    hostile("units for 3 GB", units(10**6), "declares weights of 2,9.. MiB"),
    hostile("units for 6 TB", units(2 * 10**9), "declares weights of 5,8.* MiB"),
    hostile("units for 480 MB before an unknown class", config(large_before_unknown), "'Stranger', which is"),
    hostile("a link to another file", weights(external_link), "cannot be loaded"),
    hostile("weights of another file", weights(external_data), "cannot be loaded"),
    hostile(
        "a shape of 4 TB", weights(replaced(shape=(10**6, 10**6), dtype="f4", chunks=(1000, 1000))), "cannot be loaded"
    ),
    hostile("pickled weights", later(pickled_weights), "cannot be loaded"),
    hostile(
        "a bomb",
        later(lambda: packed({_WEIGHTS: bytes(100 << 20)}, method=zipfile.ZIP_DEFLATED)),
        "would unpack to 100 MiB",
    ),
    hostile(
        "a bomb that says it is small",
        edited(later(lambda: packed({}, [("assets/x", bytes(192 << 20))], zipfile.ZIP_DEFLATED)), claiming(2000)),
        "is damaged: .*CRC",
    ),
    hostile("packed by bzip2", later(lambda: packed(method=zipfile.ZIP_BZIP2)), "other than deflate"),
    hostile("encrypted", edited(later(packed), encrypted), "cannot be loaded|is damaged"),
    good("a member outside", later(lambda: packed({}, [("../dermrobust-was-here", b"x")])), hostile=True),
    good("an absolute member", later(lambda: packed({}, [("/tmp/dermrobust-was-here", b"x")])), hostile=True),
    good("a member that is a link", later(lambda: packed({}, [(link("assets/x"), b"/etc/passwd")])), hostile=True),
    hostile("a second config", later(lambda: packed({}, [(_CONFIG, b"{}")])), "cannot be loaded"),
    hostile("pickle", written(pickle.dumps(Payload()), NAME), "is no .keras file"),
    hostile("HDF5 by another name", written(b"\x89HDF\r\n\x1a\n" + bytes(3000), NAME), "is no .keras file"),
    hostile("HDF5", legacy, "Older formats can run code"),
    hostile("pickle of its own suffix", written(pickle.dumps(Payload()), "model.pkl"), "Older formats can run code"),
    hostile("a pipe", pipe, "is no regular file"),
)
