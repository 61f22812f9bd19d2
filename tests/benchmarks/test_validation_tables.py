"""Tables of validation figures: of trained models, and of the networks between two of them."""

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from benchmarks import trade_off, trainings, validation, views
from dermrobust.components.artifacts import ArtifactStore, ArtifactType
from dermrobust.components.examples import SPEC, Split
from dermrobust.components.model_files import METRICS, NETWORK
from dermrobust.models.balanced_accuracy import mean_recall
from dermrobust.models.classifier import save_network
from dermrobust.pipeline.config import PipelineConfig
from tests.benchmarks.roots import COUNT, LABELS, PIXELS, SIZE, note_run, published, write_examples
from tests.small_networks import CLASS_COUNT, colored_images, trained_network

FIGURES = r"^\| (vanilla|robust) \| 3 \| 0 \| (\S+) \| \S+ \| (\S+) \|$"
"""Rows of models: name, balanced accuracy clean, and that at the one budget."""


def saving(network: keras.Model) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        save_network(network, folder / NETWORK)
        (folder / METRICS).write_text(json.dumps({"epoch": 3}))

    return save


@pytest.fixture(scope="module")
def networks() -> list[keras.Model]:
    """A network that learned, and one that always answers the first class."""
    learned = trained_network(*colored_images(256, SIZE))
    constant = keras.models.clone_model(learned)
    constant.set_weights([0.1 * weight for weight in learned.get_weights()])
    constant.layers[-1].bias.assign(10.0 * np.eye(CLASS_COUNT)[0])
    return [learned, constant]


@pytest.fixture
def config_file(networks: list[keras.Model], tmp_path: Path) -> Path:
    """Config of a run that trained them as `vanilla` and `robust`."""
    config = PipelineConfig(root=str(tmp_path))
    store = ArtifactStore(config.root)
    models = [published(store, ArtifactType.MODEL, str(index), saving(each)) for index, each in enumerate(networks)]
    examples = published(
        store, ArtifactType.EXAMPLES, "examples", lambda folder: write_examples(folder, Split.VALIDATION)
    )
    note_run(config, "run", {"preprocess": examples, "train[vanilla]": models[0], "train[robust]": models[1]})
    path = tmp_path / "config.json"
    config_values = {"defences": {"robust": {}}, "augment": {"models": {}, "attacks": {}}, "root": config.root}
    path.write_text(json.dumps(config_values))
    return path


def balanced_accuracy(network: keras.Model) -> float:
    predicted = np.argmax(network(PIXELS / np.float32(255), training=False), axis=1)
    return mean_recall(
        np.bincount(LABELS[predicted == LABELS], minlength=CLASS_COUNT), np.bincount(LABELS, minlength=CLASS_COUNT)
    )


