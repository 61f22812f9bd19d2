"""The graph of a pipeline: which component's output goes where. It only wires."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dermrobust.components.augment.component import AUGMENT
from dermrobust.components.component import Component, Params
from dermrobust.components.evaluate.component import EVALUATE, PREDICT, PROBE
from dermrobust.components.export.component import EXPORT, ExportParams
from dermrobust.components.ingest.component import INGEST
from dermrobust.components.preprocess.component import PREPROCESS
from dermrobust.components.train.component import TRAIN
from dermrobust.pipeline.config import BASELINE, PipelineConfig
from dermrobust.pipeline.stages import STAGES


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


def build_graph(config: PipelineConfig) -> list[Node]:
    """Return the nodes of a pipeline, every node after those that it needs."""
    dataset = Output("ingest", "dataset")
    examples = Output("preprocess", "examples")
    models = {name: Output(f"train[{name}]", "model") for name in config.model_names()}
    nodes = [
        Node("ingest", "ingest", INGEST, config.ingest, {}),
        Node("preprocess", "preprocess", PREPROCESS, config.preprocess, {"dataset": (dataset,)}),
        Node(f"train[{BASELINE}]", "train", TRAIN, config.train, {"examples": (examples,), "adversarial": ()}),
    ]
    inputs: dict[str, tuple[Output, ...]]
    for name in config.defences:
        inputs = {"examples": (examples,), "adversarial": ()}
        nodes.append(Node(f"train[{name}]", "train", TRAIN, config.defence_train(name), inputs))
    for attack in config.augment.attacks:
        inputs = {"examples": (examples,), "model": (models[BASELINE],)}
        nodes.append(Node(f"augment[{attack}]", "augment", AUGMENT, config.augment.params(attack), inputs))
    for name, attacks in config.augment.models.items():
        crafted = tuple(Output(f"augment[{attack}]", "adversarial") for attack in attacks)
        inputs = {"examples": (examples,), "adversarial": crafted}
        nodes.append(Node(f"train[{name}]", "augment", TRAIN, config.hardened_train(), inputs))
    surrogates = tuple(models[name] for name in config.surrogates())
    predict = config.predict_params()
    for name, model in models.items():
        inputs = {"examples": (examples,), "model": (model,), "surrogates": surrogates}
        nodes.append(Node(f"predict[{name}]", "evaluate", PREDICT, predict, inputs))
        inputs = {**inputs, "predictions": (Output(f"predict[{name}]", "predictions"),)}
        inputs["surrogates"] = () if name == BASELINE else (models[BASELINE],)
        nodes.append(Node(f"probe[{name}]", "evaluate", PROBE, config.probe_params(name), inputs))
    inputs = {
        "examples": (examples,),
        "predictions": tuple(Output(f"predict[{name}]", "predictions") for name in models),
        "probes": tuple(Output(f"probe[{name}]", "probes") for name in models),
    }
    nodes.append(Node("evaluate", "evaluate", EVALUATE, config.evaluate_params(), inputs))
    export = {
        "model": (models[config.evaluate.gate.candidate],),
        "blessing": (Output("evaluate", "blessing"),),
        "dataset": (dataset,),
        "examples": (examples,),
    }
    params = ExportParams(**{name: getattr(config.export, name) for name in ExportParams.model_fields})
    nodes.append(Node("export", "export", EXPORT, params, export))
    return nodes


def between(first: str, last: str) -> tuple[str, ...]:
    """Return the stages from `first` to `last`."""
    return STAGES[STAGES.index(first) : STAGES.index(last) + 1]


def needed(nodes: list[Node], first: str, last: str) -> list[Node]:
    """Return the nodes of the stages from `first` to `last` and all that they need."""
    stages = between(first, last)
    by_id = {node.id: node for node in nodes}
    wanted: set[str] = set()
    waiting = [node.id for node in nodes if node.stage in stages]
    while waiting:
        node = by_id[waiting.pop()]
        if node.id not in wanted:
            wanted.add(node.id)
            waiting += [output.node for outputs in node.inputs.values() for output in outputs]
    return [node for node in nodes if node.id in wanted]
