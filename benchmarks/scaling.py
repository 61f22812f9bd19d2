"""Work per image from 500 to 10,015 images, and a cost model for more.

    HAM10000_DIR=/where/it/is python -m benchmarks.scaling [--sizes 500 5000 10015] [--held-out 2500] [--json FILE]

Every node of a run with the suite `auto` is executed in processes of its own, on subsets of the real images; processor
time, bytes and files are counted after the imports. Ingest and preprocess are executed `--repeats` times, all sizes in
turn, and medians are taken; other nodes once. All sizes attack the same weights: those of another model would stand
longer or shorter. `--without-attacks` executes ingest and preprocess alone.

Targets: work per image constant within 10 %, that is, the marginal work of the largest step between sizes differs from
that of the smallest by no more; and the held-out size predicted within 10 % by a line that is fitted to the others. An
image that stands takes a hundred times the work of one that falls at once, and how many stand is chance in a hundred
test images. The work of attacks is therefore that of an evaluation of the network, in forward passes of one image; a
gradient counts as two more.

The driver's costs, the comparison of pairs (which grows with their number) and the memory of metrics are measured by
themselves. `benchmarks/scale_simulation.py` looks for other work that is not linear.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import itertools
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.cost_model import Line, Model
from benchmarks.ingest import subset
from benchmarks.measure import machine, measure
from dermrobust.components.artifacts import MANIFEST, Artifact, ArtifactStore, ArtifactType, Provenance

_MOST = 0.1
_NODES = (
    *("ingest", "preprocess", "train[vanilla]", "leakage", "predict[vanilla]", "probe[vanilla]", "escalate[vanilla]"),
    "evaluate",
)
_TRAINING = "train[vanilla]"
_ATTACK = "predict[vanilla]"
_READING = ("ingest", "preprocess")
_DATA_PARALLEL = (*_READING, _ATTACK)
"""Nodes whose work is for each image; probes work on a sample, and epochs decide how long a training takes."""
_ROW_BYTES = 0.2 * (4 * 7 + 2 + 2 + 8 + 4)
"""Of an image, one in five of which is tested: seven probabilities, label, clean class, group and radius."""
_MEMORY = 8 * 2**30
_STEPS = (10, 30)
_PAIRED = 10_000
"""Images on each side, all pairs of which are compared."""


def main() -> int:
    """Print the tables; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 5_000, 10_015], help="numbers of images to fit")
    parser.add_argument("--held-out", type=int, default=2_500, help="number of images to predict")
    parser.add_argument("--suite", default="auto", help="suite of attacks")
    parser.add_argument("--network", default="small_resnet", help="network")
    parser.add_argument("--image-size", type=int, default=32, help="height and width of its input in pixels")
    parser.add_argument("--epochs", type=int, default=5, help="epochs of the model that is attacked")
    parser.add_argument("--repeats", type=int, default=5, help="executions of ingest and preprocess")
    parser.add_argument("--without-attacks", action="store_true", help="execute ingest and preprocess alone")
    parser.add_argument("--workers", type=int, default=1_000, help="cores that 10^6 and 10^8 images are spread over")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--node", help=argparse.SUPPRESS)
    parser.add_argument("--config", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.node is not None:
        print(
            json.dumps(_steps(options.config) if options.node == "steps" else _executed(options.config, options.node))
        )
        return 0
    if len(options.sizes) < 3 or options.held_out in options.sizes:
        parser.error("give three sizes at least, and another one to predict")
    print(machine(), flush=True)
    sizes = sorted({*options.sizes, options.held_out})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.without_attacks:
            measured = _measured(folder, sizes, _READING, None, options)
        else:
            measured = _measured(folder, sizes, _NODES, _trained(folder, sizes[-1], options), options)
            step = _child("steps", folder / f"{sizes[-1]}.json")["core_seconds"]
            driver = _driver_costs(folder)
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine(), "measured": measured}, indent=1))
    fitted = {size: measured[size] for size in sorted(options.sizes)}
    lines = {cost: {node: _line(fitted, node, cost) for node in measured[sizes[0]]} for cost in _COSTS}
    met = _tell_work(fitted) & _tell_held_out(lines, options.held_out, measured)
    if not options.without_attacks:
        print(f"\nOne attack step of one image: {1e3 * step:.3f} core-milliseconds (PGD, {options.image_size} px)")
        costs = lines["cpu"], lines["written"], lines["files"]
        _tell_extrapolation(Model(*costs, *driver, pair_seconds=_pair_seconds(), row_bytes=_ROW_BYTES), options.workers)
    return 0 if met else 1


