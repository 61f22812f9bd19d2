"""Interrupted trainings resume to the same bytes: from damaged checkpoints, on another machine, with their events."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from dermrobust.components import storage
from dermrobust.components.artifacts import LOGS, Artifact
from dermrobust.components.examples import ExamplesSpec, Split
from dermrobust.components.model_files import HISTORY
from dermrobust.components.progress import Silent, Task
from dermrobust.components.train.checkpoint import Checkpoints, TrainingState
from dermrobust.components.train.component import TrainParams
from dermrobust.components.train.loop import train
from dermrobust.components.train.work_folder import local_work
from tests.components.conftest import IMAGE_SIZE, Make, Workshop
from tests.components.trainings import Interrupted, Steps, changed, network_bytes, training
from tests.memory_storage import FILES
from tests.small_networks import CLASS_COUNT, tiny_network

Events = dict[str, list[tuple[int, Any]]]


@pytest.fixture
def per_epoch(examples: Artifact, train_params: TrainParams) -> int:
    """Steps of an epoch."""
    return ExamplesSpec.read(examples).counts[Split.TRAIN] // train_params.batch_size


def events_of(folder: str) -> Events:
    """(step, value) of each event by its tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(folder, size_guidance={"tensors": 0}).Reload()
    return {
        tag: [(event.step, float(tf.make_ndarray(event.tensor_proto))) for event in found.Tensors(tag)]
        for tag in found.Tags()["tensors"]
    }


def expected_events(history: list[dict[str, float]]) -> Events:
    tags = [tag for tag in history[0] if tag != "epoch"]
    return {tag: [(int(row["epoch"]), pytest.approx(row[tag], rel=1e-6)) for row in history] for tag in tags}


@pytest.mark.parametrize("epochs_done", [0, 1, 3])
def test_an_interrupted_training_resumes_to_the_same_bytes(
    epochs_done: int, model: Artifact, train_params: TrainParams, train_model: Make, per_epoch: int
) -> None:
    name = f"interrupted_after_{epochs_done}"
    with pytest.raises(Interrupted):
        train_model(train_params, name, Steps(last=epochs_done * per_epoch + 2))
    steps = Steps()

    resumed = train_model(train_params, name, steps)

    assert steps.advances[0] == epochs_done * per_epoch  # not from the beginning
    assert sum(steps.advances) == steps.total == train_params.epochs * per_epoch
    assert network_bytes(resumed) == network_bytes(model)
    assert resumed.digest == model.digest


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "data cut": (".data-00000-of-00001", cut),
    "data garbled": (".data-00000-of-00001", garble),
    "data empty": (".data-00000-of-00001", empty),
    "data missing": (".data-00000-of-00001", Path.unlink),
    "index cut": (".index", cut),
    "index garbled": (".index", garble),
    "index empty": (".index", empty),
}


class Saved:
    """Checkpoints of three epochs, with a variable of each type that trainings have."""

    def __init__(self, folder: Path) -> None:
        self.state = TrainingState()
        self.variables = [keras.Variable(np.zeros((4, 3)), dtype=dtype) for dtype in ("float32", "uint32", "int32")]
        self.best = [tf.Variable([0.0, 0.0])]
        self.checkpoints = Checkpoints(folder, self.state, self.variables, self.best)
        self.lines: list[str] = []

    def save(self, epoch: int) -> None:
        """Save values that tell the epoch."""
        self.state.epoch, self.state.best_score = epoch, epoch / 3
        self.state.history.append({"epoch": epoch, "loss": 0.1 * epoch})
        for variable in (*self.variables, *self.best):
            variable.assign(np.full(variable.shape, epoch, np.dtype(variable.numpy().dtype)))
        self.checkpoints.save()

    def restored(self) -> int:
        """The epoch that is restored; state and all variables are of it."""
        self.checkpoints.restore(self.lines.append)
        epoch = self.state.epoch
        assert self.state.best_score == (epoch / 3 if epoch else -1.0)
        assert self.state.history == [{"epoch": done, "loss": 0.1 * done} for done in range(1, epoch + 1)]
        for variable in (*self.variables, *self.best):
            assert (variable.numpy() == epoch).all()
        return epoch


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    trained = Saved(tmp_path)
    for epoch in (1, 2, 3):
        trained.save(epoch)
    return tmp_path


def test_the_last_two_checkpoints_are_kept_and_the_newest_is_restored(saved: Path) -> None:
    again = Saved(saved)

    assert sorted(path.name for path in saved.glob("*.index")) == ["epoch-2.index", "epoch-3.index"]
    assert (again.restored(), again.lines) == (3, [])


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_newest_complete_checkpoint_is_restored(damage: str, saved: Path) -> None:
    suffix, harm = DAMAGES[damage]
    harm(saved / f"epoch-3{suffix}")
    again = Saved(saved)

    assert again.restored() == 2
    assert again.lines == ["the checkpoint of epoch 3 is damaged; resuming from epoch 2"]
    again.save(3)
    assert Saved(saved).restored() == 3


