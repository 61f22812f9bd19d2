"""Orchestration of a run: its nodes as a Beam pipeline in this process.

Each node is a transform whose side inputs are the outcomes of the nodes that it needs, as in TFX's Beam orchestrator.
It runs when they exist, and a failure stops only the nodes that depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from dermrobust.pipeline.execution import Session, run_or_reuse
from dermrobust.pipeline.node_runs import run_node, upstream_of
from dermrobust.pipeline.nodes import Node
from dermrobust.pipeline.outcomes import NodeResult

_sessions: dict[str, Session] = {}
"""Runs in progress by their ids. Transforms find theirs here, since Beam pickles what it is given."""


def orchestrate(session: Session, nodes: Sequence[Node], outcomes: Mapping[str, NodeResult]) -> None:
    """Run nodes; what comes of each is recorded.

    Args:
        session: the run.
        nodes: nodes, each after those of them that it needs.
        outcomes: outcomes of the other nodes that they need, by id.
    """
    _sessions[session.run] = session
    try:
        with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(["--no_pipeline_type_check"])) as root:
            _wire(root, nodes, outcomes, session.run)
    finally:
        del _sessions[session.run]


def _wire(root: beam.Pipeline, nodes: Sequence[Node], outcomes: Mapping[str, NodeResult], run: str) -> None:
    """Add a transform for every node to a Beam pipeline."""
    results: dict[str, beam.PCollection] = {}
    for node in nodes:
        upstream = upstream_of(node)
        known = [outcomes[name] for name in upstream if name in outcomes]
        ready = [beam.pvalue.AsSingleton(results[name]) for name in upstream if name not in outcomes]
        start = root | f"start {node.id}" >> beam.Create([node])
        results[node.id] = start | node.id >> beam.ParDo(_RunNode(run, known), *ready)


class _RunNode(beam.DoFn):
    """Runs the node that is its element; its side inputs are the outcomes of the nodes that it needs."""

    def __init__(self, run: str, known: Sequence[NodeResult]) -> None:
        self._run, self._known = run, known

    def process(self, node: Node, *upstream: NodeResult) -> Iterator[NodeResult]:
        """Yield the outcome of the node."""
        yield run_node(_sessions[self._run], node, (*self._known, *upstream), run_or_reuse)
