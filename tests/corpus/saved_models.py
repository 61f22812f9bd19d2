"""SavedModels: whole, damaged, and with operations that reach outside."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from keras import layers
from tensorflow.core.protobuf import saved_model_pb2

from tests.corpus.case import Case, bad, good, hostile
from tests.foreign_models import SIZE, exported

IMAGES = tf.TensorSpec([None, SIZE, SIZE, 3])


@functools.cache
def network() -> keras.Model:
    """An untrained network; nothing is asked of its answers."""
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), layers.Flatten(), layers.Dense(7)])


def scores(network: keras.Model, images: Any) -> dict[str, Any]:
    return {"scores": network(images, training=False)}


def with_effect(effect: Callable[[], Any]) -> Callable[[keras.Model, Any], dict[str, Any]]:
    """A signature that classifies, and does something else on the way."""

    def function(network: keras.Model, images: Any) -> dict[str, Any]:
        effect()
        return scores(network, images)

    return function


def of_value(effect: Callable[[], Any]) -> Callable[[keras.Model, Any], dict[str, Any]]:
    """A signature whose scores depend on what it read."""

    def function(network: keras.Model, images: Any) -> dict[str, Any]:
        read = tf.cast(tf.strings.length(tf.reshape(effect(), [-1])[:1]), tf.float32)
        return {"scores": network(images, training=False) + 0.0 * read}

    return function


def hidden_in_a_branch() -> None:
    tf.cond(tf.random.uniform([]) > 2.0, written, lambda: None)


def written() -> None:
    tf.io.write_file("/tmp/dermrobust-never", "written")


def printed() -> None:
    tf.print("x", output_stream="file:///tmp/dermrobust-never")


def hidden_in_a_loop() -> None:
    def body(index: Any) -> Any:
        printed()
        return [index + 1]

    tf.while_loop(lambda index: index < 1, body, [0])


def summarized() -> None:
    writer = tf.raw_ops.SummaryWriter()
    tf.raw_ops.CreateSummaryFileWriter(
        writer=writer, logdir="/tmp/dermrobust-never", max_queue=1, flush_millis=1, filename_suffix=""
    )


def dataset_lines() -> Any:
    lines = tf.data.TextLineDataset("/etc/hostname")
    return lines.reduce(tf.constant(""), lambda text, line: text + line)


HOSTILE: dict[str, tuple[Callable[[keras.Model, Any], dict[str, Any]], str]] = {
    "write_file": (with_effect(written), "WriteFile"),
    "print to a file": (with_effect(printed), "PrintV2"),
    "checkpoint written": (
        with_effect(
            lambda: tf.raw_ops.SaveV2(
                prefix="/tmp/dermrobust-never", tensor_names=["x"], shape_and_slices=[""], tensors=[tf.zeros([1])]
            )
        ),
        "SaveV2",
    ),
    "old checkpoint written": (
        with_effect(
            lambda: tf.raw_ops.Save(filename="/tmp/dermrobust-never", tensor_names=["x"], data=[tf.zeros([1])])
        ),
        "Save",
    ),
    "summary": (with_effect(summarized), "CreateSummaryFileWriter"),
    "debugger": (
        with_effect(
            lambda: tf.raw_ops.DebugIdentityV2(input=tf.zeros([1]), debug_urls=["file:///tmp/dermrobust-never"])
        ),
        "DebugIdentityV2",
    ),
    "read_file": (of_value(lambda: tf.io.read_file("/etc/hostname")), "ReadFile"),
    "matching files": (of_value(lambda: tf.io.matching_files("/etc/*")), "MatchingFiles"),
    "lines of a file": (of_value(dataset_lines), "TextLineDataset"),
    "memory map": (
        of_value(
            lambda: tf.strings.as_string(
                tf.raw_ops.ImmutableConst(dtype=tf.float32, shape=[1], memory_region_name="/etc/hostname")
            )
        ),
        "ImmutableConst",
    ),
    "checkpoint read": (
        of_value(
            lambda: tf.strings.as_string(tf.raw_ops.Restore(file_pattern="/tmp/x", tensor_name="x", dt=tf.float32))
        ),
        "Restore",
    ),
    "new checkpoint read": (
        of_value(
            lambda: tf.strings.as_string(
                tf.raw_ops.RestoreV2(prefix="/tmp/x", tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32])[0]
            )
        ),
        "RestoreV2",
    ),
    "python": (of_value(lambda: tf.numpy_function(lambda: "x", [], tf.string)), "PyFunc"),
    "in a branch": (with_effect(hidden_in_a_branch), "WriteFile"),
    "in a loop": (with_effect(hidden_in_a_loop), "PrintV2"),
}


Function = Callable[[keras.Model, Any], dict[str, Any]]


def saved(function: Function) -> Callable[[Path], Path]:
    """Return a function that writes a SavedModel whose signature is a function of the network and images."""
    return lambda folder: exported(folder / "model", network(), IMAGES, serving_default=function)


@functools.cache
def whole() -> Path:
    """A SavedModel without anything wrong."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    return exported(Path(folder, "model"), network(), IMAGES, serving_default=scores)


def damaged(damage: Callable[[Path], object]) -> Callable[[Path], Path]:
    """Return a function that writes a SavedModel and then does something to its folder."""

    def make(folder: Path) -> Path:
        shutil.copytree(whole(), folder / "model")
        damage(folder / "model")
        return folder / "model"

    return make


