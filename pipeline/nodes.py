"""Nodes of a graph and their outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dermrobust.components.component import Component, Params


@dataclass(frozen=True)
class Output:
    """One output of a node."""

    node: str
    name: str


@dataclass(frozen=True)
class Node:
    """A component at its place in the graph.

    Attributes:
        id: unique, such as `train[pgd]`.
        stage: the command that runs it.
        component: what it does.
        params: how.
        inputs: for each input the outputs that it gets.
    """

    id: str
    stage: str
    component: Component
    params: Params
    inputs: Mapping[str, tuple[Output, ...]]
