"""Configs: mistakes are named by their path, and defaults are complete."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.errors import UserError
from dermrobust.components.evaluation.certificate_params import CertifyParams
from dermrobust.components.evaluation.referral_params import ReferParams
from dermrobust.components.ingest.component import IngestParams
from dermrobust.pipeline.cli.main import main
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.config_checks import uncovered_budgets, uncovered_threats
from dermrobust.pipeline.config_files import load_config
from dermrobust.pipeline.graph import build_graph

REPOSITORY = Path(__file__).parents[2]
Values = dict[str, Any]


def at(path: str, value: Any) -> Values:
    """A config in which one key has a value: `at("train.epochs", 3)`."""
    for key in reversed(path.split(".")):
        value = {key: value}
    result: Values = value
    return result


def load(folder: Path, values: Any, *overrides: str) -> PipelineConfig:
    path = folder / "config.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return load_config(path, overrides)


def refusal(folder: Path, values: Any, *overrides: str) -> str:
    """The message with which a config is refused."""
    with pytest.raises(UserError) as raised:
        load(folder, values, *overrides)
    return str(raised.value)


def threshold(**values: Any) -> Values:
    """A config whose gate has one threshold."""
    robust = {"metric": "accuracy", "attack": "worst_case", "epsilon": 1, "min": 0.1}
    thresholds = [{"metric": "accuracy", "min": 0.5} | values, robust]
    return at("evaluate.gate", {"candidate": "pgd", "thresholds": thresholds})


def folder_data(**values: Any) -> Values:
    """A config whose images are in a folder."""
    return at("ingest.dataset", {"dataset": "folder"} | values)


# Mistakes

LESS_THAN_A_LEVEL = "is less than one level of an 8-bit image; the least is 1"
FIRST = "evaluate.gate.thresholds.0"


@pytest.mark.parametrize(
    ("values", "path", "meant"),
    [
        (at("trian", {}), "trian", "train"),
        (at("train.epoch", 3), "train.epoch", "epochs"),
        (folder_data(columns={"image": "x"}), "ingest.dataset.columns.image", "image_id"),
        (folder_data(colums={}), "ingest.dataset.colums", "columns"),
        (at("ingest.splits.tst", 0.1), "ingest.splits.tst", "test"),
        (at("augment.attacks.mine", {"attack": "pgd", "stepz": 1}), "augment.attacks.mine.stepz", "steps"),
        (at("evaluate.attacks.pgd", {"attack": "pgd", "step": 1}), "evaluate.attacks.pgd.step", "steps"),
        (at("augment.train.epoch", 3), "augment.train.epoch", "epochs"),
        (threshold(mim=0.1), "evaluate.gate.thresholds.0.mim", "min"),
    ],
)
def test_an_unknown_key_is_named_with_what_was_meant_and_what_is_allowed(
    tmp_path: Path, values: Values, path: str, meant: str
) -> None:
    message = refusal(tmp_path, values)
    assert str(tmp_path / "config.json") in message
    (line,) = [line for line in message.splitlines() if line.startswith(f"  {path}: there is no such key.")]
    assert f"Did you mean '{meant}'?" in line
    assert meant in line.partition("Allowed: ")[2].rstrip(".").split(", ")


def test_what_is_allowed_for_one_attack_is_not_offered_for_another(tmp_path: Path) -> None:
    message = refusal(tmp_path, at("augment.attacks.fgsm", {"attack": "fgsm", "steps": 3}))
    assert "augment.attacks.fgsm.steps: there is no such key. Allowed: attack, goal." in message


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, at("train.epochs", "many") | at("ingest.dataset", "mnist") | at("beam.runer", "x"))
    for path in ("train.epochs", "ingest.dataset", "beam.runer"):
        assert f"\n  {path}: " in message


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (at("train.epochs", "many"), "train.epochs: Input should be a valid integer"),
        (at("train.epochs", 1.5), "train.epochs: Input should be a valid integer"),
        (at("train.epochs", True), "train.epochs: true and false are no value here"),
        (
            at("evaluate.attacks.pgd", {"attack": "pgd", "steps": True}),
            "evaluate.attacks.pgd.steps: true and false are no",
        ),
        (at("train", 3), "train: Input should be a valid dictionary"),
        (at("root", 3), "root: Input should be a valid string (found: 3)"),
        (at("evaluate.epsilons", 4), "evaluate.epsilons: Input should be a valid tuple"),
        (at("evaluate.epsilons", [1, "two"]), "evaluate.epsilons.1: 'two' is no threat model; write a norm"),
        (at("evaluate.epsilons", [1, "l3:2"]), "evaluate.epsilons.1: 'l3:2' is no threat model"),
        (at("evaluate.epsilons", [True]), "evaluate.epsilons.0: True is no threat model"),
        (at("ingest.dataset", "mnist"), "ingest.dataset: there is no data set 'mnist'; there are: synthetic, ham10000"),
        (
            at("augment.attacks.x", {"attack": "deepfool"}),
            "augment.attacks.x: there is no attack 'deepfool'; there are: fgsm",
        ),
        (at("augment.attacks", "strong"), "augment.attacks: there is no suite 'strong'; there are: paper"),
        (at("train.objective", "hope"), "train.objective: there is no objective 'hope'; there are: cross_entropy"),
        (at("preprocess.color_constancy", "gray"), "preprocess.color_constancy: Input should be 'none' or"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_what_was_found(tmp_path: Path, values: Values, line: str) -> None:
    assert f"\n  {line}" in refusal(tmp_path, values)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (at("evaluate.epsilons", [4, -1]), "evaluate.epsilons.1: epsilon is -1.0; it must be a number above 0"),
        (at("evaluate.epsilons", [0.5]), f"evaluate.epsilons.0: linf:0.5/255 {LESS_THAN_A_LEVEL}"),
        (at("evaluate.epsilons", [256]), "evaluate.epsilons.0: epsilon is 256/255, but more than 255/255"),
        (at("evaluate.epsilons", ["linf:4"]), "evaluate.epsilons.0: epsilon is 1020/255, but more than 255/255"),
        (at("evaluate.epsilons", [4, "l2:0.5"]), "evaluate.epsilons: one evaluation has one norm"),
        (at("evaluate.epsilons", [4, 4]), "evaluate.epsilons: an epsilon stands in the list twice"),
        (at("evaluate.epsilons", []), "evaluate.epsilons: Tuple should have at least 1 item"),
        (at("evaluate.epsilons", [math.nan]), "evaluate.epsilons.0: "),
        (at("augment.epsilon", 0.5), f"augment.epsilon: linf:0.5/255 {LESS_THAN_A_LEVEL}"),
        (at("augment.epsilon", -4), "augment.epsilon: epsilon is -4.0; it must be a number above 0"),
        (
            at("evaluate.attacks.x", {"attack": "apgd_t", "targets": 9}),
            "evaluate.attacks.x: apgd_t: targets is 9, but of the model's 7 classes only 6",
        ),
        (at("evaluate.attacks.x", {"attack": "pgd", "goal": 7}), "evaluate.attacks.x: pgd: goal 7 is no class"),
        (
            at("augment.attacks", {"fgsm": "fgsm", "pgd": "cw_l2"}),
            "augment.attacks.pgd: cw_l2 is defined for l2 only, not for linf",
        ),
        (at("evaluate.epsilons", ["l1:12"]), "evaluate.attacks.fgsm: fgsm is defined for linf, l2 only, not for l1"),
        (
            at("evaluate", {"attacks": "auto", "epsilons": ["l0:24"]}),
            "evaluate.attacks.auto: auto is defined for linf, l2, l1 only, not for l0",
        ),
        (
            at("evaluate", {"attacks": "sparse", "epsilons": ["l0:24"], "referral": {"rates": [0.2]}}),
            "evaluate.referral.attack: evading is defined for linf, l2, l1 only, not for l0",
        ),
        (
            at("evaluate.epsilons", ["l0:24/255"]),
            "evaluate.epsilons.0: 'l0:24/255' is no threat model: l0 counts pixels",
        ),
        (
            at("defences.x", {"objective": {"objective": "pgd", "epsilon": "l1:12"}}),
            "defences.x.objective.epsilon: adversarial training is defined for linf and l2 only, not for l1",
        ),
        (
            at("evaluate.attacks.x", {"attack": "transfer", "source": "other"}),
            "evaluate.attacks.x: there is no model 'other' to transfer from; there are: vanilla, fgsm",
        ),
        (at("defences.vanilla", {"objective": "fast"}), "defences: 'vanilla' is the name of the baseline"),
        (at("defences.pgd", {"objective": "pgd"}), "defences: augment.models has a model 'pgd' as well"),
        (at("defences.x", {"objective": "hope"}), "defences.x.objective: there is no objective 'hope'"),
        (at("ingest.splits", {"validation": 0.5, "test": 0.5}), "ingest.splits: validation and test together"),
        (at("ingest.splits.test", 1), "ingest.splits.test: Input should be less than 1"),
        (at("ingest.splits.validation", 0), "ingest.splits.validation: Input should be greater than 0"),
        (folder_data(classes=["mel", "MEL"]), "ingest.dataset.classes: classes must differ"),
        (folder_data(classes=["mel"]), "ingest.dataset.classes: Tuple should have at least 2 items"),
        (folder_data(columns={"dx": None}), "ingest.dataset.columns.dx: every table has this column; name it"),
        (folder_data(task={"name": "x", "class_names": ["a", "A"]}), "ingest.dataset.task: two classes have the same"),
        (
            folder_data(task={"name": "x", "class_names": ["a", "b"]}, classes=["a", "b"]),
            "ingest.dataset: give 'task' or 'classes', not both",
        ),
        (
            at("ingest.synthetic.count", 200),
            "ingest: the key 'synthetic' has become a part of 'dataset'. "
            'Write {"dataset": {"dataset": "synthetic", "count": 200}}',
        ),
        (
            at("ingest", {"dataset": "folder", "folder": {"classes": ["a", "b"]}}),
            "ingest: the key 'folder' has become a part of 'dataset'. "
            'Write {"dataset": {"dataset": "folder", "classes": ["a", "b"]}}',
        ),
        (at("ingest.max_bad_fraction", 1.01), "ingest.max_bad_fraction: Input should be less than or equal to 1"),
        (at("train.network", "vgg"), "train.network: there is no network 'vgg'; there are: "),
        (at("train.objective", "hinge"), "train.objective: there is no objective 'hinge'; there are: "),
        (at("augment.train.network", "vgg"), "augment.train.network: there is no network 'vgg'; there are: "),
        (at("augment.models", {"mine": ["cw"]}), "augment.models.mine: ['cw'] must name some of augment.attacks"),
        (at("augment.models", {"mine": []}), "augment.models.mine: [] must name some of augment.attacks (fgsm, pgd)"),
        (at("augment.models", {"constant": ["pgd"]}), "augment.models: 'constant' is the name of the classifier"),
        (
            at("defences.constant", {"objective": "fast"}),
            "defences: 'constant' is the name of the classifier that always",
        ),
        (at("augment.models", {"vanilla": ["pgd"]}), "augment.models: 'vanilla' is the name of the baseline"),
        (at("evaluate.attacks", {"none": {"attack": "pgd"}}), "evaluate.attacks: 'none' is a reserved name"),
        (threshold(attack="pgd", epsilon=3), f"{FIRST}.epsilon: 3 is not evaluated; these are: 1, 2, 4, 8"),
        (
            threshold(attack="cw", epsilon=4),
            f"{FIRST}.attack: 'cw' is not evaluated; these are: none, worst_case, fgsm, ",
        ),
        (threshold(**{"class": "wart"}), f"{FIRST}.class: 'wart' is no class; these are: akiec, bcc,"),
        (threshold(lesion="mel"), f"{FIRST}: the key 'lesion' is now 'class', such as"),
        (threshold(min=1.5), f"{FIRST}.min: Input should be less than or equal to 1"),
        (threshold(min_change=0.1), "evaluate.gate: min_change and max_change need a baseline"),
        (at("seed", -1), "seed: Input should be greater than or equal to 0"),
        (at("root", ""), "root: String should have at least 1 character"),
    ],
)
def test_an_impossible_value_is_named_with_its_bounds(tmp_path: Path, values: Values, line: str) -> None:
    assert f"\n  {line}" in refusal(tmp_path, values)


@pytest.mark.parametrize("role", ["candidate", "baseline"])
def test_the_gate_names_models_that_exist(tmp_path: Path, role: str) -> None:
    gate = {"candidate": "pgd", "baseline": "vanilla", "thresholds": [{"metric": "accuracy", "min": 0.5}]}
    message = refusal(tmp_path, at("evaluate.gate", gate | {role: "best"}))
    assert f"evaluate.gate.{role}: there is no model 'best'; there are: vanilla, fgsm, pgd, " in message


def test_the_gate_may_name_classes_of_the_data_set(tmp_path: Path) -> None:
    values = threshold(**{"class": "wart"}) | folder_data(classes=["Wart", "Mole"])
    assert load(tmp_path, values).class_names() == ("wart", "mole")
    values["ingest"]["dataset"] = "synthetic"
    assert "'wart' is no class" in refusal(tmp_path, values)


# Files


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no config file '.*absent\.json'"):
        load_config(tmp_path / "absent.json")


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_config(tmp_path)


def test_the_file_in_the_current_folder_goes_before_the_embedded_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    embedded = load_config(None)
    (tmp_path / "pipeline_config.json").write_text('{"seed": 12345}')
    assert load_config(None).seed == 12345
    assert embedded.seed != 12345


def shipped() -> list[Path]:
    found = sorted(path for folder in ("configs", "benchmarks") for path in (REPOSITORY / folder).glob("*.json"))
    return [REPOSITORY / "pipeline_config.json", *found]


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.name)
def test_every_shipped_config_is_valid_and_says_what_it_reaches(path: Path) -> None:
    assert load_config(path).description


# Overrides


@pytest.mark.parametrize(
    ("override", "path", "expected"),
    [
        ("seed=7", "seed", 7),
        ("root=gs://bucket/x=y", "root", "gs://bucket/x=y"),
        ("train.learning_rate=1e-3", "train.learning_rate", 0.001),
        ("train.xla=false", "train.xla", False),
        ("ingest.path=/some where", "ingest.path", "/some where"),
        ("ingest.path=null", "ingest.path", None),
        ("ingest.splits.salt=other", "ingest.splits.salt", "other"),
        ("evaluate.epsilons=[1,4]", "evaluate.epsilons", ["linf:1/255", "linf:4/255"]),
        ("evaluate.epsilons.1=3", "evaluate.epsilons", ["linf:1/255", "linf:3/255"]),
        ('beam.options=["--a","--b=1"]', "beam.options", ["--a", "--b=1"]),
        ("evaluate.gate.thresholds.0.min=0.25", "evaluate.gate.thresholds.0.min", 0.25),
        ('augment.models={"only": ["pgd"], "pgd": ["pgd"]}', "augment.models", {"only": ["pgd"], "pgd": ["pgd"]}),
        ("augment.attacks.pgd.steps=3", "augment.attacks.pgd.steps", 3),
    ],
)
def test_an_override_sets_its_key_and_no_other(tmp_path: Path, override: str, path: str, expected: Any) -> None:
    values = (
        threshold()
        | at("ingest.path", "raw")
        | at("augment.attacks", {"pgd": {"attack": "pgd"}, "fgsm": {"attack": "fgsm"}})
    )
    values["evaluate"]["epsilons"] = [1, 2]
    before, after = (load(tmp_path, values, *given).model_dump(mode="json") for given in ((), (override,)))
    changed = dict(differences(before, after))
    found: Any = after
    for key in path.split("."):
        found = found[int(key)] if isinstance(found, list) else found[key]
    assert found == expected
    assert changed
    assert all(place == path or place.startswith(f"{path}.") or place in spread(path) for place in changed), changed


def spread(path: str) -> set[str]:
    """Further keys that an override changes: the pipeline's seed is that of its stages."""
    return {"train.seed", "augment.seed", "evaluate.seed"} if path == "seed" else set()


