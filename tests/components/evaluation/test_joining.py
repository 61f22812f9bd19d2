from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from apache_beam.internal import pickler
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dermrobust.components.evaluation.names import CLEAN, WORST_CASE
from dermrobust.components.measure import joining
from dermrobust.models.tasks.ham10000 import lesion_task

TASK = lesion_task(("bkl", "mel", "nv"))
SKILL = {"vanilla": 1.5, "robust": 1.0}
IMAGES, CLASSES = 6, 3
CONDITIONS = [(CLEAN, 0.0), ("fgsm", 4.0), ("pgd", 4.0), ("pgd", 8.0)]


@pytest.fixture
def tables(make_predictions: Callable[..., dict[str, pa.Table]]) -> dict[str, pa.Table]:
    return make_predictions(SKILL, images=20)


def table_of(labels: Any, probabilities: Any) -> pa.Table:
    """Predictions for CONDITIONS from labels [image] and probabilities [condition, image, class]."""
    names = [f"ISIC_{index}" for index in range(len(labels))]
    return pa.table(
        {
            "image_id": names * len(CONDITIONS),
            "attack": [attack for attack, _ in CONDITIONS for _ in names],
            "epsilon": pa.array([epsilon for _, epsilon in CONDITIONS for _ in names], pa.float32()),
            "label": np.tile(np.asarray(labels, dtype=np.int64), len(CONDITIONS)),
            "lesion_id": [""] * len(names) * len(CONDITIONS),
            **{name: ["x"] * len(names) * len(CONDITIONS) for name in TASK.slices},
            "probabilities": pa.array(
                np.asarray(probabilities, dtype=np.float32).reshape(-1, CLASSES).tolist(), pa.list_(pa.float32())
            ),
            "radius": pa.nulls(len(CONDITIONS) * len(names), pa.float32()),
        }
    )


def selected(shard: joining.JoinedShard, model: str, attack: str, epsilon: float) -> tuple[list[str], Any]:
    """Image names and probabilities of one condition, by image."""
    chosen = (shard.rows["attack"].to_numpy() == attack) & (shard.rows["epsilon"].to_numpy() == np.float32(epsilon))
    names = shard.rows["image_id"].to_numpy()[chosen]
    order = np.argsort(names)
    return names[order].tolist(), shard.probabilities[model][chosen][order]


def margins(probabilities: Any, labels: Any) -> Any:
    true = np.eye(probabilities.shape[-1], dtype=bool)[labels]
    return probabilities[true] - np.where(true, -np.inf, probabilities).max(axis=-1)


def test_rows_meet_by_image_attack_and_epsilon_whatever_their_order(tables: dict[str, pa.Table]) -> None:
    backwards = tables["robust"].take(pa.array(np.arange(tables["robust"].num_rows)[::-1]))
    joined = joining.join_models({"vanilla": tables["vanilla"], "robust": backwards}, TASK)

    keys = list(zip(*(joined.rows[name].to_pylist() for name in joining.ROW_KEY), strict=True))
    for model in SKILL:
        expected = {
            (row["attack"], row["epsilon"], row["image_id"]): row["probabilities"] for row in tables[model].to_pylist()
        }
        assert len(keys) == len(expected)
        assert joined.probabilities[model].tolist() == [expected[key] for key in keys]


def test_missing_rows_are_refused(tables: dict[str, pa.Table]) -> None:
    with pytest.raises(ValueError, match=r"'vanilla' \(100 rows\) and 'robust' \(99 rows\) differ"):
        joining.join_models({**tables, "robust": tables["robust"].slice(1)}, TASK)


def test_repeated_rows_are_refused(tables: dict[str, pa.Table]) -> None:
    repeated = {model: pa.concat_tables([table, table.slice(0, 1)]) for model, table in tables.items()}
    with pytest.raises(ValueError, match="several predictions for the same image"):
        joining.join_models(repeated, TASK)


def test_other_labels_are_refused(tables: dict[str, pa.Table]) -> None:
    other = tables["robust"].set_column(2, "label", pa.array([0] * tables["robust"].num_rows))
    with pytest.raises(ValueError, match="differ in images, attacks, epsilons or labels"):
        joining.join_models({**tables, "robust": other}, TASK)


def test_labels_outside_the_classes_are_refused(tables: dict[str, pa.Table]) -> None:
    wrong = {
        model: table.set_column(2, "label", pa.array([4] * table.num_rows, pa.int64()))
        for model, table in tables.items()
    }
    with pytest.raises(ValueError, match="has label 4, not 0 to 3"):
        joining.join_models(wrong, TASK)


