"""Orchestration of a run: its nodes as a Beam pipeline in this process.

Each node is a transform whose side inputs are the outcomes of the nodes that it needs, as in TFX's Beam orchestrator.
It runs when they exist, and a failure stops only the nodes that depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from dermrobust.pipeline.beside import Beside, beside
from dermrobust.pipeline.execution import Session, run_or_reuse
from dermrobust.pipeline.node_runs import run_node
from dermrobust.pipeline.nodes import Node, depth_first, upstream_of
from dermrobust.pipeline.outcomes import NodeResult

_ENDED = "ended"


@dataclass(frozen=True)
class _Run:
    """A run in progress, and the process beside this one, if it has one."""

    session: Session
    other: Beside | None

    def outcome(self, node: Node, upstream: Sequence[NodeResult]) -> NodeResult:
        """Return the outcome of a node, which is done here unless the other process does it."""
        if self.other is not None and (found := self.other.outcome(node)) is not None:
            return found
        result = run_node(self.session, node, upstream, run_or_reuse)
        if self.other is not None:
            self.other.add(result)
        return result


_runs: dict[str, _Run] = {}
"""Runs in progress by their ids. Transforms find theirs here, since Beam pickles what it is given."""


def orchestrate(session: Session, nodes: Sequence[Node], outcomes: Mapping[str, NodeResult]) -> None:
    """Run nodes; what comes of each is recorded.

    Args:
        session: the run.
        nodes: nodes, each after those of them that it needs.
        outcomes: outcomes of the other nodes that they need, by id.
    """
    ordered = depth_first(nodes)
    with beside(session, ordered, outcomes) as other:
        _runs[session.run] = _Run(session, other)
        try:
            with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(["--no_pipeline_type_check"])) as root:
                _wire(root, ordered, outcomes, session.run)
        finally:
            del _runs[session.run]


def _wire(root: beam.Pipeline, nodes: Sequence[Node], outcomes: Mapping[str, NodeResult], run: str) -> None:
    """Add a transform for every node to a Beam pipeline; they run in this order."""
    results: dict[str, beam.PCollection] = {}
    before: list[beam.pvalue.AsSingleton] = []
    for node in nodes:
        upstream = upstream_of(node)
        known = [outcomes[name] for name in upstream if name in outcomes]
        ready = [beam.pvalue.AsSingleton(results[name]) for name in upstream if name not in outcomes]
        start = root | f"start {node.id}" >> beam.Create([node])
        done = start | node.id >> beam.ParDo(_RunNode(run, known, len(before)), *before, *ready).with_outputs(
            _ENDED, main="outcome"
        )
        results[node.id] = done.outcome
        # Without an input from its predecessor Beam may run it before that one.
        before = [beam.pvalue.AsSingleton(done[_ENDED])]


class _RunNode(beam.DoFn):
    """Runs the node that is its element.

    Its side inputs are what is put out at the end of the node before it, if there is one, and the outcomes of the nodes
    that it needs.
    """

    def __init__(self, run: str, known: Sequence[NodeResult], before: int) -> None:
        self._run, self._known, self._before = run, known, before

    def process(self, node: Node, *side: NodeResult) -> Iterator[NodeResult | beam.pvalue.TaggedOutput]:
        """Yield the outcome of the node, and that it has ended."""
        yield _runs[self._run].outcome(node, (*self._known, *side[self._before :]))
        yield beam.pvalue.TaggedOutput(_ENDED, True)