def differences(before: Any, after: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path of every value that differs; a list differs as a whole."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            yield from differences(before.get(key), after.get(key), f"{place}.{key}".lstrip("."))
    elif isinstance(before, list) and isinstance(after, list) and any(isinstance(item, dict) for item in before):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from differences(one, other, f"{place}.{index}")
    elif before != after:
        yield place, after


def test_later_overrides_win(tmp_path: Path) -> None:
    assert load(tmp_path, {"seed": 1}, "seed=2", "seed=3").seed == 3


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed", "--set seed: expected key.key=value"),
        ("=3", "--set =3: expected key.key=value"),
        ("seed.x=3", "--set seed.x: 'seed' is not an object"),
        ("evaluate.epsilons.2=3", "--set evaluate.epsilons.2: '2' is no index of a list of 2"),
        ("evaluate.epsilons.first=3", "'first' is no index of a list of 2"),
        ("evaluate.epsilons.0.x=3", "'0' is not an object"),
        ("seed=1" + "0" * 5000, "--set seed: a number cannot be read"),
        ("seed=" + "[" * 100_000 + "]" * 100_000, "--set seed: the values are nested too deeply"),
        ("train.epochs=true", "train.epochs: true and false are no value here"),
        ('train={"epochs":3,"epochs":4}', "--set train: the key 'epochs' stands twice"),
        ("train.epoch=3", "train.epoch: there is no such key. Did you mean 'epochs'?"),
        ("train.epochs=many", "train.epochs: Input should be a valid integer"),
    ],
)
def test_a_wrong_override_is_refused_in_words(tmp_path: Path, override: str, said: str) -> None:
    assert said in refusal(tmp_path, {"seed": 1, "evaluate": {"epsilons": [1, 2]}}, override)


