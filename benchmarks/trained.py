"""Models that a run trained, and the examples that it trained them on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dermrobust.attacks.errors import UserError
from dermrobust.components.artifacts import Artifact, ArtifactStore, ArtifactType
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import ledger_path

_EXAMPLES = "preprocess"
"""The node whose output the examples are."""
_RUNS = 1000
"""How many runs back models are looked for."""


def trained_models(config: PipelineConfig, names: Sequence[str]) -> tuple[Artifact, dict[str, Artifact]]:
    """Return the examples and the models, by name, of the latest run that has all of them.

    Raises:
        UserError: there is no such run, or what it made is no longer there.
    """
    nodes = {name: f"train[{name}]" for name in names}
    wanted = {*nodes.values(), _EXAMPLES}
    made = next((made for made in _outputs_of_runs(config) if wanted <= made.keys()), None)
    if made is None:
        raise UserError(f"no run in '{config.root}' has all of {', '.join(names)}; run: dermrobust run --to augment")
    store = ArtifactStore(config.root)
    models = {name: _found(store, ArtifactType.MODEL, made[node]) for name, node in nodes.items()}
    return _found(store, ArtifactType.EXAMPLES, made[_EXAMPLES]), models


def _outputs_of_runs(config: PipelineConfig) -> Iterator[dict[str, str]]:
    """Yield of each run, the latest first, the fingerprints of its models and examples by node."""
    path = ledger_path(config)
    if not path.exists():
        return
    ledger = Ledger(path)
    for run in ledger.runs(_RUNS):
        made = (ledger.run(run["id"]) or {}).get("outputs", ())
        wanted = (ArtifactType.MODEL, ArtifactType.EXAMPLES)
        yield {output["node"]: output["fingerprint"] for output in made if output["type"] in wanted}


def _found(store: ArtifactStore, type_: ArtifactType, fingerprint: str) -> Artifact:
    # By fingerprint: where the run says that it lies may be relative to another folder.
    artifact = store.find(type_, fingerprint)
    if artifact is None:
        raise UserError(f"{type_.value} {fingerprint} is gone from '{store.root}'; run: dermrobust run --to augment")
    return artifact
