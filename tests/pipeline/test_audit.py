"""The graph of an audit, and what its command says to mistakes before any work is done."""

import json
import os
import re
from pathlib import Path
from typing import Any

import keras
import pytest
from click.testing import CliRunner, Result

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact, ArtifactType
from dermrobust.components.audit.component import AdoptDataParams, AdoptModelParams
from dermrobust.components.evaluation import files
from dermrobust.components.evaluation.blessing import Blessing
from dermrobust.components.evaluation.measure_params import MeasureParams
from dermrobust.components.evaluation.params import EvaluateParams, PredictParams, ProbeParams
from dermrobust.components.evaluation.referral_params import ReferParams
from dermrobust.components.evaluation.transform_params import TransformParams
from dermrobust.components.examples_layout import Split
from dermrobust.components.foreign_files import ADOPTION
from dermrobust.models.foreign.spec import InputFormat
from dermrobust.pipeline.audit import audit_graph
from dermrobust.pipeline.audit_settings import Audit
from dermrobust.pipeline.cli.main import main
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.config_sections import BeamConfig
from dermrobust.pipeline.nodes import Node
from dermrobust.pipeline.outcomes import CACHED, NodeResult, RunResult
from tests.datasets import write_table
from tests.foreign_models import SIZE, learned


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.keras"
    learned().save(path)
    return path


@pytest.fixture
def given(tmp_path: Path, model: Path) -> dict[str, Any]:
    """The least that an audit needs; the classes of the labels are not sorted."""
    (tmp_path / "images").mkdir()
    write_table(tmp_path / "labels.csv", [{"image_id": name, "dx": name} for name in ("nv", "bcc", "mel")])
    return {"model": model, "data": tmp_path / "images", "labels": tmp_path / "labels.csv"}


def graph(given: dict[str, Any], **changes: Any) -> dict[str, Node]:
    return {node.id: node for node in audit_graph(Audit.model_validate({**given, **changes}))}


def test_a_model_is_adopted_attacked_and_evaluated(given: dict[str, Any]) -> None:
    nodes = graph(given)

    assert list(nodes)[:3] == ["adopt[data]", "adopt[model]", "predict[model]"]
    assert list(nodes)[-2:] == ["evaluate", "gate"]
    data, evaluate = nodes["adopt[data]"].params, nodes["evaluate"].params
    assert isinstance(data, AdoptDataParams)
    assert isinstance(evaluate, EvaluateParams)
    assert (data.preprocessing.image_size, data.task.class_names) == (SIZE, ("bcc", "mel", "nv"))
    assert evaluate.models == ("model",)


def test_threats_beyond_a_norm_are_searched_where_they_are_named(given: dict[str, Any]) -> None:
    plain, beyond = graph(given), graph(given, threats=("colour:1", "patch:0.05"), seed=7)
    assert set(beyond) - set(plain) == {"transform[model]"}
    params = beyond["transform[model]"].params
    assert isinstance(params, TransformParams)
    assert [str(threat) for threat in params.threats] == ["colour:1", "patch:0.05"]
    assert params.seed == 7
    assert {"dermrobust.attacks.transforms.colour", "dermrobust.attacks.transforms.adaptive"} <= params.plugins()
    assert [output.node for output in beyond["evaluate"].inputs["transformed"]] == ["transform[model]"]
    assert plain["evaluate"].inputs["transformed"] == ()