# Seeds


def seeds(config: PipelineConfig) -> tuple[int, int, int]:
    return config.train.seed, config.augment.seed, config.evaluate.seed


def test_the_seed_of_the_pipeline_is_that_of_every_stage(tmp_path: Path) -> None:
    config = load(tmp_path, {"seed": 7})
    assert seeds(config) == (7, 7, 7)
    assert config.augment.params("pgd").seed == 7
    assert config.hardened_train().seed == 7


def test_a_stage_may_have_a_seed_of_its_own(tmp_path: Path) -> None:
    assert seeds(load(tmp_path, {"seed": 7, "augment": {"seed": 0}})) == (7, 0, 7)
    assert seeds(load(tmp_path, {"train": {"seed": 3}})) == (3, 0, 0)
    assert load(tmp_path, {"seed": 7, "augment": {"train": {"seed": 9}}}).hardened_train().seed == 9


def test_hardened_models_are_trained_as_the_baseline_but_for_what_differs(tmp_path: Path) -> None:
    config = load(tmp_path, {"train": {"epochs": 9, "batch_size": 32}, "augment": {"train": {"epochs": 4}}})
    assert config.hardened_train() == config.train.model_copy(update={"epochs": 4})


# The whole


def test_every_key_has_a_default() -> None:
    assert PipelineConfig.model_validate({}) == PipelineConfig()


