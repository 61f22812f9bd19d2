"""Nodes of a graph and their outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dermrobust.components.component import Component, Params


@dataclass(frozen=True)
class Output:
    """Reference to an output of a node."""

    node: str
    name: str


@dataclass(frozen=True)
class Node:
    """Component with its parameters and inputs in a graph.

    Attributes:
        id: unique name, such as `train[pgd]`.
        stage: stage whose command runs the node.
        component: its component.
        params: parameters of the component.
        inputs: outputs of other nodes for each input of the component.
    """

    id: str
    stage: str
    component: Component
    params: Params
    inputs: Mapping[str, tuple[Output, ...]]


def upstream_of(node: Node) -> list[str]:
    """Return the ids of the nodes that a node needs, sorted."""
    return sorted({output.node for outputs in node.inputs.values() for output in outputs})


def depth_first(nodes: Sequence[Node]) -> list[Node]:
    """Return nodes in an order in which each follows those that it needs, and what it makes possible follows it.

    Args:
        nodes: nodes of a graph; others that they need are there already.
    """
    missing = {node.id: set(upstream_of(node)) & {each.id for each in nodes} for node in nodes}
    ready = [node for node in reversed(nodes) if not missing[node.id]]
    ordered: list[Node] = []
    while ready:
        ordered.append(done := ready.pop())
        for node in reversed(nodes):
            if done.id in missing[node.id]:
                missing[node.id].remove(done.id)
                if not missing[node.id]:
                    ready.append(node)
    return ordered