def test_the_ends_of_the_curve_are_the_models_and_attacks_only_lower_the_figures(
    networks: list[keras.Model], config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "rows.json"

    code = trade_off.main(["--config", str(config_file), "--model", "robust", "--steps", "3", "--json", str(figures)])

    rows = json.loads(figures.read_text())
    assert code == 0
    assert [row["share"] for row in rows] == list(trade_off.SHARES)
    assert rows[0]["clean"] == pytest.approx(balanced_accuracy(networks[0]))
    assert rows[-1]["clean"] == pytest.approx(balanced_accuracy(networks[1])) == pytest.approx(1 / CLASS_COUNT)
    assert rows[0]["clean"] > 0.8
    assert 1 >= rows[0]["macro AUC"] > rows[-1]["macro AUC"] > 0.5
    assert all(row["4/255"] <= row["2/255"] <= row["1/255"] <= row["clean"] for row in rows)
    assert len(re.findall(r"^\| \d", capsys.readouterr().out, re.M)) == len(trade_off.SHARES)


def test_every_trained_model_has_a_row(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trainings.main(["--config", str(config_file), "--steps", "2"]) == 0

    rows = [
        line.split(" | ") for line in capsys.readouterr().out.splitlines() if re.match(r"\| (vanilla|robust)", line)
    ]
    assert [row[:3] for row in rows] == [["| vanilla", "3", "0"], ["| robust", "3", "0"]]
    assert float(rows[0][3]) > 0.8 > float(rows[1][3])


def test_models_are_compared_with_a_reference_image_by_image(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", str(config_file), "--steps", "2", "--budgets", "4", "--reference", "vanilla"]

    assert trainings.main(arguments) == 0

    printed = capsys.readouterr().out
    figures = {row[0]: (float(row[1]), float(row[2])) for row in re.findall(FIGURES, printed, re.M)}
    (robust,) = re.findall(r"^\| robust \| (\S+) \[(\S+), (\S+)\] \| (\S+) \[(\S+), (\S+)\] \|$", printed, re.M)
    clean, lower, upper, attacked = (float(value) for value in robust[:4])
    assert clean == pytest.approx(figures["robust"][0] - figures["vanilla"][0], abs=2e-3)
    assert attacked == pytest.approx(figures["robust"][1] - figures["vanilla"][1], abs=2e-3)
    # 96 images, most of which only one of the two classifies correctly.
    assert lower < clean < upper < 0
    assert 0.1 < upper - lower < 0.4


def test_a_reference_that_was_not_trained_is_refused(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        trainings.main(["--config", str(config_file), "--reference", "absent"])

    assert stopped.value.code == 2
    assert "no model 'absent' among vanilla, robust" in capsys.readouterr().err


def test_intervals_of_differences_resample_lesions(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))
    ranks = np.array([np.sum(LABELS[:row] == LABELS[row]) for row in range(COUNT)])
    lesions = [f"{label}-{rank // 4}" for label, rank in zip(LABELS, ranks, strict=True)]
    right = np.ones(COUNT, bool)
    # Images of a lesion are classified alike, so four images say no more than one.
    answers = {
        name: validation.Answers(LABELS, {"clean": flags}, 0.5)
        for name, flags in {"all": right, "half": ranks // 4 % 2 == 0}.items()
    }
    widths = {}
    for key, groups in {"images": [""] * COUNT, "lesions": lesions}.items():
        write = functools.partial(write_examples, split=Split.VALIDATION, lesions=groups)
        examples = published(store, ArtifactType.EXAMPLES, key, write)
        (row,) = validation.changes(answers, "all", examples)
        change, lower, upper = (float(value) for value in re.findall(r"[-+][\d.]+", row["clean"]))
        assert lower < change < upper < 0
        widths[key] = upper - lower

    assert 1.5 < widths["lesions"] / widths["images"] < 2.5


@pytest.mark.parametrize("main", [trade_off.main, trainings.main])
def test_examples_of_another_version_are_refused(
    main: Callable[[list[str]], int], config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (spec,) = tmp_path.glob(f"artifacts/examples/*/{SPEC}")
    spec.write_text(json.dumps({"colour": 1} | json.loads(spec.read_text())))

    with pytest.raises(SystemExit) as stopped:
        main(["--config", str(config_file)])

    assert stopped.value.code == 2
    assert "another version of dermrobust" in capsys.readouterr().err


@pytest.mark.parametrize("main", [trade_off.main, trainings.main])
def test_a_root_without_these_models_is_refused(main: Callable[[list[str]], int], tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"root": str(tmp_path)}))

    with pytest.raises(SystemExit) as stopped:
        main(["--config", str(path)])
    assert stopped.value.code == 2


@pytest.mark.parametrize("chosen", ["run", "file"])
def test_all_views_of_an_image_are_measured(
    chosen: str, networks: list[keras.Model], config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_network(networks[0], file := tmp_path / "vanilla.keras")

    code = views.main(
        ["--config", str(config_file), *{"run": ("--models", "vanilla"), "file": ("--file", str(file))}[chosen]]
    )

    rows = re.findall(r"^\| vanilla \| ([a-z ]+) \| \S+ \| (\S+) \|", capsys.readouterr().out, re.M)
    figures = {name: float(value) for name, value in rows}
    assert code == 0
    assert figures["as it is"] == pytest.approx(balanced_accuracy(networks[0]), abs=5e-4)
    ordered = [figures[f"{name} of the views"] for name in ("least", "mean", "greatest")]
    assert ordered == sorted(ordered) and ordered[0] <= figures["as it is"] <= ordered[2]
    # Colors tell the classes apart, which no flip changes.
    assert figures["averaged logits"] > 0.8


def test_the_views_are_the_eight_symmetries_of_a_square() -> None:
    image = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)

    seen = {tuple(np.ravel(view).astype(int)) for view in views.views(image)}

    turns = [np.rot90(image[0, :, :, 0], times) for times in range(4)]
    assert seen == {tuple(each.ravel().astype(int)) for turn in turns for each in (turn, turn.T)}