configs: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    seed=st.integers(0, 2**31 - 1),
    description=st.text(max_size=10),
    ingest=st.builds(
        IngestParams,
        dataset=st.sampled_from(["synthetic", "ham10000", "folder"]),
        path=st.none() | st.text(max_size=10),
        max_bad_fraction=st.floats(0, 1),
    ).map(lambda params: params.model_dump(mode="json")),
    train=st.fixed_dictionaries({}, optional={"learning_rate": st.floats(1e-9, 1), "seed": st.integers(0, 9)}),
    evaluate=st.fixed_dictionaries(
        {
            "epsilons": st.lists(st.floats(2, 255), max_size=4, unique_by=lambda value: round(value, 6)).map(
                lambda found: [1.0, *(round(value, 6) for value in found)]
            ),
            "attacks": st.dictionaries(
                st.sampled_from("abc"), st.builds(PGD, steps=st.integers(1, 50)).map(PGD.model_dump), min_size=1
            ).map(lambda found: {"pgd": {"attack": "pgd"}} | found),
        }
    ),
)


@settings(max_examples=60)
@given(values=configs)
def test_what_is_dumped_validates_to_the_same(values: Values) -> None:
    config = PipelineConfig.model_validate(values)
    text = json.dumps(config.model_dump(mode="json"), allow_nan=False)
    assert PipelineConfig.model_validate(json.loads(text)) == config