def test_probabilities_that_are_not_finite_are_refused(tables: dict[str, pa.Table]) -> None:
    place = tables["robust"].column_names.index("probabilities")
    values = tables["robust"]["probabilities"].to_pylist()
    values[0][1] = float("nan")
    broken = tables["robust"].set_column(place, "probabilities", pa.array(values, pa.list_(pa.float32())))
    with pytest.raises(ValueError, match=r"'robust' gives probabilities that are not finite \(image 'ISIC_0000'\)"):
        joining.join_models({**tables, "robust": broken}, TASK)


def test_models_of_different_classes_are_refused(tables: dict[str, pa.Table]) -> None:
    place = tables["robust"].column_names.index("probabilities")
    fewer = pa.array([row[:3] for row in tables["robust"]["probabilities"].to_pylist()], pa.list_(pa.float32()))
    with pytest.raises(ValueError, match=r"number of classes: \{'vanilla': 4, 'robust': 3\}"):
        joining.join_models({**tables, "robust": tables["robust"].set_column(place, "probabilities", fewer)}, TASK)


def test_an_image_without_clean_prediction_is_refused(tables: dict[str, pa.Table]) -> None:
    attacked = {model: table.filter(pa.array(table["attack"].to_numpy() != CLEAN)) for model, table in tables.items()}
    with pytest.raises(ValueError, match="image 'ISIC_0000' has no clean prediction"):
        joining.with_worst_case(joining.join_models(attacked, TASK))


# Few levels, so that ties between classes and between attacks are common.
levels = st.sampled_from([0.0, 0.25, 0.5, 1.0])


@settings(max_examples=100)
@given(
    labels=arrays(np.int64, IMAGES, elements=st.integers(0, CLASSES - 1)),
    probabilities=arrays(np.float32, (2, len(CONDITIONS), IMAGES, CLASSES), elements=levels),
)
def test_worst_case_is_the_smallest_margin_of_each_image_and_model(labels: Any, probabilities: Any) -> None:
    models = {"a": probabilities[0], "b": probabilities[1]}
    joined = joining.join_models({model: table_of(labels, values) for model, values in models.items()}, TASK)
    shard = joining.with_worst_case(joined)

    for model, values in models.items():
        for epsilon in (4.0, 8.0):
            among = [place for place, (attack, budget) in enumerate(CONDITIONS) if attack == CLEAN or budget == epsilon]
            right = values[among].argmax(axis=-1) == labels
            names, worst = selected(shard, model, WORST_CASE, epsilon)
            assert names == [f"ISIC_{index}" for index in range(IMAGES)]
            smallest = np.min([margins(values[place], labels) for place in among], axis=0)
            np.testing.assert_array_equal(margins(worst, labels), smallest)
            np.testing.assert_array_equal(worst.argmax(axis=-1) == labels, right.all(axis=0))
            assert (worst.argmax(axis=-1) == labels).mean() <= right.mean(axis=1).min()


def test_threat_models_are_never_mixed() -> None:
    """Strength 4 of colour is another threat than 4/255: neither worst case takes anything from the other."""
    right, wrong = [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]
    names = {"fgsm": "colour/adaptive", "pgd": "pgd", CLEAN: CLEAN}
    # Under pgd at 4/255 the first image is wrong, under colour all but the first.
    found = {
        (CLEAN, 0.0): [right] * IMAGES,
        ("fgsm", 4.0): [right, *[wrong] * (IMAGES - 1)],
        ("pgd", 4.0): [wrong, *[right] * (IMAGES - 1)],
        ("pgd", 8.0): [right] * IMAGES,
    }
    table = table_of([0] * IMAGES, [found[condition] for condition in CONDITIONS])
    renamed = pa.array([names[name] for name in table["attack"].to_pylist()])
    shard = joining.join_models({"a": table.set_column(table.column_names.index("attack"), "attack", renamed)}, TASK)
    broke = pa.table({"image_id": ["ISIC_5"], "epsilon": pa.array([4.0], pa.float32()), "probabilities": [wrong]})

    worst = joining.with_worst_case(shard, {"a": broke})

    def broken(attack: str, epsilon: float) -> list[int]:
        return np.flatnonzero(selected(worst, "a", attack, epsilon)[1].argmax(axis=1)).tolist()

    assert broken(WORST_CASE, 4) == [0, 5]  # probes attack under the norm
    assert broken(WORST_CASE, 8) == []
    assert broken("colour/worst_case", 4) == [1, 2, 3, 4, 5]
    conditions = {*CONDITIONS, (WORST_CASE, 4.0), (WORST_CASE, 8.0), ("colour/worst_case", 4.0)}
    seen = zip(worst.rows["attack"].to_pylist(), worst.rows["epsilon"].to_pylist(), strict=True)
    assert set(seen) == {(names.get(attack, attack), epsilon) for attack, epsilon in conditions}


