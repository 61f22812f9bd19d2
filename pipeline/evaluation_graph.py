"""Subgraph that evaluates models; a run and an audit wire it from here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.transfer import Transfer
from dermrobust.components.certify.component import CERTIFY
from dermrobust.components.craft.component import CRAFT, CraftParams
from dermrobust.components.escalate.component import ESCALATE
from dermrobust.components.evaluation.certificate_params import CertifyParams
from dermrobust.components.evaluation.escalation_params import EscalateParams, EscalationSettings
from dermrobust.components.evaluation.measure_params import MeasureParams
from dermrobust.components.evaluation.params import PredictParams, ProbeParams, transfer_probe
from dermrobust.components.evaluation.referral_params import ReferParams
from dermrobust.components.evaluation.thresholds import Gate
from dermrobust.components.evaluation.transform_params import TransformParams
from dermrobust.components.gate.component import GATE, GateParams
from dermrobust.components.leakage.component import LEAKAGE, LeakageParams
from dermrobust.components.measure.component import EVALUATE
from dermrobust.components.predict.component import PREDICT
from dermrobust.components.probe.component import PROBE
from dermrobust.components.refer.component import REFER
from dermrobust.components.transform.component import TRANSFORM
from dermrobust.pipeline.nodes import Node, Output

STAGE = "evaluate"
GATE_NODE = "gate"
"""Id of the node that judges the candidate."""


def evaluation_nodes(
    models: Mapping[str, Output],
    examples: Output,
    *,
    predict: Callable[[str], PredictParams],
    probe: Callable[[str], ProbeParams],
    escalation: EscalationSettings,
    transform: TransformParams,
    certify: CertifyParams,
    refer: ReferParams,
    evaluate: MeasureParams,
    gate: Gate,
) -> list[Node]:
    """Return the nodes that attack, probe, measure and judge models, every node after those that it needs.

    Args:
        models: the outputs of the evaluated models by name, in the order of results.
        examples: the examples whose test split is attacked.
        predict: parameters of the attacks on a model, by its name.
        probe: parameters of the probes of a model, by its name.
        escalation: parameters of the attacks on models that fail a self-check of masked gradients.
        transform: parameters of the searches under threat models beyond a norm, on every model.
        certify: parameters of the certificates of every model.
        refer: parameters of the referrals of every model.
        evaluate: parameters of the measurement.
        gate: requirements on the candidate.
    """
    crafted: dict[str, Node] = {}
    nodes: list[Node] = []
    for name, model in models.items():
        attacked, probed = predict(name), probe(name)
        transfers = [_crafted_transfer(attack, attacked, models, examples) for attack in attacked.transferred]
        probes = [_crafted_probe(source, probed, models, examples) for source in probed.transferred]
        crafted |= {node.id: node for node in (*transfers, *probes)}
        inputs: dict[str, tuple[Output, ...]] = {
            "examples": (examples,),
            "model": (model,),
            "surrogates": tuple(models[other] for other in attacked.surrogates),
            "transferred": _outputs(transfers, "adversarial"),
        }
        node = Node(f"predict[{name}]", STAGE, PREDICT, attacked, inputs)
        inputs = {
            **inputs,
            "surrogates": tuple(models[other] for other in probed.surrogates),
            "transferred": _outputs(probes, "adversarial"),
            "predictions": _outputs([node], "predictions"),
        }
        nodes += [node, Node(f"probe[{name}]", STAGE, PROBE, probed, inputs)]
        nodes.append(_escalation(name, escalation, attacked, inputs))
    transforms = _transforms(transform, models, examples)
    certificates = _certificates(certify, models, examples)
    referrals = _referrals(refer, models, examples)
    leakage = Node("leakage", STAGE, LEAKAGE, LeakageParams(), {"examples": (examples,)})
    inputs = _measured(models, examples, leakage, transforms, certificates, referrals)
    measured = Node("evaluate", STAGE, EVALUATE, evaluate, inputs)
    judged = Node(GATE_NODE, STAGE, GATE, GateParams(gate=gate), {"evaluation": _outputs([measured], "evaluation")})
    return [*crafted.values(), *nodes, *transforms, *certificates, *referrals, leakage, measured, judged]


def _outputs(nodes: Iterable[Node], name: str) -> tuple[Output, ...]:
    """Return an output of each node."""
    return tuple(Output(node.id, name) for node in nodes)


def _measured(
    models: Mapping[str, Output],
    examples: Output,
    leakage: Node,
    transforms: list[Node],
    certificates: list[Node],
    referrals: list[Node],
) -> dict[str, tuple[Output, ...]]:
    """Return the inputs of the measurement of all models."""
    return {
        "examples": (examples,),
        "predictions": tuple(Output(f"predict[{name}]", "predictions") for name in models),
        "probes": tuple(Output(f"probe[{name}]", "probes") for name in models),
        "escalated": tuple(Output(f"escalate[{name}]", "escalated") for name in models),
        "transformed": _outputs(transforms, "predictions"),
        "certificates": _outputs(certificates, "certificates"),
        "referrals": _outputs(referrals, "referrals"),
        "leakage": _outputs([leakage], "leakage"),
    }


def _escalation(
    name: str, settings: EscalationSettings, attacked: PredictParams, probed: Mapping[str, tuple[Output, ...]]
) -> Node:
    """Return the node that attacks a model through masked gradients if a self-check fails.

    Args:
        name: name of the model.
        settings: parameters of these attacks.
        attacked: attacks on the model.
        probed: inputs of its probes.
    """
    shared = {key: getattr(attacked, key) for key in ("attacks", "epsilons", "batch_size", "seed")}
    inputs = {key: probed[key] for key in ("examples", "model", "predictions")}
    inputs["probes"] = (Output(f"probe[{name}]", "probes"),)
    return Node(f"escalate[{name}]", STAGE, ESCALATE, EscalateParams(**shared, escalation=settings), inputs)


def _transforms(params: TransformParams, models: Mapping[str, Output], examples: Output) -> list[Node]:
    """Return the nodes that search each model under threat models beyond a norm; without any, none."""
    return [
        Node(f"transform[{name}]", STAGE, TRANSFORM, params, {"examples": (examples,), "model": (model,)})
        for name, model in models.items()
        if params.threats
    ]


def _certificates(params: CertifyParams, models: Mapping[str, Output], examples: Output) -> list[Node]:
    """Return the nodes that certify each model; without any noise to certify with, none."""
    return [
        Node(f"certify[{name}]", STAGE, CERTIFY, params, {"examples": (examples,), "model": (model,)})
        for name, model in models.items()
        if params.sigmas
    ]


def _referrals(params: ReferParams, models: Mapping[str, Output], examples: Output) -> list[Node]:
    """Return the nodes that fit a rejector to each model and attack both; without a rate, none."""
    return [
        Node(
            f"refer[{name}]",
            STAGE,
            REFER,
            params,
            {
                "examples": (examples,),
                "model": (model,),
                "predictions": (Output(f"predict[{name}]", "predictions"),),
                "probes": (Output(f"probe[{name}]", "probes"),),
                "escalated": (Output(f"escalate[{name}]", "escalated"),),
            },
        )
        for name, model in models.items()
        if params.rates
    ]


def _crafted_transfer(name: str, params: PredictParams, models: Mapping[str, Output], examples: Output) -> Node:
    """Return the node that crafts the examples of a transfer attack; they are the same for every model."""
    attack = params.attacks[name]
    assert isinstance(attack, Transfer)
    craft = _craft_params(name, attack.crafted_with, params)
    return Node(f"craft[{name}]", STAGE, CRAFT, craft, {"examples": (examples,), "model": (models[attack.source],)})


def _crafted_probe(source: str, params: ProbeParams, models: Mapping[str, Output], examples: Output) -> Node:
    """Return the node that crafts examples on another model to probe with."""
    name, attack = transfer_probe(source, params.epsilons[0].norm)
    craft = _craft_params(name, attack, params).model_copy(update={"images": params.images})
    return Node(f"craft[{name}]", STAGE, CRAFT, craft, {"examples": (examples,), "model": (models[source],)})


def _craft_params(name: str, attack: Attack, params: PredictParams) -> CraftParams:
    return CraftParams(
        name=name,
        attack=attack,
        epsilons=params.epsilons,
        batch_size=params.batch_size,
        gradient_precision=params.gradient_precision,
        seed=params.seed,
    )