def test_every_property_of_the_schema_is_described() -> None:
    schema = PipelineConfig.model_json_schema()
    definitions = schema["$defs"]
    missing = [
        f"{name}.{key}"
        for name, model in [("PipelineConfig", schema), *definitions.items()]
        for key, value in model.get("properties", {}).items()
        if not described(value, definitions)
    ]
    assert missing == []


def described(value: Values, definitions: Values) -> bool:
    """Whether a property has a description; one with a single value, the tag of an attack, needs none."""
    # Pydantic leaves out a description that is also that of the model which the property refers to.
    referred = definitions.get(value.get("$ref", "").removeprefix("#/$defs/"), {})
    return bool(value.get("description") or referred.get("description") or "const" in value)


def test_the_papers_claim_is_a_gate() -> None:
    """The example of the documentation is read as it stands there."""
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text()
    gate = json.loads("{" + page[page.index('"gate": {') :].rstrip() + "}")["gate"]
    config = PipelineConfig.model_validate({"evaluate": {"epsilons": ["linf:4/255"], "gate": gate}})
    gain, melanoma = config.evaluate.gate.thresholds
    assert (gain.metric, gain.attack, gain.epsilon, gain.min_change) == ("balanced_accuracy", "worst_case", 4, 0.2)
    assert (melanoma.class_name, melanoma.attack, melanoma.min_change) == ("mel", "none", -0.05)
    assert config.evaluate.gate.checks == "no_failure"