def rewritten(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    """Return a function that writes a SavedModel in which a file has other content."""

    def damage(model: Path) -> None:
        (path,) = model.glob(name)
        path.write_bytes(change(path.read_bytes()))

    return damaged(damage)


def graph(change: Callable[[Any], object], make: Callable[[Path], Path] | None = None) -> Callable[[Path], Path]:
    """Return a function that writes a SavedModel with another `MetaGraphDef`."""

    def made(folder: Path) -> Path:
        model = (make or damaged(lambda model: None))(folder)
        saved_model = saved_model_pb2.SavedModel.FromString((model / _GRAPH).read_bytes())
        change(saved_model.meta_graphs[0])
        (model / _GRAPH).write_bytes(saved_model.SerializeToString())
        return model

    return made


def without(name: str) -> Callable[[Path], Path]:
    def damage(model: Path) -> None:
        for path in model.glob(name):
            path.unlink()

    return damaged(damage)


def shadowed(meta: Any) -> None:
    """Add a harmless function of the name of a refused operation."""
    function = meta.graph_def.library.function.add()
    function.signature.name = "WriteFile"


def calls_itself(meta: Any) -> None:
    for function in meta.graph_def.library.function:
        node = function.node_def.add()
        node.name, node.op = "again", function.signature.name


def in_a_list_of_functions(meta: Any) -> None:
    """Add a refused operation that nodes reach through a list of branches."""
    library = meta.graph_def.library
    functions = list(library.function)
    hidden = library.function.add()
    hidden.signature.name = "hidden"
    node = hidden.node_def.add()
    node.name, node.op = "write", "WriteFile"
    for function in functions:
        caller = function.node_def.add()
        caller.name, caller.op = "branches", "Case"
        caller.attr["branches"].list.func.add().name = "hidden"


def strange_operation(meta: Any) -> None:
    for function in meta.graph_def.library.function:
        node = function.node_def.add()
        node.name, node.op = "strange", "StrangeOperation"


def initializer(meta: Any) -> None:
    """Run a refused operation when the SavedModel is loaded."""
    node = meta.graph_def.node.add()
    node.name, node.op = "write", "WriteFile"
    meta.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "write"


def piped(model: Path) -> None:
    (model / _GRAPH).unlink()
    os.mkfifo(model / _GRAPH)


_GRAPH = "saved_model.pb"
_DATA, _INDEX = "variables/variables.data-*", "variables/variables.index"
_LOADED = "the SavedModel cannot be loaded: "

CASES: tuple[Case, ...] = (
    good("as it was exported", damaged(lambda model: None)),
    good("further files", damaged(lambda model: (model / "README.md").write_text("text"))),
    good("a link to a file", damaged(lambda model: (model / "linked").symlink_to(model / _GRAPH))),
    bad("no graph", without(_GRAPH), f"no SavedModel: it has no file {_GRAPH}"),
    bad("an empty graph", rewritten(_GRAPH, lambda content: b""), "has no graph for serving"),
    bad("a cut graph", rewritten(_GRAPH, lambda content: content[: len(content) // 2]), "cannot be read"),
    bad("text for a graph", rewritten(_GRAPH, lambda content: b"\xff junk"), "cannot be read"),
    bad("no graph for serving", graph(lambda meta: meta.meta_info_def.ClearField("tags")), "no graph for serving"),
    bad("no signature", graph(lambda meta: meta.ClearField("signature_def")), "no signature that can be attacked"),
    bad("no variables", without("variables/*"), _LOADED),
    bad("no index of variables", without(_INDEX), _LOADED),
    bad("cut variables", rewritten(_DATA, lambda content: content[:-1000]), _LOADED),
    bad("a cut index of variables", rewritten(_INDEX, lambda content: content[:-20]), _LOADED),
    bad("text for variables", rewritten(_INDEX, lambda content: b"text" * 100), _LOADED),
    bad("no functions", graph(lambda meta: meta.graph_def.ClearField("library")), _LOADED),
    bad("no objects", graph(lambda meta: meta.ClearField("object_graph_def")), "cannot compute outputs"),
    hostile("a pipe", damaged(piped), f"it has no file {_GRAPH}"),
    hostile("a link to a device", damaged(lambda model: (model / "x").symlink_to("/dev/zero")), "a link to no file"),
    hostile(
        "a link outside", damaged(lambda model: (model / "x").symlink_to("/etc/passwd")), "a link to a file outside"
    ),
    hostile("a link in circles", damaged(lambda model: (model / "x").symlink_to(model)), "a link to no file"),
    hostile("a pipe beside it", damaged(lambda model: os.mkfifo(model / "x")), "no regular file"),
    hostile("an unknown operation", graph(strange_operation), "not known to be harmless: StrangeOperation"),
    hostile(
        "an operation in a list of functions", graph(in_a_list_of_functions), "not known to be harmless: WriteFile"
    ),
    hostile("an operation that initializes", graph(initializer), "not known to be harmless: WriteFile"),
    hostile("functions that call themselves", graph(calls_itself), _LOADED),
    hostile(
        "a function of the name of an operation",
        graph(shadowed, saved(with_effect(lambda: written()))),
        "not known to be harmless: WriteFile",
    ),
    *(
        hostile(name, saved(function), rf"not known to be harmless: (.*, )?{operation}[,.].*--trust-model")
        for name, (function, operation) in HOSTILE.items()
    ),
)
