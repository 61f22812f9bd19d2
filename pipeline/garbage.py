"""Garbage: files below a root that no recorded run reaches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.artifacts import MANIFEST, Artifact, ArtifactStore, ArtifactType
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.history import killed_runs
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import garbage_lock, ledger_path
from dermrobust.pipeline.locks import locked

_UNFINISHED = {"staging": "unfinished output", "work": "unfinished work", "damaged": "damaged result"}
"""Folders of a root whose content no run reaches."""


@dataclass(frozen=True)
class Garbage:
    """A folder that no run reaches.

    Attributes:
        place: its path or URI.
        reason: what it is.
        size: size of its files in bytes.
    """

    place: str
    reason: str
    size: int


@dataclass(frozen=True)
class DiskUse:
    """Files below a root.

    Attributes:
        kept: size in bytes of the artifacts that recorded runs reach.
        garbage: what they do not reach.
    """

    kept: int
    garbage: tuple[Garbage, ...]

    @property
    def freed(self) -> int:
        """Size in bytes of the garbage."""
        return sum(item.size for item in self.garbage)


def disk_use(config: PipelineConfig) -> DiskUse:
    """Return what recorded runs reach in a root, and what they do not.

    Unfinished work is garbage too: a run that was interrupted goes on from it, so it should end first.

    Raises:
        UserError: nothing has run in this root.
    """
    store, reached = ArtifactStore(config.root), _reached(config)
    kept, found = 0, list[Garbage]()
    for artifact in store.all():
        place = artifact.uri if isinstance(artifact, Artifact) else artifact.removesuffix(f"/{MANIFEST}")
        if isinstance(artifact, Artifact) and place in reached:
            kept += _size(place)
        else:
            found.append(Garbage(place, "artifact of no run", _size(place)))
    for folder, reason in _UNFINISHED.items():
        names = storage.folders(storage.join(config.root, folder))
        places = [storage.join(config.root, folder, name) for name in names]
        found += (Garbage(place, reason, _size(place)) for place in places)
    return DiskUse(kept, tuple(found))


def collect(config: PipelineConfig, *, only_user: bool = False) -> DiskUse:
    """Delete the garbage of a root, and return what was deleted; see `disk_use`.

    Args:
        config: config of the pipeline.
        only_user: whether all runs in a root on an object store are in the ledger here; local roots have one ledger.

    Raises:
        UserError: a run is at work, so that what it needs is not known yet, or `only_user` is missing.
    """
    if not storage.is_local(config.root) and not only_user:
        raise UserError(
            f"'{config.root}' is on an object store. Only the runs that were started in this folder are known here: "
            "results of others would be deleted. If there are no others, say so with --only-user"
        )
    with _no_run(config):
        found = disk_use(config)
        for item in found.garbage:
            storage.remove(item.place)
    return found


def forget(config: PipelineConfig, runs: tuple[str, ...]) -> None:
    """Delete runs from the ledger; what they alone reached becomes garbage.

    Raises:
        UserError: there is no such run, or a run is at work.
    """
    ledger = _ledger(config)
    if unknown := [run for run in runs if ledger.run(run) is None]:
        raise UserError(f"there is no run '{unknown[0]}' in '{config.root}'; see: dermrobust runs")
    with _no_run(config):
        for run in runs:
            ledger.delete_run(run)


def _ledger(config: PipelineConfig) -> Ledger:
    path = ledger_path(config)
    if not path.exists():
        raise UserError(f"there are no runs in '{config.root}' yet; start one with: dermrobust run")
    return Ledger(path)


@contextlib.contextmanager
def _no_run(config: PipelineConfig) -> Iterator[None]:
    """Keep new runs from starting, once none is at work."""
    with locked(garbage_lock(config), lambda: None):
        ledger = _ledger(config)
        if alive := sorted(set(ledger.unfinished()) - killed_runs(config, ledger)):
            raise UserError(f"run '{alive[0]}' is at work in '{config.root}'; wait for its end")
        yield


def _reached(config: PipelineConfig) -> set[str]:
    """Return the folders of the artifacts that recorded runs made or reused, and of what those were made from."""
    store, reached = ArtifactStore(config.root), set[str]()
    waiting = [store.find(ArtifactType(type_), fingerprint) for type_, fingerprint in _ledger(config).outputs()]
    while waiting:
        artifact = waiting.pop()
        if artifact is None or artifact.uri in reached:
            continue
        reached.add(artifact.uri)
        for uris in store.manifest(artifact).inputs.values():
            waiting += [store.find_at(uri) for uri in uris]
    return reached


def _size(uri: str) -> int:
    return sum(storage.sizes(uri).values())