_COSTS = ("cpu", "written", "files")


def _trained(folder: Path, size: int, options: argparse.Namespace) -> Artifact:
    """Return a model that was trained on so many images."""
    config = _config(folder, "trained", size, {"network": options.network, "epochs": options.epochs}, options)
    for node in _NODES[: _NODES.index(_TRAINING) + 1]:
        _child(node, config)
    return _model(ArtifactStore(str(folder / "output-trained")))


def _measured(
    folder: Path, sizes: Sequence[int], nodes: Sequence[str], attacked: Artifact | None, options: argparse.Namespace
) -> dict[int, dict[str, dict[str, float]]]:
    """Execute nodes on so many images each, every node in processes of its own; return their costs."""
    train = {"network": options.network, "epochs": 1, "warmup_epochs": 0, "xla": False}
    configs = {size: _config(folder, str(size), size, train, options) for size in sizes}
    rows: dict[tuple[int, str], list[dict[str, float]]] = {}
    # In turn, so that a machine that becomes slower does so for all sizes.
    for repeat in range(options.repeats):
        for size, config in configs.items():
            for node in nodes if repeat == 0 else _READING:
                row = _child(node, config)
                rows.setdefault((size, node), []).append(row)
                print(f"{size} images, {node}: {row}", file=sys.stderr, flush=True)
                if node == _TRAINING and attacked is not None:
                    _replace(_model(store := ArtifactStore(str(folder / f"output-{size}"))), attacked, store)
    found: dict[int, dict[str, dict[str, float]]] = {size: {} for size in sizes}
    for (size, node), taken in rows.items():
        found[size][node] = {cost: statistics.median(row[cost] for row in taken) for cost in taken[0]}
    return found


def _model(store: ArtifactStore) -> Artifact:
    (found,) = (each for each in store.all() if isinstance(each, Artifact) and each.type is ArtifactType.MODEL)
    return found


def _replace(model: Artifact, other: Artifact, store: ArtifactStore) -> None:
    """Publish the files of another model in the place of a model."""
    manifest = store.manifest(model)
    store.set_aside(model.type, model.fingerprint)
    staged = store.stage(model.type, model.fingerprint)
    shutil.copytree(other.uri, staged, ignore=shutil.ignore_patterns(MANIFEST), dirs_exist_ok=True)
    origin = Provenance(manifest.producer, manifest.parameters, {}, manifest.versions)
    store.publish(staged, model.type, model.fingerprint, origin)


def _config(folder: Path, name: str, size: int, train: Mapping[str, Any], options: argparse.Namespace) -> Path:
    """Write a config with so many images."""
    config, data = folder / f"{name}.json", folder / f"data-{size}"
    if not data.exists():
        subset(Path(os.environ["HAM10000_DIR"]), data, size)
    content: dict[str, Any] = {
        "root": str(folder / f"output-{name}"),
        "ingest": {"dataset": "ham10000", "path": str(data)},
        "preprocess": {"image_size": options.image_size},
        "train": train,
        "augment": {"models": {}, "attacks": {}},
        "evaluate": {
            "epsilons": [4],
            "attacks": options.suite,
            "gate": {
                "candidate": "vanilla",
                "thresholds": [{"metric": "accuracy", "attack": "worst_case", "epsilon": 4, "min": 0.0}],
            },
        },
    }
    config.write_text(json.dumps(content))
    return config