def test_every_input_is_an_output_of_an_earlier_node() -> None:
    evaluate = {
        "certificates": {"sigmas": [0.25]},
        "threats": ["geometry:0.5"],
        "transferred": ["vanilla"],
        "referral": {"rates": [0.2]},
    }
    for values in ({}, {"evaluate": evaluate}):
        earlier: set[str] = set()
        for node in build_graph(PipelineConfig.model_validate(values)):
            assert {output.node for outputs in node.inputs.values() for output in outputs} <= earlier, node.id
            assert node.id not in earlier
            earlier.add(node.id)
        assert {"predict[pgd]", "probe[pgd]", "escalate[pgd]", "evaluate", "gate", "export"} <= earlier


def test_probes_and_readings_reach_their_components() -> None:
    evaluate = {"probes": {"images": 7}, "min_slice_size": 9, "malignant": ["mel"], "seed": 5}
    config = PipelineConfig.model_validate({"evaluate": evaluate})
    nodes = {node.id: node for node in build_graph(config)}
    assert nodes["probe[vanilla]"].params.model_dump()["images"] == 7
    assert nodes["probe[vanilla]"].inputs["transferred"] == ()
    (crafted,) = nodes["probe[pgd]"].inputs["transferred"]
    assert [output.node for output in nodes[crafted.node].inputs["model"]] == ["train[vanilla]"]
    read = nodes["evaluate"].params.model_dump()
    assert (read["min_slice_size"], read["malignant"], read["seed"], read["control"]) == (9, ("mel",), 5, "vanilla")


@pytest.mark.parametrize(
    "thresholds",
    [
        [],
        [{"metric": "accuracy", "min": 0.5}],
        [{"metric": "accuracy", "attack": "noise", "epsilon": 1, "min": 0.5}],
        [{"metric": "accuracy", "attack": "transfer", "epsilon": 1, "min": 0.5}],
    ],
)
def test_a_gate_that_asks_nothing_under_attack_is_refused(tmp_path: Path, thresholds: list[Values]) -> None:
    transfer = {"attack": "transfer", "source": "vanilla", "crafted_with": "fgsm"}
    evaluate = {
        "epsilons": [1, 2],
        "attacks": {"noise": "noise", "fgsm": "fgsm", "transfer": transfer},
        "gate": {"candidate": "pgd", "thresholds": thresholds},
    }
    message = refusal(tmp_path, {"evaluate": evaluate})
    assert "evaluate.gate.thresholds: none asks for anything under attack" in message
    suggested = json.loads(message[message.index("{") : message.index("}") + 1])
    evaluate["gate"] = {"candidate": "pgd", "thresholds": [*thresholds, suggested]}
    config = load(tmp_path, {"evaluate": evaluate})
    assert [str(budget) for budget in uncovered_budgets(config.evaluate)] == ["linf:1/255"]


