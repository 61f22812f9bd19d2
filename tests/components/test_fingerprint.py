"""Fingerprints: they change with all that shapes a result, and with nothing else."""

import ast
import re

import pytest
from pydantic import Field

from dermrobust.components import fingerprint as fingerprints
from dermrobust.components.artifacts import Artifact, ArtifactType
from dermrobust.components.augment.component import AUGMENT, AugmentParams
from dermrobust.components.component import NOT_IN_FINGERPRINT, Component, Params
from dermrobust.components.export.component import EXPORT
from dermrobust.components.fingerprint import fingerprint, library_versions, source_digest
from dermrobust.components.ingest.component import INGEST, IngestParams
from dermrobust.components.measure.component import EVALUATE
from dermrobust.components.predict.component import PREDICT
from dermrobust.components.preprocess.component import PREPROCESS
from dermrobust.components.train.component import TRAIN, TrainParams
from tests.conftest import Edit

REAL = (INGEST, PREPROCESS, TRAIN, AUGMENT, PREDICT, EVALUATE, EXPORT)


class Settings(Params):
    """Parameters of a component for tests."""

    steps: int = 1
    place: str = Field("here", json_schema_extra=NOT_IN_FINGERPRINT)


def component(name: str = "sample", executor: str = "dermrobust.components.storage:exists") -> Component:
    return Component(name, Settings, {}, {}, executor, libraries=("pydantic",))


def artifact(digest: str, fingerprint_: str = "f", uri: str = "/u") -> Artifact:
    return Artifact(ArtifactType.MODEL, fingerprint_, digest, uri)


def test_it_is_the_same_for_the_same() -> None:
    inputs = {"model": (artifact("d"),)}

    first = fingerprint(component(), Settings(), inputs)

    assert first == fingerprint(component(), Settings(), inputs)
    assert re.fullmatch(r"[0-9a-f]{32}", first)


def test_it_changes_with_a_parameter() -> None:
    assert fingerprint(component(), Settings(steps=2), {}) != fingerprint(component(), Settings(), {})


def test_it_does_not_change_with_a_parameter_that_shapes_no_result() -> None:
    assert fingerprint(component(), Settings(place="there"), {}) == fingerprint(component(), Settings(), {})


def test_where_the_raw_files_lie_shapes_no_result() -> None:
    params = [IngestParams(path=path) for path in ("/here", "/there", None)]

    assert len({fingerprint(INGEST, given, {}) for given in params}) == 1


def test_a_default_that_is_written_out_is_no_change() -> None:
    params = [TrainParams(), TrainParams.model_validate(TrainParams().model_dump())]

    assert len({fingerprint(TRAIN, given, {}) for given in params}) == 1


def test_it_changes_with_the_content_of_an_input_and_nothing_else_of_it() -> None:
    one, other = ({"model": (artifact(digest),)} for digest in ("d1", "d2"))
    moved = {"model": (artifact("d1", fingerprint_="another", uri="/elsewhere"),)}

    assert fingerprint(component(), Settings(), one) != fingerprint(component(), Settings(), other)
    assert fingerprint(component(), Settings(), one) == fingerprint(component(), Settings(), moved)


def test_it_changes_with_the_number_and_order_of_inputs_and_with_their_names() -> None:
    a, b = artifact("a"), artifact("b")
    given: list[dict[str, tuple[Artifact, ...]]] = [
        {},
        {"x": ()},
        {"x": (a,)},
        {"x": (a, b)},
        {"x": (b, a)},
        {"x": (a,), "y": (b,)},
        {"x": (b,), "y": (a,)},
    ]

    assert len({fingerprint(component(), Settings(), inputs) for inputs in given}) == len(given)


def test_the_order_in_which_inputs_are_named_is_no_change() -> None:
    a, b = (artifact("a"),), (artifact("b"),)

    assert fingerprint(component(), Settings(), {"x": a, "y": b}) == fingerprint(
        component(), Settings(), {"y": b, "x": a}
    )


def test_it_changes_with_the_component() -> None:
    assert fingerprint(component("one"), Settings(), {}) != fingerprint(component("other"), Settings(), {})


def test_it_changes_with_what_is_read_besides_artifacts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(INGEST, IngestParams(), {})
    monkeypatch.setattr("dermrobust.components.ingest.raw_content.digest", lambda params: "other files")

    assert fingerprint(INGEST, IngestParams(), {}) != before