def _child(node: str, config: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.scaling", "--node", node, "--config", str(config)]
    found: dict[str, float] = json.loads(measure(command).output.splitlines()[-1])
    return found


def _executed(config_file: Path, node: str) -> dict[str, float]:
    """Return the costs of a node in this process, and of what it needs if that is not there yet."""
    import apache_beam  # noqa: F401 - imports are not counted
    import tensorflow  # noqa: F401

    from dermrobust.components import storage
    from dermrobust.components.progress import Silent
    from dermrobust.pipeline.config import PipelineConfig
    from dermrobust.pipeline.graph import build_graph, with_upstream
    from dermrobust.pipeline.runner import run_graph

    config = PipelineConfig.model_validate_json(config_file.read_bytes())
    nodes = with_upstream(build_graph(config), [node])
    counted = _count_evaluations()
    cpu, started = time.process_time(), time.perf_counter()
    result = run_graph(config, nodes, Silent(), settings={}, selected=frozenset({node}), force=True)
    spent, seconds = time.process_time() - cpu, time.perf_counter() - started
    outcome = next(each for each in result.nodes if each.node == node)
    if not outcome.ok:
        raise RuntimeError(f"{node}: {outcome.message}")
    sizes = [size for output in outcome.outputs.values() for size in storage.sizes(output.uri).values()]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    costs = {"cpu": spent, "seconds": seconds, "written": sum(sizes), "files": len(sizes), "mib": peak}
    return {**costs, "evaluations": counted()}


def _count_evaluations() -> Callable[[], int]:
    """Let attacks count the forward passes of their classifier in this process; return what has counted them."""
    from benchmarks.counting import Evaluations, counting
    from dermrobust.attacks.target import Precision, Target
    from dermrobust.components import attack_targets, model_files

    load, counts = model_files.load_target, list[Callable[[], Evaluations]]()

    # One target for one model: each is compiled.
    @functools.cache
    def load_counting(uri: str, digest: str, precision: Precision) -> Target:
        target, counted = counting(load(uri, digest, precision))
        counts.append(counted)
        return target

    mock.patch.object(attack_targets, "load_target", load_counting).start()
    return lambda: sum(counted().work for counted in counts)


def _steps(config_file: Path) -> dict[str, float]:
    """Return the core-seconds of one attack step of one image: the difference of two lengths of one attack."""
    from dermrobust.attacks.cleverhans.pgd import PGD
    from dermrobust.attacks.engine import attack_pixels
    from dermrobust.attacks.threat import ThreatModel
    from dermrobust.components.examples import ExamplesSpec, Split, first_records, shard_uris
    from dermrobust.components.model_files import load_target
    from dermrobust.pipeline.config import PipelineConfig

    config = PipelineConfig.model_validate_json(config_file.read_bytes())
    found = {each.type: each for each in ArtifactStore(config.root).all() if isinstance(each, Artifact)}
    examples, model = found[ArtifactType.EXAMPLES], found[ArtifactType.MODEL]
    spec = ExamplesSpec.read(examples)
    # Full batches only: a part of one costs as much as another program.
    batch = first_records(shard_uris(examples, spec, Split.TRAIN), 256, spec.task)
    target, seeds = load_target(model.uri, model.digest, "float32"), np.arange(len(batch.labels), dtype=np.uint64)
    spent = []
    for steps in (1, *_STEPS):
        cpu = time.process_time()
        attack = PGD(steps=steps)
        attack_pixels(attack, target, batch.pixels, batch.labels, seeds, threat=ThreatModel(4), batch_size=128)
        spent.append(time.process_time() - cpu)
    return {"core_seconds": (spent[2] - spent[1]) / (_STEPS[1] - _STEPS[0]) / len(batch.labels)}


def _driver_costs(folder: Path) -> tuple[float, float]:
    """Return the driver's seconds for each byte that it hashes, and for each file that it publishes."""
    content, started = bytes(1 << 26), time.perf_counter()
    hashlib.sha256(content).hexdigest()
    each_byte = (time.perf_counter() - started) / len(content)
    store, seconds = ArtifactStore(str(folder / "files")), []
    for count in (1_000, 3_000):
        staged = store.stage(ArtifactType.EXAMPLES, f"{count:032d}")
        for index in range(count):
            Path(staged, f"{index}.tfrecord").write_bytes(b"1")
        started = time.perf_counter()
        store.publish(staged, ArtifactType.EXAMPLES, f"{count:032d}", Provenance("benchmark", {}, {}, {}))
        seconds.append(time.perf_counter() - started)
    return each_byte, (seconds[1] - seconds[0]) / 2_000


def _line(measured: Mapping[int, Mapping[str, Mapping[str, float]]], node: str, cost: str) -> Line:
    return Line.fitted(list(measured), [each[node][cost] for each in measured.values()])


def _pair_seconds() -> float:
    """Return the core-seconds of comparing a pair of images; that of 10,015 images hides in other work."""
    from dermrobust.components.leakage.copies import near_hashes

    draw = np.random.default_rng(0)
    hashes, others = (draw.integers(0, 256, (_PAIRED, 32), dtype=np.uint8) for _ in range(2))
    cpu = time.process_time()
    for _ in near_hashes(hashes, others):
        pass
    return (time.process_time() - cpu) / _PAIRED**2


def _tell_work(measured: Mapping[int, Mapping[str, Mapping[str, float]]]) -> bool:
    """Print the marginal work of each step between sizes; return whether it is constant."""
    steps, met = list(itertools.pairwise(sorted(measured))), True
    print("\n| node | " + " | ".join(f"ms/image, {a:,} to {b:,}" for a, b in steps) + " | differ |")
    print("|---|" + "---|" * (len(steps) + 1))
    for node in measured[steps[0][0]]:
        spent = [measured[b][node]["cpu"] - measured[a][node]["cpu"] for a, b in steps]
        spread = _told(node, [1e3 * cost / (b - a) for cost, (a, b) in zip(spent, steps, strict=True)])
        if node == _ATTACK:
            evaluated = [measured[b][node]["evaluations"] - measured[a][node]["evaluations"] for a, b in steps]
            works = [1e6 * cost / max(count, 1) for cost, count in zip(spent, evaluated, strict=True)]
            spread = _told(f"{node}, a thousand evaluations", works)
        if node in _DATA_PARALLEL:
            met &= spread <= _MOST
    return met


def _told(name: str, costs: Sequence[float]) -> float:
    """Print a row of costs; return by what share they differ."""
    spread = max(costs) / min(costs) - 1 if min(costs) > 0 else float("inf")
    print(f"| {name} | " + " | ".join(f"{cost:.2f}" for cost in costs) + f" | {100 * spread:.0f} % |")
    return spread


def _tell_held_out(
    lines: Mapping[str, Mapping[str, Line]], size: int, measured: Mapping[int, Mapping[str, Mapping[str, float]]]
) -> bool:
    """Print what the lines say of the held-out size; return whether it is right for the nodes that matter."""
    held_out, met = measured[size], True
    print(f"\n| {size:,} images | predicted core-s | measured | error | predicted MB | measured |")
    print("|---|---|---|---|---|---|")
    for node, line in lines["cpu"].items():
        told, found = line.at(size), held_out[node]["cpu"]
        written, real = lines["written"][node].at(size) / 1e6, held_out[node]["written"] / 1e6
        print(f"| {node} | {told:.1f} | {found:.1f} | {100 * (told / found - 1):+.1f} % | {written:.1f} | {real:.1f} |")
        if node == _ATTACK:
            told = _by_evaluations(measured, size).at(held_out[node]["evaluations"])
            print(f"| {node}, by evaluations | {told:.1f} | {found:.1f} | {100 * (told / found - 1):+.1f} % | | |")
        if node in _DATA_PARALLEL:
            met &= abs(told / found - 1) <= _MOST
    return met


def _by_evaluations(measured: Mapping[int, Mapping[str, Mapping[str, float]]], without: int) -> Line:
    """Return the work of attacks by evaluations of the network, from all sizes but one."""
    rows = [nodes[_ATTACK] for size, nodes in measured.items() if size != without]
    return Line.fitted([row["evaluations"] for row in rows], [row["cpu"] for row in rows])


def _tell_extrapolation(model: Model, workers: int) -> None:
    print(f"Driver: {1e3 * model.file_seconds:.2f} ms a file, {1e-6 / model.hash_seconds:.0f} MB/s hashed")
    print(f"Pairs of images: {1e9 * model.pair_seconds:.1f} core-nanoseconds each")
    print(f"\n| images | core-hours | TB written | files | first bottleneck on {workers:,} cores |")
    print("|---|---|---|---|---|")
    for images in (10**6, 10**8):
        limits = list(model.bottlenecks(images, workers, _MEMORY))
        listed = "; ".join(f"{limit.name}: {limit.ratio:.2g}" for limit in limits)
        print(
            f"| {images:.0e} | {model.core_seconds(images) / 3600:,.0f} | {model.bytes_written(images) / 1e12:.2f} | "
            f"{model.file_count(images):,.0f} | {listed} |"
        )
    print("\nRatios: time beside that of all other work on all cores, or share of 8 GiB of memory. Above 1 it decides.")


if __name__ == "__main__":
    sys.exit(main())
