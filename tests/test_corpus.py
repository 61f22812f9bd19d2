"""Bad and hostile input is read rightly, set aside or refused with its reason, and has no other effect."""

from __future__ import annotations

import functools
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.fuzz_targets.ledgers import use_ledger
from benchmarks.fuzz_targets.onnx_files import ask_onnx
from benchmarks.fuzz_targets.served_models import AnsweringServer
from benchmarks.fuzz_targets.service_requests import post
from dermrobust.attacks.errors import UserError
from dermrobust.components import raw_dataset
from dermrobust.components.csv_table import read_csv
from dermrobust.components.examples import read_shard
from dermrobust.components.image_record import IMAGE_SUFFIXES
from dermrobust.components.image_validation import BadRecord, check_image
from dermrobust.components.ingest.datasets.builder import ImageConfig
from dermrobust.components.ingest.datasets.folder.builder import Folder
from dermrobust.components.ingest.datasets.folder.source import FolderSource
from dermrobust.components.ingest.image_sources import index_images, read_image
from dermrobust.models.foreign.networks import opened, read_network
from dermrobust.models.foreign.outputs import is_differentiable
from dermrobust.models.foreign.saved_models import copy_files, load_outputs, read_signature
from dermrobust.models.pixels import decode
from dermrobust.models.tasks.ham10000 import TASK
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.config_files import load_config
from dermrobust.pipeline.verification import verify_root
from tests.corpus import images
from tests.corpus.case import Case, Outcome
from tests.corpus.every import EVERY
from tests.corpus.networks import SIZE
from tests.datasets import (
    COLUMNS,
    Ingested,
    Row,
    draw,
    drawn_files,
    folder_params,
    ingest,
    metadata_rows,
    write_files,
    write_table,
)

_MOST_SECONDS, _MOST_MIB = 20.0, 160
"""That a reader may take for one input."""
_EFFECTS = frozenset(
    {"os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen", "socket.connect"}
    | {"urllib.Request", "pickle.find_class", "marshal.loads", "code.__new__", "os.symlink", "os.link", "os.chmod"}
)
"""Events of Python's audit hooks that no reader of untrusted input may cause."""
_CHANGES = frozenset({"os.remove", "os.rename", "os.rmdir", "os.mkdir", "shutil.rmtree"})


class Watch:
    """Records what the interpreter does to the world outside of a folder while it is armed."""

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] | None = None
        self.server: tuple[str, int] | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.allowed is None or (event not in _EFFECTS | _CHANGES and event != "open") or _importing():
            return
        if event in _EFFECTS and not self._asks_the_server(event, arguments):
            self.seen.append(f"{event} {arguments!r:.200}")
        if event == "open" and isinstance(arguments[0], str | bytes) and arguments[2] & 0o103:
            self._place("open", arguments[0])
        if event == "shutil.rmtree":
            self._place(event, arguments[0])
        elif event == "os.rename":
            source, target, source_folder, target_folder = arguments
            self._place(event, source, source_folder)
            self._place(event, target, target_folder)
        elif event in _CHANGES:
            self._place(event, arguments[0], arguments[-1])

    def _asks_the_server(self, event: str, arguments: tuple[Any, ...]) -> bool:
        """Return whether only the server is asked whose address was given."""
        if self.server is None:
            return False
        host, port = self.server
        return (event == "socket.connect" and arguments[1] == self.server) or (
            event == "urllib.Request" and str(arguments[0]).startswith(f"http://{host}:{port}/")
        )

    def _place(self, event: str, place: Any, folder: int = -1) -> None:
        """Note a change of a place, which is relative to an open folder if there is one."""
        beside = Path.cwd() if folder == -1 else Path(f"/proc/self/fd/{folder}").readlink()
        # `..` would lead out of a folder whose name the path begins with.
        path = os.path.normpath(Path(beside, os.fsdecode(place)))
        if self.allowed is not None and not f"{path}/".startswith(self.allowed):
            self.seen.append(f"{event} {path}")