def test_images_are_referred_by_what_is_fitted_to_other_images(given: dict[str, Any], tmp_path: Path) -> None:
    others = {"validation_data": tmp_path / "others", "validation_labels": tmp_path / "others.csv"}
    plain = graph(given)
    nodes = graph(given, **others, referral={"rates": [0.2]}, epsilons=(2.0,), malignant=("bcc",), seed=7)

    assert set(nodes) - set(plain) == {"refer[model]"}
    data, refer, evaluate = (nodes[name].params for name in ("adopt[data]", "refer[model]", "evaluate"))
    assert isinstance(data, AdoptDataParams)
    assert isinstance(refer, ReferParams)
    assert isinstance(evaluate, MeasureParams)
    assert data.sources()[Split.VALIDATION] == (tmp_path / "others", tmp_path / "others.csv")
    assert (refer.rates, refer.seed, refer.malignant) == ((0.2,), 7, ("bcc",))
    assert [threat.epsilon for threat in refer.epsilons] == [2.0]
    assert evaluate.referral.rates == (0.2,)
    assert [output.node for output in nodes["evaluate"].inputs["referrals"]] == ["refer[model]"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {},
            "attack 'auto' needs gradients, but of 'http://127.0.0.1:9/v1/models/skin' only the answers are available",
        ),
        ({"attacks": "black-box", "threats": ("colour:1",)}, "threat 'colour:1' is searched through gradients"),
        (
            {
                **{"attacks": "black-box", "referral": {"rates": [0.2]}},
                **{"validation_data": "others", "validation_labels": "others.csv"},
            },
            "the attack that knows of a rejector needs gradients",
        ),
    ],
)
def test_what_needs_gradients_is_refused_for_a_black_box(
    given: dict[str, Any], changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        graph(given, model="http://127.0.0.1:9/v1/models/skin", image_size=SIZE, **changes)


def test_images_are_of_the_size_that_a_model_declares_or_that_is_given(given: dict[str, Any], tmp_path: Path) -> None:
    for name, shape in (("rectangular", (16, 24, 3)), ("any", (None, None, 3))):
        head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
        keras.Sequential([keras.Input(shape), *head]).save(tmp_path / f"{name}.keras")
    any_size = {**given, "model": tmp_path / "any.keras"}

    sizes = [
        nodes["adopt[data]"].params.model_dump()["preprocessing"]["image_size"]
        for nodes in (
            graph({**given, "model": tmp_path / "rectangular.keras"}),
            graph(any_size, image_size=(16, 24)),
            graph(any_size, image_size=32),
        )
    ]

    assert sizes == [(16, 24), (16, 24), 32]
    with pytest.raises(UserError, match="takes images of any size; give one"):
        graph(any_size)


@pytest.mark.parametrize("control", [False, True])
def test_every_input_is_an_output_of_an_earlier_node(control: bool, given: dict[str, Any]) -> None:
    made: dict[tuple[str, str], ArtifactType] = {}
    for node in graph(given, control=given["model"] if control else None).values():
        assert set(node.inputs) == set(node.component.inputs)
        for name, outputs in node.inputs.items():
            assert {made[output.node, output.name] for output in outputs} <= {node.component.inputs[name]}
        made |= {(node.id, name): type_ for name, type_ in node.component.outputs.items()}


def test_a_control_is_evaluated_beside_the_model_and_lends_it_its_examples(given: dict[str, Any]) -> None:
    nodes = graph(given, control=given["model"])

    evaluate = nodes["evaluate"].params
    assert isinstance(evaluate, EvaluateParams)
    assert evaluate.models == ("model", "control")
    (crafted,) = nodes["probe[model]"].inputs["transferred"]
    assert [output.node for output in nodes[crafted.node].inputs["model"]] == ["adopt[control]"]
    assert nodes["probe[control]"].inputs["transferred"] == ()


def test_what_is_said_reaches_the_components(given: dict[str, Any]) -> None:
    said = {"limit": 5, "batch_size": 3, "gradient_precision": "bfloat16", "seed": 9}
    nodes = graph(given, classes=("C", "b", "A"), image_size=64, input={"range": "-1..1"}, **said)

    data, model, predict = (nodes[name].params for name in ("adopt[data]", "adopt[model]", "predict[model]"))
    assert isinstance(data, AdoptDataParams)
    assert isinstance(model, AdoptModelParams)
    assert isinstance(predict, PredictParams)
    assert (data.task.class_names, data.preprocessing.image_size, data.limit) == (("c", "b", "a"), 64, 5)
    assert model.input == InputFormat.model_validate({"range": "-1..1"})
    assert model.stated == ("image_size", "classes")
    assert (predict.batch_size, predict.gradient_precision, predict.seed) == (3, "bfloat16", 9)
    assert isinstance(probe := nodes["probe[model]"].params, ProbeParams)
    assert probe.gradient_precision == "bfloat16"


def command(given: dict[str, Any], root: Path, *options: str) -> Result:
    arguments = [part for name in ("model", "data", "labels") for part in (f"--{name}", str(given[name]))]
    return CliRunner().invoke(main, ["audit", *arguments, "--output", str(root / "out"), *options])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--epsilon", "nonsense"), "'nonsense' is no threat model"),
        (("--epsilon", "linf:4/255", "--epsilon", "l2:0.5"), "one evaluation has one norm"),
        (("--epsilon", "4", "--epsilon", "linf:4/255"), "stands in the list twice"),
        (
            ("--suite", "nonsuch"),
            "no suite 'nonsuch'; there are: paper, standard, auto, auto-screened, auto-standard, auto-plus, auto-rand, "
            "minimal, black-box",
        ),
        (("--suite", "auto", "--epsilon", "l2:0.001"), "less than one level"),
        (("--suite", "auto", "--epsilon", "l0:24"), "auto is defined for linf, l2, l1 only, not for l0"),
        (("--model", "http://127.0.0.1:9/v1/models/skin"), "no usable answer from http://127.0.0.1:9/v1/models/skin"),
        (("--refer", "0.2"), "give such images and their labels: --validation-data and --validation-labels"),
        (("--refer", "0.2", "--validation-data", "others"), "give such images and their labels: --validation-data"),
        (("--validation-data", "others"), "validation images serve selective prediction alone; add a rate: --refer"),
        (("--refer", "20"), "referral.rates.0: Input should be less than 1"),
        (("--mean", "a,b,c"), "--mean a,b,c: expected one number, or three"),
        (("--mean", "0.5"), "mean and standard deviation belong together"),
        (("--classes", "mel,MEL,nv"), "two classes have the same name"),
        (("--classes", "nonesuch.json"), "cannot be read as JSON"),
        (("--input-size", "4"), "image_size: a side of an image has 8 to 1024 pixels; found 4"),
        (("--input-size", "large"), "image_size: expected one number for a square, or [height, width]"),
        (("--malignant", "mel,zork"), "--malignant: 'zork' is no class; these are: "),
        (("--signature", "x"), "is a Keras file, which has no signatures"),
        (("--model", "nonesuch.keras"), "there is no model 'nonesuch.keras'"),
        (("--control", "nonesuch.keras"), "there is no model 'nonesuch.keras'"),
        (("--model", "."), "'.' is no SavedModel: it has no file saved_model.pb"),
        (("--labels", "nonesuch.csv"), "'nonesuch.csv' cannot be read"),
        (("--set", "beam.runner=DaskRunner"), "beam.runner: DaskRunner is refused: it loses data"),
        (("--set", "beam.nonsuch=1"), "beam.nonsuch: there is no such key"),
        (("--set", "evaluate.seed=1"), "only keys of beam can be set here"),
        (("--config", "nonesuch.json"), "there is no config file 'nonesuch.json'"),
    ],
)
def test_mistakes_end_with_a_message_and_code_2(
    options: tuple[str, ...], told: str, given: dict[str, Any], tmp_path: Path
) -> None:
    result = command(given, tmp_path, *options)

    assert result.exit_code == 2, result.output
    assert told in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
    assert not (tmp_path / "out" / "artifacts").exists()