def test_a_threshold_asks_for_something_beyond_a_norm(tmp_path: Path) -> None:
    def checked(
        epsilon: str, attack: str = "worst_case", threats: tuple[str, ...] = ("colour:1", "geometry:0.5")
    ) -> Any:
        thresholds = [
            {"metric": "accuracy", "attack": "pgd", "epsilon": 1, "min": 0.1},
            {"metric": "accuracy", "class": "mel", "attack": attack, "epsilon": epsilon, "min": 0.5},
        ]
        gate = {"candidate": "pgd", "thresholds": thresholds}
        evaluate = {"attacks": {"pgd": "pgd"}, "epsilons": [1], "threats": threats, "gate": gate}
        return load(tmp_path, {"evaluate": evaluate}).evaluate

    evaluate = checked("colour:1")
    asked = evaluate.gate.thresholds[1]
    assert (asked.attack, asked.epsilon) == ("colour/worst_case", 1.0)
    assert str(asked) == "accuracy under worst_case at colour:1 (class=mel)"
    assert type(asked).model_validate(asked.model_dump()) == asked
    # Strength 1 of colour is no budget of 1/255.
    assert uncovered_budgets(evaluate) == ()
    assert [str(threat) for threat in uncovered_threats(evaluate)] == ["geometry:0.5"]
    assert len(uncovered_threats(checked("colour:1", "random"))) == 2
    for wrong, message in (
        (("colour:0.5",), r"thresholds.1.epsilon: colour:0.5 is not in evaluate.threats; these are: colour:1, geo"),
        (("colour:1", "pgd"), r"thresholds.1.attack: 'colour/pgd' is not searched; these are: worst_case, adaptive"),
        (("colour:1", "none"), r'epsilon "colour:1" needs an attack'),
        (("colour:1", "geometry/random"), r'attack "geometry/random" is none under "colour:1"'),
        (("colour:1", "worst_case", ("colour:1", "colour:1")), r"'colour:1' stands in the list twice"),
        (("colour:2", "worst_case", ("colour:2",)), r"colour:2: the strength must be 0.0001 to 1"),
    ):
        with pytest.raises(UserError, match=message):
            checked(*wrong)
    with pytest.raises(UserError, match="epsilons: 'colour:1' is a threat model beyond a norm; name it in threats"):
        load(tmp_path, {"evaluate": {"epsilons": [1, "colour:1"]}})


def test_a_threshold_asks_for_something_of_a_smoothed_classifier(tmp_path: Path) -> None:
    def checked(certificates: Values | None = None, **asked: Any) -> Any:
        thresholds = [
            {"metric": "accuracy", "attack": "pgd", "epsilon": 1, "min": 0.1},
            {"metric": "accuracy", "attack": "certified/0.25", "min": 0.1, **asked},
        ]
        evaluate: Values = {
            "attacks": {"pgd": "pgd"},
            "epsilons": [1],
            "gate": {"candidate": "pgd", "thresholds": thresholds},
            "certificates": {"sigmas": [0.25], "radii": ["l2:0.5", "l2:0.25"], **(certificates or {})},
        }
        return load(tmp_path, {"evaluate": evaluate})

    config = checked(epsilon="l2:0.5")
    asked = config.evaluate.gate.thresholds[1]
    assert str(asked) == "accuracy of certified/0.25 at l2:0.5"
    assert type(asked).model_validate(asked.model_dump()) == asked
    assert type(config).model_validate(config.model_dump(mode="json")) == config
    nodes = {node.id: node for node in build_graph(config)}
    certify = nodes["certify[pgd]"].params
    assert isinstance(certify, CertifyParams)
    assert [threat.radius for threat in certify.radii] == [0.25, 0.5]
    assert "dermrobust.attacks.cleverhans.pgd" in certify.plugins()
    assert [output.node for output in nodes["evaluate"].inputs["certificates"]] == [
        f"certify[{name}]" for name in config.model_names()
    ]
    assert not any(node.id.startswith("certify") for node in build_graph(load(tmp_path, {})))
    assert checked(metric="mean_certified_radius") and checked(attack="smoothed/0.25", epsilon="l2:0.25")
    for wrong, message in (
        ({"attack": "certified/0.5"}, r"'certified/0.5' is not evaluated; .* these are: certified/0.25, smoothed/0.25"),
        ({"epsilon": "l2:1"}, r"thresholds.1.epsilon: l2:1 is not evaluated; these are: l2:0, l2:0.25, l2:0.5"),
        (
            {"attack": "smoothed/0.25", "epsilon": "l2:0.5", "certificates": {"attack_draws": 0}},
            r"l2:0.5 is not evaluated; these are: l2:0$",
        ),
        ({"metric": "macro_auc"}, r"macro_auc is not measured of smoothed classifiers"),
        (
            {"metric": "abstention_rate", "epsilon": "l2:0.5"},
            r'needs an attack such as "certified/0.25", with epsilon 0',
        ),
        ({"metric": "abstention_rate", "attack": "pgd", "epsilon": 1}, r'needs an attack such as "certified/0.25"'),
        ({"metric": "balanced_accuracy", "min_change": 0.1}, r"has no interval; bound its value"),
        ({"certificates": {"radii": ["linf:4/255"]}}, r"certificates.radii.*is no length"),
        ({"certificates": {"sigmas": [0.25, 0.25]}}, r"a sigma stands in the list twice"),
        ({"certificates": {"samples": 9}}, r"samples: 9 cannot certify anything at alpha 0.001; the least is 10"),
        ({"certificates": {"attack": "square"}}, r"certificates.*square is defined for linf only, not for l2"),
    ):
        with pytest.raises(UserError, match=message):
            checked(**wrong)


