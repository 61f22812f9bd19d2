"""One node of a run: reuse or work, its record, and failures as outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from dermrobust.attacks.errors import UserError
from dermrobust.components.component import Refused
from dermrobust.pipeline.execution import Inputs, Session, published
from dermrobust.pipeline.failures import failure
from dermrobust.pipeline.interruption import end_if_interrupted
from dermrobust.pipeline.nodes import Node, upstream_of
from dermrobust.pipeline.outcomes import CACHED, EXIT_CODES, EXIT_USER_ERROR, FAILED, REFUSED, SKIPPED, NodeResult
from dermrobust.pipeline.recording import record


def run_node(
    session: Session,
    node: Node,
    upstream: Sequence[NodeResult],
    work: Callable[[Session, Node, Inputs, str], NodeResult],
) -> NodeResult:
    """Return, record and report the outcome of a node; failures are outcomes, not exceptions, so that others go on.

    Args:
        session: the run.
        node: the node.
        upstream: outcomes of the nodes that it needs.
        work: function of the run, the node, its inputs and its fingerprint, called if the inputs exist; see
            `run_or_reuse`.
    """
    end_if_interrupted()
    started = time.monotonic()
    inputs: Inputs = {}
    key: str | None = None
    try:
        missing = [result for result in upstream if not result.ok]
        if missing:
            result = _skipped(node, missing)
        else:
            inputs = inputs_of(node, upstream)
            key = session.key(node, inputs)
            result = work(session, node, inputs, key)
    except Refused as refusal:
        result = NodeResult(node.id, REFUSED, message=str(refusal), exit_code=EXIT_CODES[REFUSED])
    except UserError as error:
        # Beam appends the name of its step to the messages of exceptions in workers.
        message = str(error).split(" [while running ", 1)[0]
        result = NodeResult(node.id, FAILED, message=message, exit_code=EXIT_USER_ERROR)
    except Exception as error:
        # Beam raises errors of its own for KeyboardInterrupt; nodes that do not need this one would go on.
        end_if_interrupted()
        result = failure(session.config, session.run, node.id, error)
    # Work that was done elsewhere has taken longer than this call.
    record(session, node, result, inputs, key, max(result.seconds, time.monotonic() - started))
    return result


def _skipped(node: Node, missing: list[NodeResult]) -> NodeResult:
    names = ", ".join(result.node for result in missing)
    return NodeResult(node.id, SKIPPED, message=f"needs {names}")


def inputs_of(node: Node, upstream: Sequence[NodeResult]) -> Inputs:
    """Return the input artifacts of a node, from the outcomes of the nodes that it needs."""
    made = {result.node: result.outputs for result in upstream}
    return {name: tuple(made[output.node][output.name] for output in outputs) for name, outputs in node.inputs.items()}


def reuse(session: Session, nodes: Sequence[Node]) -> dict[str, NodeResult]:
    """Return, record and report the outcomes of nodes that have nothing to do, by id.

    Those are the nodes whose outputs are published, as are the outputs of all that they need.

    Args:
        session: the run.
        nodes: nodes, each after the nodes that it needs.
    """
    reused: dict[str, NodeResult] = {}
    for node in nodes:
        if (session.force and node.id in session.selected) or not set(upstream_of(node)) <= reused.keys():
            continue
        started = time.monotonic()
        inputs = inputs_of(node, list(reused.values()))
        try:
            key = session.key(node, inputs)
            outputs = published(session.store, node, key)
        except Exception:
            # `run_node` meets it again, and tells it as the outcome of the node.
            continue
        if outputs is not None:
            seconds = time.monotonic() - started
            reused[node.id] = NodeResult(node.id, CACHED, seconds, outputs)
            record(session, node, reused[node.id], inputs, key, seconds)
    return reused
