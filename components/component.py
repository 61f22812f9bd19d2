"""A component: a declaration (name, typed inputs and outputs, parameters) apart from the work."""

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
"""For `Field(json_schema_extra=...)`: a parameter that does not shape the result, such as where the images lie."""


class Params(BaseModel):
    """Base of a component's parameters: each has its default, its bounds and its documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def for_fingerprint(self) -> dict[str, Any]:
        """Return the parameters that shape the result, as JSON values."""
        hidden = {
            name
            for name, info in type(self).model_fields.items()
            if isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("fingerprint") is False
        }
        return self.model_dump(mode="json", exclude=hidden)

    def plugins(self) -> frozenset[str]:
        """Return the modules of the plug-ins that the parameters select, whose source shapes the result.

        A plug-in is a value of a class of this project. Parameters that select one by its bare name, such as a network,
        extend this method.
        """
        return frozenset(_modules(dict(self)))


def _modules(value: Any) -> Iterator[str]:
    """Yield the modules of the project's classes that occur in a value."""
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
    """What an executor gets.

    Attributes:
        params: the component's parameters.
        inputs: the artifacts for each declared input.
        outputs: for each declared output the place to write it to.
        work_folder: folder or URI below the root that outlives a crash, the same for the same fingerprint: another
            machine can go on from the checkpoints in it.
        beam: the engine for data-parallel work.
        progress: whom to tell how far the work is.
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
    """The declaration of a component.

    Attributes:
        name: as it stands in manifests and the ledger.
        params: the model of its parameters.
        inputs: the type of artifact for each input; an input may be given several artifacts.
        outputs: the type of artifact for each output.
        executor: `module:function` of the work; imported only when there is work, for it may import TensorFlow.
        external_content: `module:function` from parameters to a digest of what the component reads besides artifacts.
        libraries: distributions whose versions shape the result.
        resumable: its outputs are written file by file, each whole, so that an interrupted execution goes on from the
            finished ones: they are staged at the same place whenever the fingerprint is the same, and survive.
    """

    name: str
    params: type[Params]
    inputs: Mapping[str, ArtifactType]
    outputs: Mapping[str, ArtifactType]
    executor: str
    libraries: tuple[str, ...]
    external_content: str | None = None
    resumable: bool = False

    def execute(self, context: Context) -> None:
        """Do the work."""
        cast(Executor, _load(self.executor))(context)

    def external_digest(self, params: Params) -> str:
        """Return a digest of what is read besides artifacts; empty when there is nothing."""
        return cast(str, _load(self.external_content)(params)) if self.external_content else ""
