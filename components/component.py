"""Declarations of components: name, typed inputs and outputs, and parameters, separate from the executor."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from dermrobust.components.artifacts import Artifact, ArtifactType
from dermrobust.components.beam_runtime import BeamRuntime
from dermrobust.components.progress import Progress, Silent

NOT_IN_FINGERPRINT: JsonDict = {"fingerprint": False}
"""`Field(json_schema_extra=...)` of a parameter that does not change the result, such as the location of raw images."""


class Params(BaseModel):
    """Base class of the parameters of components: every field has a default, bounds and a description."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def for_fingerprint(self) -> dict[str, Any]:
        """Return the parameters that determine the result, as JSON values."""
        hidden = {
            name
            for name, info in type(self).model_fields.items()
            if isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("fingerprint") is False
        }
        return self.model_dump(mode="json", exclude=hidden)

    def plugins(self) -> frozenset[str]:
        """Return the modules of the selected plug-ins, whose source code belongs to the fingerprint.

        A plug-in is a Pydantic model among the parameters, at any depth. A subclass with parameters that select a
        plug-in by its bare name, such as a network, extends this method.
        """
        return frozenset(_modules(dict(self)))


def _modules(value: Any) -> Iterator[str]:
    """Yield the modules of the Pydantic models that a value contains."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _modules(item)
    elif isinstance(value, tuple | list | set | frozenset):
        for item in value:
            yield from _modules(item)
    elif isinstance(value, BaseModel):
        yield type(value).__module__
        yield from _modules(dict(value))


class Refused(Exception):
    """Raised when a model is not blessed, so that it is not exported."""


@dataclass(frozen=True)
class Context:
    """Arguments of an executor.

    Attributes:
        params: parameters of the component.
        inputs: artifacts of each declared input.
        outputs: folder or URI to write each declared output to.
        work_folder: folder or URI below the root for checkpoints. It depends on the fingerprint only and survives a
            crash, so that another execution, on this machine or another, resumes from it.
        beam: engine for data-parallel work.
        progress: receiver of progress reports.
    """

    params: Params
    inputs: Mapping[str, tuple[Artifact, ...]]
    outputs: Mapping[str, str]
    work_folder: str
    beam: BeamRuntime = field(default_factory=BeamRuntime)
    progress: Progress = field(default_factory=Silent)

    def input(self, name: str) -> Artifact:
        """Return the only artifact of an input."""
        (artifact,) = self.inputs[name]
        return artifact


Executor = Callable[[Context], None]


def _load(reference: str) -> Any:
    module, name = reference.split(":")
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class Component:
    """Declaration of a component.

    Attributes:
        name: name in manifests and in the ledger.
        params: class of its parameters.
        inputs: artifact type of each input; an input may hold several artifacts of that type.
        outputs: artifact type of each output.
        executor: `module:function` that does the work. It is imported when there is work, since it may import
            TensorFlow.
        external_content: `module:function` that maps the parameters to a digest of the data that the component reads
            besides artifacts, such as raw images.
        libraries: distributions whose versions affect the result.
        resumable: whether outputs are written file by file, each atomically. Such outputs are staged at a place that
            depends on the fingerprint only, so that an execution after a crash continues from the finished files.
        concurrent: whether another process may do its work while this one does that of other nodes.
    """

    name: str
    params: type[Params]
    inputs: Mapping[str, ArtifactType]
    outputs: Mapping[str, ArtifactType]
    executor: str
    libraries: tuple[str, ...]
    external_content: str | None = None
    resumable: bool = False
    concurrent: bool = False

    def execute(self, context: Context) -> None:
        """Run the executor."""
        cast(Executor, _load(self.executor))(context)

    def external_digest(self, params: Params) -> str:
        """Return the digest of the data read besides artifacts, or an empty string if there is none."""
        return cast(str, _load(self.external_content)(params)) if self.external_content else ""
