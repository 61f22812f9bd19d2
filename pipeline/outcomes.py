"""Outcomes of nodes and runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dermrobust.components.artifacts import Artifact

DONE, CACHED, FAILED, SKIPPED, REFUSED = "done", "cached", "failed", "skipped", "refused"
EXIT_CODES = {DONE: 0, CACHED: 0, SKIPPED: 0, FAILED: 1, REFUSED: 3}
EXIT_USER_ERROR = 2


@dataclass(frozen=True)
class NodeResult:
    """Outcome of a node.

    Attributes:
        node: id of the node.
        status: done, cached, failed, skipped or refused.
        seconds: duration.
        outputs: artifacts by the name of the output.
        message: reason of a failure, skip or refusal.
        exit_code: exit code of the process if this is the worst outcome of the run.
    """

    node: str
    status: str
    seconds: float = 0.0
    outputs: Mapping[str, Artifact] = field(default_factory=dict)
    message: str = ""
    exit_code: int = 0

    @property
    def ok(self) -> bool:
        """Whether the outputs exist."""
        return self.status in (DONE, CACHED)


@dataclass(frozen=True)
class RunResult:
    """Outcome of a run.

    Attributes:
        run: id of the run.
        nodes: outcomes of its nodes, in the order in which they ended.
        published: folder or URI of the published model, if there is one.
    """

    run: str
    nodes: tuple[NodeResult, ...]
    published: str | None = None

    @property
    def exit_code(self) -> int:
        """0 after success, 1 after a failure, 2 after a user error, 3 after a refusal."""
        return max((node.exit_code for node in self.nodes), default=0)

    def output(self, node: str, name: str) -> Artifact | None:
        """Return an artifact of the run, or None if its node did not make it."""
        return next((result.outputs.get(name) for result in self.nodes if result.node == node), None)