@pytest.mark.parametrize("damage", DAMAGES)
def test_without_a_complete_checkpoint_nothing_is_changed(damage: str, saved: Path) -> None:
    suffix, harm = DAMAGES[damage]
    for epoch in (2, 3):
        harm(saved / f"epoch-{epoch}{suffix}")
    again = Saved(saved)

    assert (again.restored(), again.lines) == (0, ["no checkpoint is complete; starting anew"])


def test_a_damaged_list_of_checkpoints_and_a_half_written_one_are_no_obstacle(saved: Path) -> None:
    garble(saved / "checkpoint")
    (saved / "epoch-4.data-00000-of-00001").write_bytes(b"its index is written later")
    (saved / "epoch-4_temp").mkdir()
    again = Saved(saved)

    assert (again.restored(), again.lines) == (3, [])


def test_a_training_with_damaged_checkpoints_starts_anew_and_says_so(
    model: Artifact, train_params: TrainParams, train_model: Make, per_epoch: int, workshop: Workshop
) -> None:
    with pytest.raises(Interrupted):
        train_model(train_params, "damaged", Steps(last=per_epoch + 2))
    garble(workshop.root / "work" / "damaged" / "checkpoints" / "epoch-1.data-00000-of-00001")
    steps = Steps()

    resumed = train_model(train_params, "damaged", steps)

    assert (steps.advances[0], steps.lines[0]) == (0, "train: no checkpoint is complete; starting anew")
    assert resumed.digest == model.digest


def test_tensorboard_shows_every_epoch(model: Artifact) -> None:
    assert events_of(model.path(LOGS)) == expected_events(model.read_json(HISTORY))


def test_events_outlive_a_crash_and_each_is_there_once(
    model: Artifact, train_params: TrainParams, train_model: Make, per_epoch: int, workshop: Workshop
) -> None:
    with pytest.raises(Interrupted):
        train_model(train_params, "events", Steps(last=2 * per_epoch + 2))
    history = model.read_json(HISTORY)

    kept = events_of(str(workshop.root / "work" / "events" / LOGS))
    resumed = train_model(train_params, "events")

    assert kept == expected_events(history[:2])
    assert events_of(resumed.path(LOGS)) == expected_events(history)


def test_another_machine_resumes_from_remote_storage(
    examples: Artifact, train_params: TrainParams, tmp_path: Path, per_epoch: int
) -> None:
    FILES.clear()
    uri = "memory://root/work/fingerprint"
    network, elsewhere, whole = (tiny_network((IMAGE_SIZE, IMAGE_SIZE, 3), CLASS_COUNT, 0) for _ in range(3))
    params = changed(train_params, epochs=4)
    steps = Steps(last=3 * per_epoch + 2)

    def scored() -> dict[str, float]:
        return {"balanced_accuracy": 0.5}

    with pytest.raises(Interrupted), local_work(uri) as work, steps.task("train", None, "steps") as task:
        train(training(examples, work, network, params, scored), params, task)
    kept = {name for name in storage.list_files(uri) if name.startswith("checkpoints/")}
    resumed = Steps()
    with local_work(uri) as work, resumed.task("train", None, "steps") as task:
        state = train(training(examples, work, elsewhere, params, scored), params, task)
    with Silent().task("train", None, "steps") as task:
        expected = train(training(examples, tmp_path, whole, params, scored), params, task)

    parts = (".data-00000-of-00001", ".index")
    assert kept == {
        "checkpoints/checkpoint",
        *(f"checkpoints/epoch-{epoch}{part}" for epoch in (2, 3) for part in parts),
    }
    assert resumed.advances[0] == 3 * per_epoch
    assert state.history == expected.history
    for one, other in zip(elsewhere.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_crash_while_a_checkpoint_is_uploaded_leaves_the_one_before(
    examples: Artifact, train_params: TrainParams, per_epoch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    FILES.clear()
    uri = "memory://root/work/uploading"
    network = tiny_network((IMAGE_SIZE, IMAGE_SIZE, 3), CLASS_COUNT, 0)
    write = storage.write_bytes

    def interrupted(uri: str, content: bytes) -> None:
        if uri.endswith("epoch-2.index"):
            raise Interrupted
        write(uri, content)

    def started(task: Task) -> None:
        given = training(examples, work, network, train_params, lambda: {"balanced_accuracy": 0.5})
        train(given, train_params, task)

    monkeypatch.setattr(storage, "write_bytes", interrupted)
    with pytest.raises(Interrupted), local_work(uri) as work, Silent().task("train", None, "steps") as task:
        started(task)
    monkeypatch.undo()
    steps = Steps(last=per_epoch + 1)

    with pytest.raises(Interrupted), local_work(uri) as work, steps.task("train", None, "steps") as task:
        started(task)

    assert steps.advances[0] == per_epoch