def test_it_changes_with_the_version_of_a_library(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(component(), Settings(), {})
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99.0")
    fingerprints.library_versions.cache_clear()

    assert library_versions(("pydantic",))["pydantic"] == "99.0"
    assert fingerprint(component(), Settings(), {}) != before


@pytest.mark.parametrize("real", REAL, ids=lambda real: real.name)
def test_every_library_that_a_component_names_is_installed(real: Component) -> None:
    kernels = {"onednn"} if "tensorflow" in real.libraries else set()
    assert library_versions(real.libraries).keys() == {"python", *kernels, *real.libraries}


def test_it_changes_with_the_kernels_of_tensorflow(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(INGEST, IngestParams(), {})
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    fingerprints.library_versions.cache_clear()

    assert fingerprint(INGEST, IngestParams(), {}) != before


@pytest.mark.parametrize(
    ("executor", "module", "change"),
    [
        ("dermrobust.components.train.executor", "dermrobust.components.train.executor", "def run"),
        ("dermrobust.components.train.executor", "dermrobust.components.train.loop", "def train"),
        ("dermrobust.components.train.executor", "dermrobust.components.storage", "_CHUNK = "),
        ("dermrobust.components.train.executor", "dermrobust.models.objectives.losses", "def cross_entropy"),  # late
        ("dermrobust.components.augment.executor", "dermrobust.attacks.engine", "def attack_pixels"),
        ("dermrobust.components.predict.executor", "dermrobust.models.classifier", "def attack_target"),
        ("dermrobust.components.preprocess.executor", "dermrobust.models.pixels", "def decode"),
        (
            "dermrobust.components.ingest.datasets.synthetic.source",
            "dermrobust.components.ingest.datasets.synthetic.lesion",
            "import numpy",
        ),
        ("dermrobust.components.export.executor", "dermrobust.components.export.canary", "def ask"),
    ],
)
def test_it_changes_with_the_code_of_every_module_that_takes_part(
    executor: str, module: str, change: str, edit: Edit
) -> None:
    before = source_digest(executor)

    edit(module, change, f"edited = 1\n{change}")

    assert source_digest(executor) != before


TRAINED = TrainParams.model_validate({"network": "resnet", "objective": "trades"})
CRAFTED = AugmentParams.model_validate({"attack": "pgd"})


@pytest.mark.parametrize(
    ("real", "params", "module", "change", "counts"),
    [
        (TRAIN, TRAINED, "dermrobust.models.networks.resnet", "class ResNet", True),
        (TRAIN, TRAINED, "dermrobust.models.networks.residual", "def residual_network", True),
        (TRAIN, TRAINED, "dermrobust.models.networks.small_resnet", "class SmallResNet", False),
        (TRAIN, TRAINED, "dermrobust.models.objectives.trades", "class Trades", True),
        (TRAIN, TRAINED, "dermrobust.models.objectives.cross_entropy", "class CrossEntropy", False),
        (TRAIN, TRAINED, "dermrobust.models.registry", "NETWORKS = ", False),
        (AUGMENT, CRAFTED, "dermrobust.attacks.cleverhans.pgd", "class PGD", True),
        (AUGMENT, CRAFTED, "dermrobust.attacks.cleverhans.gradient_step", "def gradient_steps", True),  # imported late
        (AUGMENT, CRAFTED, "dermrobust.attacks.cleverhans.fgsm", "class FGSM", False),
        (AUGMENT, CRAFTED, "dermrobust.attacks.registry", "ATTACKS = ", False),
    ],
)
def test_of_the_plugins_those_count_that_are_selected(
    real: Component, params: Params, module: str, change: str, counts: bool, edit: Edit
) -> None:
    before = fingerprint(real, params, {})

    edit(module, change, f"edited = 1\n{change}")

    assert (fingerprint(real, params, {}) != before) is counts


@pytest.mark.parametrize(
    "module",
    [
        "dermrobust.components.measure.metrics",
        "dermrobust.components.export.signatures",
        "dermrobust.components.train.loop",
    ],
)
def test_it_does_not_change_with_the_code_of_other_components(module: str, edit: Edit) -> None:
    before = source_digest("dermrobust.components.preprocess.executor")

    edit(module, "import ", "edited = 1\nimport ")

    assert source_digest("dermrobust.components.preprocess.executor") == before


@pytest.mark.parametrize(
    ("change", "replacement"),
    [
        ('"""File access', '"""Access to files'),
        ('    """Return whether a URI is', '    """Is a URI'),
        ('    """File of an artifact', '    """A file of an artifact'),
        ("import contextlib", "# A comment.\n\n\nimport contextlib  # and another"),
    ],
    ids=["docstring of a module", "docstring of a function", "docstring of a class", "comments and layout"],
)
def test_comments_layout_and_docstrings_are_no_change(change: str, replacement: str, edit: Edit) -> None:
    before = source_digest("dermrobust.components.storage")

    edit("dermrobust.components.storage", change, replacement)

    assert source_digest("dermrobust.components.storage") == before


def test_the_docstring_of_a_constant_is_no_change(edit: Edit) -> None:
    before = source_digest("dermrobust.components.examples")

    edit("dermrobust.components.examples", '"""Features that a record has', '"""Features that each record has')

    assert source_digest("dermrobust.components.examples") == before


def test_the_first_statement_of_a_function_without_a_docstring_counts(edit: Edit) -> None:
    before = source_digest("dermrobust.components.storage")

    edit("dermrobust.components.storage", '    return "://" not in uri', '    return "//" not in uri')

    assert source_digest("dermrobust.components.storage") != before


@pytest.mark.parametrize("real", REAL, ids=lambda real: real.name)
def test_no_executor_imports_relatively(real: Component) -> None:
    """Fingerprints follow absolute imports only."""
    path = fingerprints._source_path(real.executor.split(":")[0])
    assert path is not None

    imports = [node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.ImportFrom)]

    assert all(node.level == 0 for node in imports)
