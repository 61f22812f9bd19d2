"""Checks of whether this machine can run the pipeline."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.kernels import onednn
from dermrobust.components.beam_runtime import BeamRuntime
from dermrobust.components.progress import Progress
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.local_files import local_root

_LIBRARIES = (
    "tensorflow",
    "keras",
    "cleverhans",
    "tensorflow-datasets",
    "apache-beam",
    "tensorflow-model-analysis",
    "pyarrow",
    "click",
)
_MEMORY_GIB, _DISK_GIB = 4.0, 2.0

_SELF_TEST = {
    "ingest": {"dataset": {"dataset": "synthetic", "count": 240}},
    "preprocess": {"image_size": 16},
    "train": {"network": "cnn", "epochs": 2, "warmup_epochs": 0, "xla": False},
    "augment": {"models": {"fgsm": ["fgsm"]}, "attacks": {"fgsm": {"attack": "fgsm"}}, "train": {"epochs": 1}},
    "evaluate": {
        "epsilons": [4],
        "attacks": {"pgd": {"attack": "pgd", "steps": 2}},
        "probes": {"images": 8, "queries": 2, "spsa_images": 0, "corruption_images": 8},
        "gate": {
            "candidate": "fgsm",
            "baseline": "vanilla",
            "thresholds": [{"metric": "accuracy", "attack": "pgd", "epsilon": 4, "min": 0.0}],
            "checks": "ignored",
        },
    },
}
"""Config that runs in about a minute; its gate blesses any model, so that the export runs as well."""


@dataclass(frozen=True)
class Finding:
    """Result of a check.

    Attributes:
        name: name of the check.
        ok: whether it passed.
        detail: what was found.
    """

    name: str
    ok: bool
    detail: str


def diagnose(config: PipelineConfig, progress: Progress, *, self_test: bool) -> Iterator[Finding]:
    """Yield the results of all checks, the slow self-test last.

    Args:
        config: config whose root and Beam runner are checked.
        progress: receiver of progress reports of the self-test.
        self_test: whether to run a small pipeline.
    """
    yield Finding("python", True, f"{platform.python_version()} on {platform.platform()}")
    yield from _versions()
    yield _devices()
    yield Finding("onednn", True, f"{onednn()} (TF_ENABLE_ONEDNN_OPTS)")
    yield _memory()
    yield _disk(config)
    yield _runner(config)
    if self_test:
        yield _self_test(progress)


def _versions() -> Iterator[Finding]:
    for name in _LIBRARIES:
        try:
            yield Finding(name, True, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, False, "not installed; install the pinned set from requirements.lock")


def _devices() -> Finding:
    from dermrobust.models.devices import described_devices

    return Finding("devices", True, described_devices())


def _memory() -> Finding:
    free = psutil.virtual_memory().available / 2**30
    return Finding("memory", free >= _MEMORY_GIB, f"{free:.1f} GiB free; {_MEMORY_GIB:g} GiB are needed")


def _disk(config: PipelineConfig) -> Finding:
    place = local_root(config).resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 2**30
    return Finding("disk", free >= _DISK_GIB, f"{free:.1f} GiB free at {place}; {_DISK_GIB:g} GiB are needed")


def _runner(config: PipelineConfig) -> Finding:
    """Count three elements on the configured runner."""
    import apache_beam as beam

    name = config.beam.runner
    try:
        with BeamRuntime(name, config.beam.options).pipeline() as root:
            root | beam.Create([1, 2, 3]) | beam.Map(abs) | beam.combiners.Count.Globally()
    except UserError as error:
        return Finding("beam runner", False, str(error))
    except Exception as error:
        return Finding("beam runner", False, f"{name}: {type(error).__name__}: {error}")
    return Finding("beam runner", True, name)


def _self_test(progress: Progress) -> Finding:
    """Run every stage on a few images in a temporary folder."""
    from dermrobust.pipeline.runner import run_pipeline
    from dermrobust.pipeline.stages import STAGES

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        config = PipelineConfig.model_validate({**_SELF_TEST, "root": str(Path(folder, "output"))})
        result = run_pipeline(config, progress, first=STAGES[0], last=STAGES[-1], force=False)
    seconds = time.monotonic() - started
    problems = [node.message for node in result.nodes if not node.ok]
    if problems:
        return Finding("self-test", False, problems[0])
    return Finding("self-test", True, f"every stage ran on 240 drawn images in {seconds:.0f} s")
