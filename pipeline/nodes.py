"""Nodes of a graph and their outputs."""

from __future__ import annotations

from collections.abc import Mapping
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
