"""Growth of the costs with the number of records: tiny ones through the code of the components, without attacks.

    python -m benchmarks.scale_simulation [--records 1000000] [--json FILE]

Every phase runs with a sixteenth, a quarter and all of the records, each time in a process of its own. Processor time
and memory are those after the imports. The growth is 1 if the step to all records costs four times what the step to a
quarter does, as work that is linear, with any constant, does; 2 is quadratic. Predictions are drawn at random.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, measure

_GROWTH = 1.2
"""Growth above which a phase counts as not linear."""
_STEP = 4
"""Ratio of a number of records to the next smaller one."""
_SECONDS = 1.0
"""Differences below this are not judged."""
_CONDITIONS = (("none", 0.0), ("fgsm", 4.0), ("pgd", 4.0), ("apgd", 4.0))
_MODEL = "tiny"


def main() -> int:
    """Print the table; return 1 if a phase is not linear."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=1_000_000, help="largest number of records")
    parser.add_argument("--phases", nargs="+", choices=list(PHASES), default=list(PHASES), help="phases, in this order")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--phase", choices=list(PHASES), help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.phase is not None:
        print(json.dumps(_measured(PHASES[options.phase], options.root, options.records)))
        return 0
    sizes = [options.records // _STEP**2, options.records // _STEP, options.records]
    found: dict[str, list[dict[str, float]]] = {phase: [] for phase in options.phases}
    print(machine(), flush=True)
    for size in sizes:
        with tempfile.TemporaryDirectory() as root:
            for phase in options.phases:
                command = [sys.executable, "-m", "benchmarks.scale_simulation", "--phase", phase, "--root", root]
                output = measure([*command, "--records", str(size)]).output
                found[phase].append(json.loads(output.splitlines()[-1]))
                print(f"{size} records, {phase}: {found[phase][-1]}", file=sys.stderr, flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine(), "sizes": sizes, "phases": found}, indent=1))
    print(f"| phase | CPU s at {sizes[0]:,} | {sizes[1]:,} | {sizes[2]:,} | growth | MiB | MiB for each million more |")
    print("|---|---|---|---|---|---|---|")
    for phase, rows in found.items():
        cpu, peak = [row["cpu"] for row in rows], [row["mib"] for row in rows]
        slope = (peak[2] - peak[1]) / (sizes[2] - sizes[1]) * 1e6
        seconds = " | ".join(f"{value:.1f}" for value in cpu)
        print(f"| {phase} | {seconds} | {_shown(growth(cpu))} | {peak[2]:.0f} | {slope:.0f} |")
    return 1 if any((growth([row["cpu"] for row in rows]) or 0) > _GROWTH for rows in found.values()) else 0


def growth(values: list[float]) -> float | None:
    """Return the exponent by which values at n, 4 n and 16 n grow, whatever their constant; None: too little to say."""
    first, second = values[1] - values[0], values[2] - values[1]
    return math.log(second / first, _STEP) if min(first, second) > 0 and second >= _SECONDS else None


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _measured(phase: Callable[[Any, int], None], root: Path, records: int) -> dict[str, float]:
    """Return processor seconds, seconds and peak memory of a phase beyond that of its imports."""
    from benchmarks import tiny_records
    from dermrobust.components.ingest import executor  # noqa: F401 - imports count as little as possible
    from dermrobust.components.measure import tfma_run  # noqa: F401

    tiny_records.register()
    imported, cpu, started = _peak(), time.process_time(), time.perf_counter()
    phase(root, records)
    seconds = {"cpu": time.process_time() - cpu, "seconds": time.perf_counter() - started}
    return {**{name: round(value, 2) for name, value in seconds.items()}, "mib": round(_peak() - imported, 1)}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _staged(root: Path, type_: str) -> str:
    return str(root / "staged" / type_)


def _ingest(root: Path, records: int) -> None:
    from benchmarks.tiny_records import TinySource
    from dermrobust.components.component import Context
    from dermrobust.components.ingest.component import INGEST, IngestParams

    outputs = {name: _staged(root, type_) for name, type_ in INGEST.outputs.items()}
    params = IngestParams(dataset=TinySource(count=records))
    INGEST.execute(Context(params, {}, outputs, str(root / "work" / "ingest")))


