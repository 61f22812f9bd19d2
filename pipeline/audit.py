"""Audit: evaluation of a user's own model on the user's own images, by the components that evaluate the pipeline's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.kinds import Kind
from dermrobust.components.artifacts import read_as
from dermrobust.components.audit.component import ADOPT_DATA, ADOPT_MODEL, AdoptDataParams, AdoptModelParams
from dermrobust.components.audit.labels import read_labels
from dermrobust.components.evaluation import files
from dermrobust.components.evaluation.blessing import Blessing
from dermrobust.components.evaluation.certificate_params import CertificateSettings, CertifyParams
from dermrobust.components.evaluation.escalation_params import EscalationSettings
from dermrobust.components.evaluation.measure_params import MeasureParams
from dermrobust.components.evaluation.params import PredictParams, ProbeParams
from dermrobust.components.evaluation.referral_params import ReferParams
from dermrobust.components.evaluation.thresholds import Gate
from dermrobust.components.evaluation.transform_params import TransformParams
from dermrobust.components.progress import Progress
from dermrobust.models.foreign.declared import check_regular, declared_input, declared_size
from dermrobust.models.foreign.spec import is_black_box
from dermrobust.models.image_size import LARGEST, SMALLEST, Size, height_and_width, image_size_title
from dermrobust.models.preprocessing import Preprocessing
from dermrobust.models.tasks.ham10000 import TASK, lesion_task
from dermrobust.pipeline.audit_settings import CONTROL, MODEL, Audit
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.evaluation_graph import GATE_NODE, evaluation_nodes
from dermrobust.pipeline.nodes import Node, Output
from dermrobust.pipeline.outcomes import EXIT_CODES, REFUSED, RunResult
from dermrobust.pipeline.runner import run_graph

DATA = "adopt[data]"
"""Id of the node that adopts the images."""
ADOPTED = "adopt[{}]"
"""Id of the node that adopts a model, by its name."""


def run_audit(audit: Audit, progress: Progress, *, force: bool) -> RunResult:
    """Run an audit; unchanged work is not repeated.

    Its exit code is 3 if a self-check of the model, or of the evaluation as a whole, fails: the gate then refuses the
    model, as it always does a black box.

    Args:
        audit: settings.
        progress: receiver of progress reports.
        force: whether to repeat all work even if nothing changed.

    Raises:
        UserError: the model, the images or the labels cannot be audited; nothing has been written.
    """
    nodes = audit_graph(audit)
    config = PipelineConfig(root=audit.root, beam=audit.beam)
    selected = frozenset(node.id for node in nodes)
    settings = {"audit": audit.model_dump(mode="json")}
    return _judged(run_graph(config, nodes, progress, settings=settings, selected=selected, force=force))


def _judged(result: RunResult) -> RunResult:
    """Return an outcome whose exit code says whether the gate refuses; in a run the export does that."""
    artifact = result.output(GATE_NODE, "blessing")
    blessing = None if artifact is None else read_as(Blessing, artifact, files.BLESSING)
    if blessing is None or blessing.blessed:
        return result
    lines = "".join(f"\n  {reason}" for reason in blessing.reasons)
    message = f"gate: '{blessing.candidate}' is not blessed:{lines}"
    nodes = (
        dataclasses.replace(node, message=message, exit_code=EXIT_CODES[REFUSED]) if node.node == GATE_NODE else node
        for node in result.nodes
    )
    return dataclasses.replace(result, nodes=tuple(nodes))


def audit_graph(audit: Audit) -> list[Node]:
    """Return the nodes of an audit, each after the nodes that it needs.

    Raises:
        UserError: a file does not exist, the labels cannot be read, or the size of the images is not known.
    """
    for path in audit.models().values():
        if isinstance(path, Path) and not path.exists():
            raise UserError(f"there is no model '{path}'")
        if isinstance(path, Path) and (is_black_box(path) or not path.is_dir()):
            check_regular(path)
    if audit.signature is not None and isinstance(audit.model, Path) and not audit.model.is_dir():
        raise UserError(f"'{audit.model}' is a Keras file, which has no signatures; --signature is for SavedModels")
    classes = audit.classes or read_labels(audit.labels).class_names
    if unknown := sorted(set(audit.malignant or ()) - set(classes)):
        raise UserError(f"--malignant: '{unknown[0]}' is no class; these are: {', '.join(classes)}")
    _check_attacks(audit, len(classes))
    data = AdoptDataParams(
        images=str(audit.data),
        labels=str(audit.labels),
        validation_images=None if audit.validation_data is None else str(audit.validation_data),
        validation_labels=None if audit.validation_labels is None else str(audit.validation_labels),
        task=lesion_task(classes),
        preprocessing=_preprocessing(audit),
        limit=audit.limit,
    )
    examples = Output(DATA, "examples")
    nodes = [Node(examples.node, "adopt", ADOPT_DATA, data, {})]
    stated = {"image_size": audit.preprocessing or audit.image_size, "classes": audit.classes}
    for name, path in audit.models().items():
        params = AdoptModelParams(
            model=str(path),
            input=audit.input,
            outputs=audit.outputs,
            signature=audit.signature if _has_signatures(path) else None,
            trusted=audit.trust_model and isinstance(path, Path) and path.is_dir(),
            stated=tuple(key for key, value in stated.items() if value is not None),
        )
        nodes.append(Node(ADOPTED.format(name), "adopt", ADOPT_MODEL, params, {"examples": (examples,)}))
    return [*nodes, *_evaluation(audit, examples)]


def _has_signatures(location: Path | str) -> bool:
    return isinstance(location, str) or location.is_dir()


def _evaluation(audit: Audit, examples: Output) -> list[Node]:
    """Return the nodes that attack and evaluate the adopted models."""
    names = tuple(audit.models())
    models = {name: Output(ADOPTED.format(name), "model") for name in names}

    shared: dict[str, Any] = {
        "attacks": audit.attacks,
        "epsilons": audit.epsilons,
        "batch_size": audit.batch_size,
        "gradient_precision": audit.gradient_precision,
        "seed": audit.seed,
        "slices": tuple(feature.name for feature in TASK.derived),
    }

    def probed(name: str) -> ProbeParams:
        # The audited model is also tried on images that are crafted on the undefended one.
        control = (CONTROL,) if CONTROL in names and name != CONTROL else ()
        # SPSA asks a model tens of thousands of times about each image, which a served one should be spared.
        spsa = {"spsa_images": 0} if is_black_box(audit.models()[name]) else {}
        return ProbeParams(**shared, **spsa, transferred=control, corruptions=TASK.corruptions)

    beyond = {"threats": audit.threats, "searches": audit.searches}
    settings = {name: shared[name] for name in ("batch_size", "seed", "slices")}
    evaluate = MeasureParams(
        models=names,
        attacks=audit.attacks,
        epsilons=audit.epsilons,
        seed=audit.seed,
        control=None if audit.control is None else CONTROL,
        malignant=audit.malignant,
        slices=shared["slices"],
        certificates=_certificates(audit),
        referral=audit.referral,
        **beyond,
    )
    return evaluation_nodes(
        models,
        examples,
        predict=lambda name: PredictParams(**shared),
        probe=probed,
        escalation=EscalationSettings(),
        transform=TransformParams(**beyond, **settings),
        refer=ReferParams(**dict(audit.referral), **settings, epsilons=audit.epsilons, malignant=audit.malignant),
        certify=CertifyParams(**dict(_certificates(audit)), **settings),
        evaluate=evaluate,
        # Without thresholds, since an audit exports nothing: the gate asks for checks that do not fail.
        gate=Gate(candidate=MODEL),
    )


def _certificates(audit: Audit) -> CertificateSettings:
    """Return the settings of certificates; of a black box they need no gradients, but attacks on it do."""
    blind = any(map(is_black_box, audit.models().values()))
    if blind and audit.certificates.attack.needs_gradients:
        return audit.certificates.model_copy(update={"attack_draws": 0})
    return audit.certificates


def _check_attacks(audit: Audit, class_count: int) -> None:
    """Refuse attacks that cannot be run on this model; see `audit_graph`."""
    blind = [str(location) for location in audit.models().values() if is_black_box(location)]
    if blind and audit.threats and any(search.kind is Kind.ITERATIVE for search in audit.searches.values()):
        raise UserError(
            f"threat '{audit.threats[0]}' is searched through gradients, but of '{blind[0]}' only the answers are "
            "available; leave the threat models beyond a norm out"
        )
    if blind and audit.referral.rates:
        raise UserError(
            f"the attack that knows of a rejector needs gradients, but of '{blind[0]}' only the answers are available; "
            "leave selective prediction out"
        )
    audit.certificates.attack.check_classes(class_count)
    for name, attack in audit.attacks.items():
        if blind and attack.needs_gradients:
            raise UserError(
                f"attack '{name}' needs gradients, but of '{blind[0]}' only the answers are available; choose attacks "
                "that need none: --suite black-box"
            )
        if attack.sources:
            raise UserError(f"attack '{name}' transfers from another model, which an audit does not have")
        attack.check_classes(class_count)
        for threat in audit.epsilons:
            attack.check_threat(threat)


def _preprocessing(audit: Audit) -> Preprocessing:
    """Return the preprocessing that is given, or else that to the size of the model's input."""
    return audit.preprocessing or Preprocessing(
        image_size=audit.image_size or _declared_size(audit.model, audit.signature, audit.trust_model)
    )