def test_worst_case_counts_only_images_that_were_attacked() -> None:
    table = table_of(np.zeros(IMAGES), np.full((len(CONDITIONS), IMAGES, CLASSES), 0.5))
    spared = (table["image_id"].to_numpy() == "ISIC_2") & (table["epsilon"].to_numpy() == 8)
    shard = joining.with_worst_case(joining.join_models({"a": table.filter(pa.array(~spared))}, TASK))
    assert "ISIC_2" in selected(shard, "a", WORST_CASE, 4)[0]
    assert "ISIC_2" not in selected(shard, "a", WORST_CASE, 8)[0]


def test_attacked_rows_carry_what_the_model_says_of_the_clean_image() -> None:
    probabilities = np.zeros((len(CONDITIONS), 2, CLASSES))
    probabilities[0, :, 1], probabilities[1:, :, 2] = 1, 1
    shard = joining.join_models({"a": table_of([1, 2], probabilities)}, TASK)
    (batch,) = joining.wide_batches(shard, TASK)
    clean = {(row["attack"][0], row["label"][0]): row[joining.clean_feature("a")][0] for row in batch.to_pylist()}
    assert clean == {(attack, label): -1 if attack == CLEAN else 1 for attack, label in clean}


def test_images_of_a_lesion_are_one_cluster_and_an_image_without_one_is_its_own() -> None:
    rows = pa.table({"image_id": ["a", "b", "c", "d"], "lesion_id": ["x", "x", "", ""]})
    first, second, third, fourth = joining.clusters(rows, TASK)
    assert first == second
    assert len({first, third, fourth}) == 3


def test_what_a_probe_broke_counts_in_the_worst_case() -> None:
    probabilities = np.zeros((len(CONDITIONS), IMAGES, CLASSES))
    probabilities[..., 0] = 1
    shard = joining.join_models({"a": table_of(np.zeros(IMAGES), probabilities)}, TASK)
    probes = pa.table(
        {
            "image_id": ["ISIC_1", "ISIC_2", "ISIC_3", "ISIC_4"],
            "epsilon": pa.array([4, 4, 4, 64], pa.float32()),
            # The second is weaker than what was found before but for its doubt; the third was not tried.
            "probabilities": pa.array([[0, 1, 0], [0.9, 0.1, 0], None, [0, 0, 1]], pa.list_(pa.float32())),
        }
    )
    worst = joining.with_worst_case(shard, {"a": probes})
    images, found = selected(worst, "a", WORST_CASE, 4)
    expected: dict[str, list[float]] = {"ISIC_1": [0, 1, 0], "ISIC_2": [0.9, 0.1, 0]}
    np.testing.assert_allclose(found, [expected.get(image, [1, 0, 0]) for image in images], rtol=1e-6)
    np.testing.assert_array_equal(selected(worst, "a", WORST_CASE, 8)[1], [[1, 0, 0]] * IMAGES)


def test_batches_hold_every_row_once_as_lists(tables: dict[str, pa.Table]) -> None:
    shard = joining.with_worst_case(joining.join_models(tables, TASK))
    batches = list(joining.wide_batches(shard, TASK, max_rows=32))
    assert max(batch.num_rows for batch in batches) == 32
    wide = pa.Table.from_batches(batches)
    assert all(pa.types.is_list(field.type) for field in wide.schema)
    assert wide.num_rows == shard.rows.num_rows == tables["vanilla"].num_rows + 2 * 20
    for model, probabilities in shard.probabilities.items():
        assert wide[joining.predictions_feature(model)].to_pylist() == probabilities.tolist()


def test_a_worker_reads_only_its_shard(
    tables: dict[str, pa.Table], make_shards: Callable[..., Any], tmp_path: Path
) -> None:
    shards = make_shards(tmp_path, tables, shard_count=4)
    join = pickler.loads(pickler.dumps(joining.JoinShards(shards, TASK)))
    for uris in shards.values():
        Path(uris[0]).unlink()
    rows = [batch.num_rows for index in (1, 2, 3) for batch in join.process(index)]
    assert rows == [5 * (5 + 2)] * 3


def test_unequal_shards_are_refused() -> None:
    with pytest.raises(ValueError, match=r"equal numbers of prediction shards, found \{'a': 2, 'b': 1\}"):
        joining.JoinShards({"a": ["x", "y"], "b": ["x"]}, TASK)


def test_a_missing_column_is_named(
    tables: dict[str, pa.Table], make_shards: Callable[..., Any], tmp_path: Path
) -> None:
    shards = make_shards(tmp_path, {"a": tables["vanilla"].drop_columns(["label"])}, shard_count=1)
    with pytest.raises(ValueError, match=r"has no column label \(found: image_id, lesion_id, dx"):
        list(joining.JoinShards(shards, TASK).process(0))