def _preprocess(root: Path, records: int) -> None:
    del records
    from benchmarks.tiny_records import SIDE
    from dermrobust.components.component import Context
    from dermrobust.components.preprocess.component import PREPROCESS, PreprocessParams

    params, inputs = PreprocessParams(image_size=SIDE), {"dataset": (_artifact(root, "dataset"),)}
    outputs = {"examples": _staged(root, "examples")}
    PREPROCESS.execute(Context(params, inputs, outputs, str(root / "work" / "preprocess")))


def _publish(root: Path, records: int) -> None:
    """Hash all files, write the manifests and move the folders."""
    del records
    from dermrobust.components.artifacts import ArtifactStore, ArtifactType, Provenance

    store = ArtifactStore(str(root / "store"))
    for folder in sorted((root / "staged").iterdir()):
        type_ = ArtifactType(folder.name)
        store.publish(str(folder), type_, "0" * 32, Provenance("simulation", {}, {}, {}))


def _leakage(root: Path, records: int) -> None:
    del records
    from dermrobust.components.component import Context
    from dermrobust.components.leakage.component import LEAKAGE, LeakageParams

    inputs, outputs = {"examples": (_artifact(root, "examples"),)}, {"leakage": str(root / "leakage")}
    LEAKAGE.execute(Context(LeakageParams(), inputs, outputs, str(root / "work" / "leakage")))


def _predict(root: Path, records: int) -> None:
    """Write random predictions of the test images."""
    del records
    import numpy as np

    from dermrobust.components.evaluation.predictions import part_name, predictions_table
    from dermrobust.components.evaluation.tables import write_table
    from dermrobust.components.examples import ExamplesSpec, Split, read_shard, shard_uris

    examples = _artifact(root, "examples")
    spec = ExamplesSpec.read(examples)
    uris = shard_uris(examples, spec, Split.TEST)
    for index, uri in enumerate(uris):
        drawn = np.random.default_rng(index)
        rows: list[dict[str, Any]] = []
        for batch in read_shard(uri, spec.task):
            for attack, epsilon in _CONDITIONS:
                scores = drawn.dirichlet(np.ones(len(spec.task.class_names)), len(batch.labels)).astype(np.float32)
                rows += [
                    {
                        **batch.record(place),
                        **{"skin_tone": "light", "model": _MODEL, "attack": attack, "norm": "linf"},
                        **{"epsilon": epsilon, "probabilities": scores[place].tolist(), "radius": None},
                        "predicted": int(scores[place].argmax()),
                    }
                    for place in range(len(batch.labels))
                ]
        table = predictions_table(rows, spec.task, ("skin_tone",))
        write_table(str(root / "predictions" / part_name(index, len(uris))), table)


def _measure(root: Path, records: int) -> None:
    """Join the predictions, add the worst case, and compute all metrics of all slices."""
    del records
    from dermrobust.components.beam_runtime import BeamRuntime
    from dermrobust.components.examples import ExamplesSpec
    from dermrobust.components.measure.table import metrics_table
    from dermrobust.components.measure.tfma_run import build_eval_config, joined_batches, run_tfma

    task = ExamplesSpec.read(_artifact(root, "examples")).task.with_derived(("skin_tone",))
    shards = {_MODEL: sorted(map(str, (root / "predictions").glob("*.parquet")))}
    with BeamRuntime().pipeline() as pipeline:
        run_tfma(joined_batches(pipeline, shards, task), build_eval_config([_MODEL], task), str(root / "tfma"))
    metrics_table(str(root / "tfma"), [_MODEL], "linf", 30)


def _artifact(root: Path, type_: str) -> Any:
    """Return a staged or published artifact."""
    from dermrobust.components.artifacts import Artifact, ArtifactType

    published = root / "store" / "artifacts" / type_ / ("0" * 32)
    uri = str(published) if published.exists() else _staged(root, type_)
    return Artifact(ArtifactType(type_), "0" * 32, "", uri)


PHASES: Mapping[str, Callable[[Path, int], None]] = {
    "ingest": _ingest,
    "preprocess": _preprocess,
    "publish": _publish,
    "leakage": _leakage,
    "predict": _predict,
    "measure": _measure,
}
"""Phases in their order; `predict` draws at random what others measure."""


if __name__ == "__main__":
    sys.exit(main())
