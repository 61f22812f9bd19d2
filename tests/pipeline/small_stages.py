"""A pipeline whose stages write a line of text, for tests of the runner."""

import signal
from collections.abc import Callable
from pathlib import Path

from dermrobust.components import storage
from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import Component, Context, Params
from dermrobust.pipeline.nodes import Node, Output

TEXT = "text.txt"

executed: list[str] = []
"""Names of the stages that did their work, in order."""
trouble: dict[str, Callable[[], object]] = {}
"""Functions called in a stage after it has written half of its output; no parameters, so not in fingerprints."""


class Line(Params):
    """Text that a stage writes after the text of its inputs."""

    name: str
    text: str = ""
    remark: str = ""


def write(context: Context) -> None:
    """Write the texts of all inputs and the stage's own."""
    params = context.params
    assert isinstance(params, Line)
    executed.append(params.name)
    inputs = [artifact for artifacts in context.inputs.values() for artifact in artifacts]
    texts = [storage.read_bytes(artifact.path(TEXT)).decode() for artifact in inputs]
    for uri in context.outputs.values():
        storage.write_bytes(storage.join(uri, "half"), b"done")
        if params.name in trouble:
            trouble[params.name]()
        content = "".join((*texts, f"{params.name}{params.text}\n")).encode()
        storage.write_bytes(storage.join(uri, TEXT), content)
        storage.write_bytes(storage.join(uri, "saved_model", "saved_model.pb"), content)


def interrupted_as_by_beam() -> None:
    """Send Ctrl-C to this process, and raise what Beam makes of it."""
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt as error:
        raise RuntimeError("KeyboardInterrupt [while running 'Compute']") from error


def write_parts(context: Context) -> None:
    """Write three files, leaving out those that an interrupted execution finished."""
    params = context.params
    assert isinstance(params, Line)
    (uri,) = context.outputs.values()
    for name in ("1", "2", TEXT):
        path = storage.join(uri, name)
        if storage.exists(path):
            continue
        executed.append(f"{params.name} {name}")
        with storage.atomic_file(path) as partial:
            Path(partial).write_text(f"{params.name}\n")
            if name in trouble:
                trouble[name]()


def resumable() -> Node:
    """A stage that goes on where it was interrupted."""
    component = Component(
        name="ingest",
        params=Line,
        inputs={},
        outputs={"made": ArtifactType.MODEL},
        executor="tests.pipeline.small_stages:write_parts",
        libraries=("click",),
        resumable=True,
    )
    return Node("ingest", "ingest", component, Line(name="ingest"), {})


def node(id_: str, stage: str, *needs: str, text: str = "", remark: str = "") -> Node:
    """A stage that reads what others made; `text` is written, `remark` is not."""
    inputs = {f"from_{index}": (Output(name, "made"),) for index, name in enumerate(needs)}
    component = Component(
        name=stage,
        params=Line,
        inputs=dict.fromkeys(inputs, ArtifactType.MODEL),
        outputs={
            "made": ArtifactType.MODEL,
            **({"exported_model": ArtifactType.EXPORTED_MODEL} if stage == "export" else {}),
        },
        executor="tests.pipeline.small_stages:write",
        libraries=("click",),
    )
    return Node(id_, stage, component, Line(name=id_, text=text, remark=remark), inputs)


def graph(**texts: str) -> list[Node]:
    """Two models on the same examples, evaluated together; keyword arguments give the text of a node."""
    return [
        node("ingest", "ingest", text=texts.get("ingest", "")),
        node("preprocess", "preprocess", "ingest", text=texts.get("preprocess", ""), remark=texts.get("remark", "")),
        node("train[one]", "train", "preprocess", text=texts.get("one", "")),
        node("train[two]", "train", "preprocess", text=texts.get("two", "")),
        node("evaluate", "evaluate", "train[one]", "train[two]"),
        node("export", "export", "train[one]", "evaluate"),
    ]