def _declared_size(path: Path | str, signature: str | None, trusted: bool) -> Size:
    """Return the image size that a model declares.

    Raises:
        UserError: The model cannot be read, declares no size, or takes no color images.
    """
    if is_black_box(path):
        from dermrobust.models.foreign.black_box import read_endpoint

        # The number of classes plays no part here.
        size = read_endpoint(path, signature, classes=1).image_size
    elif Path(path).is_dir():
        from dermrobust.models.foreign.saved_models import read_signature

        size = read_signature(Path(path), signature, trusted=trusted).image_size
    else:
        size = _keras_size(Path(path))
    if size is None:
        raise UserError(f"'{path}' takes images of any size; give one: --input-size 224")
    if not all(SMALLEST <= side <= LARGEST for side in height_and_width(size)):
        raise UserError(
            f"'{path}' takes images of {image_size_title(size)}; sides of {SMALLEST} to {LARGEST} px can be audited"
        )
    return size


def _keras_size(path: Path) -> Size | None:
    shape = declared_input(path)
    if shape is None:
        from dermrobust.models.foreign.networks import read_network

        # A file that cannot be read is refused here, before anything is written.
        shape = getattr(read_network(path), "input_shape", None)
        if not isinstance(shape, tuple) or len(shape) != 4:
            return None
    return declared_size(shape)
