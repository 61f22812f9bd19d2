"""Subgraph that evaluates models; a run and an audit wire it from here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dermrobust.components.evaluation.params import EvaluateParams, PredictParams, ProbeParams
from dermrobust.components.measure.component import EVALUATE
from dermrobust.components.predict.component import PREDICT
from dermrobust.components.probe.component import PROBE
from dermrobust.pipeline.nodes import Node, Output

STAGE = "evaluate"


def evaluation_nodes(
    models: Mapping[str, Output],
    examples: Output,
    *,
    predict: Callable[[str], PredictParams],
    probe: Callable[[str], ProbeParams],
    evaluate: EvaluateParams,
) -> list[Node]:
    """Return the nodes that attack, probe and measure models, every node after those that it needs.

    Args:
        models: the outputs of the evaluated models by name, in the order of results.
        examples: the examples whose test split is attacked.
        predict: parameters of the attacks on a model, by its name.
        probe: parameters of the probes of a model, by its name.
        evaluate: parameters of the measurement.
    """
    nodes: list[Node] = []
    for name, model in models.items():
        attacked = predict(name)
        inputs: dict[str, tuple[Output, ...]] = {
            "examples": (examples,),
            "model": (model,),
            "surrogates": tuple(models[other] for other in attacked.surrogates),
        }
        nodes.append(Node(f"predict[{name}]", STAGE, PREDICT, attacked, inputs))
        probed = probe(name)
        inputs = {
            **inputs,
            "predictions": (Output(f"predict[{name}]", "predictions"),),
            "surrogates": tuple(models[other] for other in probed.surrogates),
        }
        nodes.append(Node(f"probe[{name}]", STAGE, PROBE, probed, inputs))
    inputs = {
        "examples": (examples,),
        "predictions": tuple(Output(f"predict[{name}]", "predictions") for name in models),
        "probes": tuple(Output(f"probe[{name}]", "probes") for name in models),
    }
    return [*nodes, Node("evaluate", STAGE, EVALUATE, evaluate, inputs)]