def _importing() -> bool:
    """Return whether a module is being imported, which reads and may write its bytecode."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


@pytest.fixture
def unaffected(watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """A function that arms the watch; afterwards nothing may have happened outside, nor have taken long or much."""
    # It makes a temporary folder of its own.
    builder()
    monkeypatch.chdir(tmp_path)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    state: dict[str, Any] = {}

    def arm(place: Path) -> None:
        state["before"], state["kept"] = _listed(tmp_path), set(temporary.iterdir())
        state["started"], state["memory"] = time.monotonic(), _peak_mib(reset=True)
        watch.seen.clear()
        watch.allowed = (f"{temporary}/", "/dev/null/", "/proc/")

    _remove_left_behind()
    yield arm
    watch.allowed = None
    assert watch.seen == []
    assert _listed(tmp_path) == state["before"]
    # Python code that TensorFlow generates from its own.
    assert [path for path in set(temporary.iterdir()) - state["kept"] if not path.name.startswith("__")] == []
    # What TensorFlow's own code writes is seen by its files alone; of a checkpoint there are several.
    assert _remove_left_behind() == []
    assert time.monotonic() - state["started"] < _MOST_SECONDS
    assert _peak_mib() - state["memory"] < _MOST_MIB


def _remove_left_behind() -> list[Path]:
    """Delete what hostile input wrote outside, and return it; other tests and programs use other names."""
    found = [*Path("/tmp").glob("dermrobust-never*"), *Path("/tmp").glob("dermrobust-was-here*")]
    for path in found:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found


def _listed(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if not path.relative_to(folder).as_posix().startswith("temporary/")}


def _peak_mib(*, reset: bool = False) -> float:
    """Return the largest resident memory since it was reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(peak) / 1024


def outcome_of(read: Callable[[Path], object], place: Path) -> tuple[Outcome, str]:
    """Return what became of an input, and the reason."""
    try:
        read(place)
    except BadRecord as problem:
        return Outcome.QUARANTINED, str(problem)
    except UserError as error:
        return Outcome.REFUSED, str(error)
    return Outcome.READ, ""


@functools.cache
def builder() -> Folder:
    return Folder(data_dir="absent", config=ImageConfig(name="configured", source=FolderSource()))


def read_table(path: Path) -> None:
    listing = builder().listing(path.parent)
    assert [(record.image_id, record.class_name) for record in listing.records] == [("a", "mel"), ("b", "nv")]
    assert [record.metadata["age"] for record in listing.records] in (
        [40.0, 50.0],
        pytest.approx([np.nan] * 2, nan_ok=True),
    )
    assert read_csv(path).rows


def read_archive(path: Path) -> None:
    found = index_images([path], IMAGE_SUFFIXES)
    check_image(read_image(found.pop("good.png")))
    for locator in found.values():
        check_image(read_image(locator))


def verify_artifact(place: Path) -> None:
    for verified in verify_root(PipelineConfig(root=str(place.parents[2]))):
        if verified.problems:
            raise UserError("; ".join(verified.problems))


def read_model(path: Path) -> None:
    opened(read_network(path), SIZE)


def read_saved_model(folder: Path) -> None:
    """As adoption does."""
    signature = read_signature(folder)
    copy = Path("temporary", "copy").absolute()
    try:
        copy_files(folder, copy)
        outputs = load_outputs(copy, signature)
        is_differentiable(outputs, np.zeros((2, SIZE, SIZE, 3), np.float32))
    finally:
        shutil.rmtree(copy, ignore_errors=True)
        load_outputs.cache_clear()


def read_ledger(path: Path) -> None:
    """As commands do that only read: in a root of its own, since they make locks."""
    root = Path("temporary", "root").absolute()
    root.mkdir()
    shutil.copyfile(path, root / path.name)
    try:
        use_ledger(root)
    finally:
        shutil.rmtree(root)


def read_photo(place: Path) -> None:
    check_image(read_image(index_images([Path("given")], IMAGE_SUFFIXES).get(place.name, "")))


READERS: dict[str, Callable[[Path], object]] = {
    "image": read_photo,
    "table": read_table,
    "archive": read_archive,
    "config": load_config,
    "artifact": verify_artifact,
    "shard": lambda path: list(read_shard(str(path), TASK)),
    "network": read_model,
    "saved_model": read_saved_model,
    "onnx": ask_onnx,
    "request": lambda path: post(path.read_bytes()),
    "ledger": read_ledger,
}


