"""The graph of a pipeline: which component's output goes where. It only wires."""

from __future__ import annotations

from collections.abc import Iterable

from dermrobust.components.augment.component import AUGMENT
from dermrobust.components.export.component import EXPORT, ExportParams
from dermrobust.components.ingest.component import INGEST
from dermrobust.components.preprocess.component import PREPROCESS
from dermrobust.components.train.component import TRAIN, TrainParams
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.config_sections import BASELINE
from dermrobust.pipeline.evaluation_graph import evaluation_nodes
from dermrobust.pipeline.nodes import Node, Output
from dermrobust.pipeline.stages import STAGES


def build_graph(config: PipelineConfig) -> list[Node]:
    """Return the nodes of a pipeline, every node after those that it needs."""
    dataset = Output("ingest", "dataset")
    examples = Output("preprocess", "examples")
    models = {name: Output(f"train[{name}]", "model") for name in config.model_names()}
    nodes = [
        Node("ingest", "ingest", INGEST, config.ingest, {}),
        Node("preprocess", "preprocess", PREPROCESS, config.preprocess, {"dataset": (dataset,)}),
        _training(BASELINE, "train", config.train, examples),
    ]
    nodes += [_training(name, "train", config.defence_train(name), examples) for name in config.defences]
    inputs: dict[str, tuple[Output, ...]]
    for attack in config.augment.attacks:
        inputs = {"examples": (examples,), "model": (models[BASELINE],)}
        nodes.append(Node(f"augment[{attack}]", "augment", AUGMENT, config.augment.params(attack), inputs))
    for name, attacks in config.augment.models.items():
        crafted = tuple(Output(f"augment[{attack}]", "adversarial") for attack in attacks)
        nodes.append(_training(name, "augment", config.hardened_train(), examples, crafted))
    predict = config.predict_params()
    nodes += evaluation_nodes(
        models,
        examples,
        predict=lambda name: predict,
        probe=config.probe_params,
        escalation=config.evaluate.escalation,
        transform=config.transform_params(),
        certify=config.certify_params(),
        refer=config.refer_params(),
        evaluate=config.evaluate_params(),
        gate=config.evaluate.gate,
    )
    export = {
        "model": (models[config.evaluate.gate.candidate],),
        "blessing": (Output("gate", "blessing"),),
        "dataset": (dataset,),
        "examples": (examples,),
    }
    if config.evaluate.referral.rates:
        export["referrals"] = (Output(f"refer[{config.evaluate.gate.candidate}]", "referrals"),)
    params = ExportParams(**{name: getattr(config.export, name) for name in ExportParams.model_fields})
    nodes.append(Node("export", "export", EXPORT, params, export))
    return nodes


def _training(
    name: str, stage: str, params: TrainParams, examples: Output, adversarial: tuple[Output, ...] = ()
) -> Node:
    """Return the node that trains a model."""
    baseline = (Output(f"train[{BASELINE}]", "model"),) if params.needs_baseline else ()
    inputs = {"examples": (examples,), "adversarial": adversarial, "baseline": baseline}
    return Node(f"train[{name}]", stage, TRAIN, params, inputs)


def between(first: str, last: str) -> tuple[str, ...]:
    """Return the stages from `first` to `last`."""
    return STAGES[STAGES.index(first) : STAGES.index(last) + 1]


def needed(nodes: list[Node], first: str, last: str) -> list[Node]:
    """Return the nodes of the stages from `first` to `last` and all that they need."""
    stages = between(first, last)
    return with_upstream(nodes, [node.id for node in nodes if node.stage in stages])


def with_upstream(nodes: list[Node], ids: Iterable[str]) -> list[Node]:
    """Return the nodes of these ids and all that they need, in the order of the graph."""
    by_id = {node.id: node for node in nodes}
    wanted: set[str] = set()
    waiting = list(ids)
    while waiting:
        node = by_id[waiting.pop()]
        if node.id not in wanted:
            wanted.add(node.id)
            waiting += [output.node for outputs in node.inputs.values() for output in outputs]
    return [node for node in nodes if node.id in wanted]
