"""Execution of a component: its work in staging folders, and the publication of its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact, ArtifactStore, Provenance
from dermrobust.components.beam_runtime import BeamRuntime
from dermrobust.components.component import Component, Context, Params
from dermrobust.components.fingerprint import library_versions
from dermrobust.components.integrity import remember
from dermrobust.components.progress import Progress


@dataclass(frozen=True)
class Execution:
    """Work of a component whose inputs exist.

    Attributes:
        producer: id of the node, for manifests.
        component: the component.
        params: its parameters.
        inputs: its input artifacts.
        fingerprint: fingerprint of its outputs.
    """

    producer: str
    component: Component
    params: Params
    inputs: Mapping[str, tuple[Artifact, ...]]
    fingerprint: str

    def run(self, store: ArtifactStore, beam: BeamRuntime, progress: Progress) -> dict[str, Artifact]:
        """Do the work and publish the outputs; the work folder outlives a failure, and so do resumable outputs.

        Args:
            store: store of the outputs; the work folder lies below its root.
            beam: engine for data-parallel work.
            progress: receiver of progress reports.
        """
        types, key = self.component.outputs, self.fingerprint
        staged = {name: store.stage(type_, key, resumable=self.component.resumable) for name, type_ in types.items()}
        work = storage.join(store.root, "work", key)
        storage.make_folder(work)
        context = Context(self.params, self.inputs, staged, work, beam, progress)
        origin = Provenance(
            producer=self.producer,
            parameters=self.params.model_dump(mode="json"),
            inputs=self.inputs,
            versions=library_versions(self.component.libraries),
        )
        try:
            self.component.execute(context)
            published = {name: store.publish(staged[name], type_, key, origin) for name, type_ in types.items()}
            for artifact in published.values():
                remember(artifact)
        except BaseException:
            # The next execution continues from the finished files of a resumable component.
            if not self.component.resumable:
                _remove(staged)
            raise
        _remove(staged)
        storage.remove(work)
        return published


def _remove(staged: Mapping[str, str]) -> None:
    for uri in staged.values():
        storage.remove(uri)