@pytest.mark.parametrize(("blessed", "code"), [(True, 0), (False, 3)])
def test_the_exit_code_is_the_answer_of_the_gate(
    blessed: bool, code: int, given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blessing").mkdir()
    answer = Blessing(
        blessed=blessed,
        candidate="model",
        baseline=None,
        thresholds=(),
        checks=() if blessed else ("Access to the model: fail. It is a black box.",),
    )
    (tmp_path / "blessing" / files.BLESSING).write_text(answer.model_dump_json())
    judged = Artifact(ArtifactType.BLESSING, "0badcafe", "0badcafe", str(tmp_path / "blessing"))
    result = RunResult("run", (NodeResult("gate", CACHED, outputs={"blessing": judged}),))
    monkeypatch.setattr("dermrobust.pipeline.audit.run_graph", lambda *_, **__: result)

    plain, as_json = command(given, tmp_path), command(given, tmp_path, "--json")

    assert (plain.exit_code, as_json.exit_code) == (code, code), plain.output
    assert json.loads(as_json.stdout)["exit_code"] == code
    told = " ".join(plain.stderr.split())
    assert ("error: gate: 'model' is not blessed: Access to the model: fail. It is a black box." in told) is not blessed


@pytest.mark.parametrize(
    ("node", "kind", "name"),
    [("gate", ArtifactType.BLESSING, files.BLESSING), ("adopt[model]", ArtifactType.MODEL, ADOPTION)],
)
def test_a_file_of_another_version_ends_with_a_message_and_code_2(
    node: str, kind: ArtifactType, name: str, given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Artifact(kind, "0badcafe", "0badcafe", str(tmp_path / "kept"))
    storage.write_json(kept.path(name), {"of": "a later version"})
    result = RunResult("run", (NodeResult(node, CACHED, outputs={kind.value: kept}),))
    monkeypatch.setattr("dermrobust.pipeline.audit.run_graph", lambda *_, **__: result)

    told = command(given, tmp_path)

    assert told.exit_code == 2, told.output
    assert f"{name}' was written by another version of dermrobust" in " ".join(told.stderr.split())
    assert "Traceback" not in told.output


@pytest.mark.parametrize("name", ["model.keras", "model.onnx"])
def test_a_pipe_for_a_model_is_refused_at_the_door(name: str, given: dict[str, Any], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)

    result = command(given, tmp_path, "--model", str(tmp_path / name))

    assert result.exit_code == 2, result.output
    assert f"{name}' is no regular file" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--mean", "123.7,116.3,103.5", "--std", "58.4"), "0..255 (mean 123.7 116.3 103.5, std 58.4)"),
        (("--mean", "0.5", "--std", "0.25"), "0..1 (mean 0.5, std 0.25)"),
        (("--input-range", "-1..1"), "-1..1"),
    ],
)
def test_how_the_input_is_said(
    options: tuple[str, ...], expected: str, given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Audit] = []

    def listen(audit: Audit, *_: object, **__: object) -> None:
        heard.append(audit)
        raise KeyboardInterrupt

    monkeypatch.setattr("dermrobust.pipeline.audit.run_audit", listen)

    command(given, tmp_path, *options, "--epsilon", "2", "--epsilon", "linf:4/255")

    assert str(heard[0].input) == expected
    assert [threat.epsilon for threat in heard[0].epsilons] == [2.0, 4.0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), BeamConfig()),
        (("--set", "beam.runner=PortableRunner"), BeamConfig(runner="PortableRunner")),
        (("--config", "cluster.json"), BeamConfig(runner="FlinkRunner", options=("--parallelism=4",))),
        (
            ("--config", "cluster.json", "--set", 'beam.options=["--parallelism=8"]'),
            BeamConfig(runner="FlinkRunner", options=("--parallelism=8",)),
        ),
    ],
)
def test_the_work_runs_on_the_given_beam_runner(
    options: tuple[str, ...],
    expected: BeamConfig,
    given: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = {"beam": {"runner": "FlinkRunner", "options": ["--parallelism=4"]}, "train": {"epochs": 1}}
    monkeypatch.chdir(tmp_path)
    Path("cluster.json").write_text(json.dumps(config))
    heard: list[PipelineConfig] = []

    def listen(config: PipelineConfig, *_: object, **__: object) -> None:
        heard.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr("dermrobust.pipeline.audit.run_graph", listen)

    command(given, tmp_path, *options)

    assert heard[0].beam == expected