@pytest.mark.parametrize(
    ("kind", "case"),
    [
        pytest.param(kind, case, id=f"{kind}: {case.name}")
        for kind in READERS
        for case in EVERY[kind]
        # One ingest below reads all images; what hostile ones cost is measured here.
        if kind != "image" or case.hostile
    ],
)
def test_each_input_ends_as_it_must(
    kind: str,
    case: Case,
    tmp_path: Path,
    unaffected: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    place = case.make(folder)
    unaffected(place)

    outcome, reason = outcome_of(READERS[kind], place)

    # Commands print JSON there.
    assert capsys.readouterr().out == ""
    assert (outcome, reason if outcome is not case.outcome else "") == (case.outcome, "")
    assert outcome is Outcome.READ or re.search(case.told, reason, re.DOTALL), reason


@pytest.mark.parametrize("case", EVERY["served"], ids=lambda case: case.name)
def test_each_answer_of_a_server_ends_as_it_must(
    case: Case, tmp_path: Path, watch: Watch, unaffected: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dermrobust.models.foreign.rest._TRIES", 2)
    folder = tmp_path / "given"
    folder.mkdir()
    place = case.make(folder)
    with AnsweringServer() as server:
        server.metadata, server.predictions = ((place / name).read_bytes() for name in ("metadata", "predictions"))
        monkeypatch.setattr(watch, "server", server.server_address)
        unaffected(place)
        outcome, reason = outcome_of(lambda _: server.ask(), place)
        server.shutdown()

    assert (outcome, reason if outcome is not case.outcome else "") == (case.outcome, "")
    assert outcome is Outcome.READ or re.search(case.told, reason, re.DOTALL), reason


# Images, which one ingest reads together

GOOD = metadata_rows()


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    """An ingest of good records and all images of the corpus, which tolerates any number of bad ones."""
    folder = tmp_path_factory.mktemp("images")
    raw = folder / "raw"
    write_files(raw, drawn_files(GOOD))
    for case in images.CASES:
        case.make(raw)
    write_table(raw / "metadata.csv", [*GOOD, *map(row_of, images.CASES)])
    return ingest(folder_params(raw, max_bad_fraction=1.0), folder / "output")


def row_of(case: Case) -> Row:
    # A lesion of its own keeps a record that is read out of the groups of others.
    row = {"lesion_id": f"LX {case.name}", "dx": "nv", "age": "40", "sex": "male", "localization": "back"}
    row |= case.row
    return {name: row[name] for name in COLUMNS}


@pytest.fixture(scope="module")
def records(ingested: Ingested) -> dict[str, Any]:
    """The stored records by their image ids."""
    folder = raw_dataset.folder(ingested.dataset)
    return {
        record["image"]["id"].decode(): record
        for split, counts in raw_dataset.shard_counts(folder).items()
        for index in range(len(counts))
        for record in raw_dataset.read_shard(folder, split, index).as_numpy_iterator()
    }


@pytest.mark.parametrize("case", images.CASES, ids=lambda case: case.name)
def test_each_image_ends_as_it_must(case: Case, ingested: Ingested, records: dict[str, Any]) -> None:
    name = case.row["image_id"]
    reasons = [f"{row['reason']}: {row['detail']}" for row in ingested.quarantine() if row["id"] == name]
    if case.outcome is Outcome.QUARANTINED:
        reasons = reasons or [f"{row['reason']}: {row['detail']}" for row in ingested.quarantine() if not name]
        assert name not in records
        assert any(re.search(case.told, reason, re.DOTALL) for reason in reasons), reasons
        return
    assert reasons == []
    pixels = decode(records[name]["image"]["encoded"]).numpy().astype(float)
    assert pixels.shape == draw(0).shape
    gray = np.asarray(Image.fromarray(draw(0)).convert("L"), float)[..., np.newaxis]
    # Palettes and JPEG change colors a little.
    near = [np.abs(pixels - expected).mean() < 16 for expected in (draw(0).astype(float), gray)]
    assert any(near) != (case.told == "other pixels")


def test_every_record_is_counted_once(ingested: Ingested, records: dict[str, Any]) -> None:
    rows = ingested.quarantine()
    bad = [case for case in images.CASES if case.outcome is Outcome.QUARANTINED]
    read = [case.row["image_id"] for case in images.CASES if case.outcome is Outcome.READ]
    assert list(rows[0]) == ["id", "reason", "detail"]
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    assert len(rows) == len(bad)
    assert sorted(records) == sorted([*(row["image_id"] for row in GOOD), *read])


def test_the_corpus_is_as_large_as_promised() -> None:
    cases = [(kind, case) for kind, found in EVERY.items() for case in found]
    assert len({(kind, case.name) for kind, case in cases}) == len(cases)
    assert sum(not case.hostile and case.outcome is not Outcome.READ for _, case in cases) >= 60
    assert sum(case.hostile for _, case in cases) >= 40
