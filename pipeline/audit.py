"""The graph of an audit: a user's own model and images through the components that evaluate the pipeline's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.selection import NamedAttacks, read_suite
from dermrobust.attacks.threat import ThreatModel
from dermrobust.components.audit.component import ADOPT_DATA, ADOPT_MODEL, AdoptDataParams, AdoptModelParams
from dermrobust.components.audit.labels import read_labels
from dermrobust.components.component import Params
from dermrobust.components.evaluation.params import EvaluateParams, PredictParams, ProbeParams, Threats
from dermrobust.components.evaluation.thresholds import Gate
from dermrobust.components.progress import Progress
from dermrobust.models.foreign.declared import declared_input, declared_size
from dermrobust.models.foreign.spec import InputFormat, OutputKind
from dermrobust.models.image_size import LARGEST, SMALLEST, ImageSize, Size, height_and_width, image_size_title
from dermrobust.models.task import ClassName
from dermrobust.models.tasks.ham10000 import TASK, lesion_task
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.evaluation_graph import evaluation_nodes
from dermrobust.pipeline.nodes import Node, Output
from dermrobust.pipeline.outcomes import RunResult
from dermrobust.pipeline.runner import run_graph

MODEL, CONTROL = "model", "control"
"""Names of the audited model and of an undefended one beside it."""
DATA = "adopt[data]"
"""Id of the node that adopts the images."""
ADOPTED = "adopt[{}]"
"""Id of the node that adopts a model, by its name."""


def _auto() -> dict[str, Any]:
    return read_suite("auto")


class Audit(Params):
    """What is audited, and how; what is not given is found out."""

    model: Path = Field(description="A .keras file, or the folder of a SavedModel.")
    data: Path = Field(description="Folder of images.")
    labels: Path = Field(description="Table of their labels.")
    control: Path | None = Field(None, description="An undefended model to compare with.")
    root: str = Field("output/audit", min_length=1, description="Folder of artifacts and ledger.")
    attacks: NamedAttacks = Field(default_factory=_auto, description="Attacks by name, or the name of a suite.")
    epsilons: Threats = Field(tuple(ThreatModel(epsilon) for epsilon in (1, 2, 4, 8)), min_length=1)
    batch_size: int = Field(64, ge=1, le=4096, description="Images a gradient step.")
    seed: int = Field(0, ge=0, lt=2**31, description="Of random starts.")
    limit: int | None = Field(None, ge=1, description="Use so many images.")
    classes: tuple[ClassName, ...] | None = Field(None, description="In the order of the model's outputs.")
    malignant: tuple[ClassName, ...] | None = Field(None, description="Classes that must not be taken for benign.")
    image_size: ImageSize | None = Field(None, description="Size of the model's input in pixels.")
    input: InputFormat | None = Field(None, description="How the model takes images.")
    outputs: OutputKind | None = Field(None, description="What the model returns.")
    signature: str | None = Field(None, description="Of a SavedModel.")

    @model_validator(mode="after")
    def _classes_differ(self) -> Self:
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise ValueError("two classes have the same name (case does not count)")
        return self

    def models(self) -> dict[str, Path]:
        """Return the models by name."""
        return {MODEL: self.model, **({} if self.control is None else {CONTROL: self.control})}


def run_audit(audit: Audit, progress: Progress, *, force: bool) -> RunResult:
    """Run an audit; what is unchanged is not done again.

    Raises:
        UserError: what was given cannot be audited; nothing has been written.
    """
    nodes = audit_graph(audit)
    config = PipelineConfig(root=audit.root)
    selected = frozenset(node.id for node in nodes)
    settings = {"audit": audit.model_dump(mode="json")}
    return run_graph(config, nodes, progress, settings=settings, selected=selected, force=force)


def audit_graph(audit: Audit) -> list[Node]:
    """Return the nodes of an audit, every node after those that it needs.

    Raises:
        UserError: a file is not there, the labels cannot be read, or the size of the images is not known.
    """
    for path in audit.models().values():
        if not path.exists():
            raise UserError(f"there is no model '{path}'")
    classes = audit.classes or read_labels(audit.labels).class_names
    _check_attacks(audit, len(classes))
    data = AdoptDataParams(
        images=str(audit.data),
        labels=str(audit.labels),
        task=lesion_task(classes),
        image_size=audit.image_size or _declared_size(audit.model, audit.signature),
        limit=audit.limit,
    )
    examples = Output(DATA, "examples")
    nodes = [Node(examples.node, "adopt", ADOPT_DATA, data, {})]
    said = {"image_size": audit.image_size, "classes": audit.classes}
    for name, path in audit.models().items():
        params = AdoptModelParams(
            model=str(path),
            input=audit.input,
            outputs=audit.outputs,
            signature=audit.signature if path.is_dir() else None,
            stated=tuple(key for key, value in said.items() if value is not None),
        )
        nodes.append(Node(ADOPTED.format(name), "adopt", ADOPT_MODEL, params, {"examples": (examples,)}))
    return [*nodes, *_evaluation(audit, examples)]


def _evaluation(audit: Audit, examples: Output) -> list[Node]:
    """Return the nodes that attack and evaluate the adopted models."""
    names = tuple(audit.models())
    models = {name: Output(ADOPTED.format(name), "model") for name in names}

    shared: dict[str, Any] = {
        "attacks": audit.attacks,
        "epsilons": audit.epsilons,
        "batch_size": audit.batch_size,
        "seed": audit.seed,
        "slices": tuple(feature.name for feature in TASK.derived),
    }

    def probed(name: str) -> ProbeParams:
        # Images that fool the undefended model are tried on the audited one too.
        control = (CONTROL,) if CONTROL in names and name != CONTROL else ()
        return ProbeParams(**shared, transferred=control, corruptions=TASK.corruptions)

    evaluate = EvaluateParams(
        models=names,
        attacks=audit.attacks,
        epsilons=audit.epsilons,
        seed=audit.seed,
        control=None if audit.control is None else CONTROL,
        malignant=audit.malignant,
        slices=shared["slices"],
    )
    return evaluation_nodes(
        models,
        examples,
        predict=lambda name: PredictParams(**shared),
        probe=probed,
        evaluate=evaluate,
        # An audit exports nothing: all that is asked is that its own checks do not fail.
        gate=Gate(candidate=MODEL),
    )


def _check_attacks(audit: Audit, class_count: int) -> None:
    for name, attack in audit.attacks.items():
        if attack.sources:
            raise UserError(f"attack '{name}' transfers from another model, which an audit does not have")
        attack.check_classes(class_count)
        for threat in audit.epsilons:
            attack.check_threat(threat)


def _declared_size(path: Path, signature: str | None) -> Size:
    """Return the image size that a model declares.

    Raises:
        UserError: The model cannot be read, declares no size, or takes no color images.
    """
    if path.is_dir():
        from dermrobust.models.foreign.saved_models import read_signature

        size = read_signature(path, signature).image_size
    else:
        size = _keras_size(path)
    if size is None:
        raise UserError(f"'{path}' takes images of any size; say which: --input-size 224")
    if not all(SMALLEST <= side <= LARGEST for side in height_and_width(size)):
        raise UserError(
            f"'{path}' takes images of {image_size_title(size)}; sides of {SMALLEST} to {LARGEST} px can be audited"
        )
    return size


def _keras_size(path: Path) -> Size | None:
    shape = declared_input(path)
    if shape is None:
        from dermrobust.models.foreign.networks import read_network

        # Whatever is wrong with the file is said here, before anything is written.
        shape = getattr(read_network(path), "input_shape", None)
        if not isinstance(shape, tuple) or len(shape) != 4:
            return None
    return declared_size(shape)