def test_a_threshold_asks_for_something_of_a_classifier_that_refers_images(tmp_path: Path) -> None:
    def checked(referral: Values | None = None, export: Values | None = None, **asked: Any) -> Any:
        first = {"metric": "accuracy", "attack": "pgd", "epsilon": 1, "min": 0.1}
        second = {"metric": "unreferred_missed", "attack": "referral/0.2/worst_case", "epsilon": 1, "max": 0.1}
        evaluate: Values = {
            "attacks": {"pgd": "pgd"},
            "epsilons": [1],
            "gate": {"candidate": "pgd", "thresholds": [first, {**second, **asked}]},
            "referral": {"rates": [0.2, 0.1], "attack": {"steps": 7}, **(referral or {})},
        }
        return load(tmp_path, {"evaluate": evaluate, "export": export or {}})

    config = checked(slice="dx=mel", export={"referral_rate": 0.2})
    asked = config.evaluate.gate.thresholds[1]
    assert str(asked) == "unreferred_missed under worst_case at epsilon 1 with a referral rate of 0.2 (dx=mel)"
    assert type(config).model_validate(config.model_dump(mode="json")) == config
    nodes = {node.id: node for node in build_graph(config)}
    refer = nodes["refer[pgd]"].params
    assert isinstance(refer, ReferParams)
    assert (refer.rates, refer.attack.steps, [threat.epsilon for threat in refer.epsilons]) == ((0.1, 0.2), 7, [1])
    assert [output.node for output in nodes["evaluate"].inputs["referrals"]] == [
        f"refer[{name}]" for name in config.model_names()
    ]
    assert [output.node for output in nodes["export"].inputs["referrals"]] == ["refer[pgd]"]
    plain = {node.id: node for node in build_graph(load(tmp_path, {}))}
    assert not any(name.startswith("refer") for name in plain) and "referrals" not in plain["export"].inputs
    assert checked(metric="coverage", attack="referral/0.1/none", epsilon=0)
    for wrong, message in (
        ({"attack": "referral/0.3/none", "epsilon": 0}, r"'referral/0.3/none' is not evaluated; .*referral/0.1/none"),
        ({"epsilon": 4}, r"thresholds.1.epsilon: 4 is not evaluated; these are: 1"),
        ({"attack": "referral/0.2/none"}, r"means clean images: epsilon must be 0"),
        ({"attack": "pgd"}, r'unreferred_missed needs an attack such as "referral/0.2/worst_case"'),
        ({"metric": "ece"}, r"ece is not measured of classifiers that refer images"),
        ({"referral": {"rates": [0.2, 0.2]}}, r"a rate stands in the list twice"),
        ({"referral": {"rates": [0.2, 1]}}, r"referral.rates.1.*less than 1"),
        ({"export": {"referral_rate": 0.5}}, r"export.referral_rate: 0.5 is not in .*; these are: 0.1, 0.2"),
    ):
        with pytest.raises(UserError, match=message):
            checked(**wrong)


def test_validation_names_budgets_that_no_threshold_covers(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(threshold() | at("description", "any")))
    told = CliRunner().invoke(main, ["config", "validate", "--config", str(path), "--set", "evaluate.epsilons=[1,4]"])
    assert told.exit_code == 0
    assert "no threshold of the gate covers linf:4/255" in told.output
    told = CliRunner().invoke(main, ["config", "validate", "--config", str(path), "--set", "evaluate.epsilons=[1]"])
    assert "no threshold" not in told.output
