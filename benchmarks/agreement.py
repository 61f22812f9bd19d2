"""Whether attacks find what the public implementations find: robust accuracy side by side.

    pip install '.[benchmarks]'
    python -m benchmarks.agreement [--quick] [--images N] [--root DIR]

The same models, images, budget and steps; L-infinity but for C&W. An image counts as robust if it is classified
correctly both clean and as attacked.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.hardware import has_bfloat16
from benchmarks.measure import machine
from benchmarks.victims import Victim, victims
from dermrobust.attacks.engine import attack_images
from dermrobust.attacks.selection import read_attack
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import ThreatModel
from dermrobust.models.classifier import attack_target

_STEPS, _QUERIES = 20, 100
_LINF, _L2 = ThreatModel.parse("linf:2/255"), ThreatModel.parse("l2:0.25")
Peer = Callable[[Victim, float], peers.AttackFn]


def _art(name: str) -> Peer:
    return lambda victim, radius: peers.art(
        name, victim.network, victim.network.output_shape[-1], radius, _STEPS, _QUERIES
    )


def _foolbox(name: str) -> Peer:
    return lambda victim, radius: peers.foolbox(name, victim.network, radius, _STEPS)


CASES: tuple[tuple[Any, str, ThreatModel, Peer], ...] = (
    ("fgsm", "Foolbox", _LINF, _foolbox("fgsm")),
    ({"attack": "pgd", "steps": _STEPS}, "Foolbox", _LINF, _foolbox("pgd")),
    ({"attack": "pgd", "steps": _STEPS}, "ART", _LINF, _art("pgd")),
    ({"attack": "pgd", "steps": _STEPS}, "CleverHans", _LINF, lambda v, r: peers.cleverhans(v.network, r, _STEPS)),
    ({"attack": "mim", "steps": _STEPS}, "Foolbox", _LINF, _foolbox("mim")),
    ({"attack": "cw_l2", "steps": _STEPS}, "Foolbox", _L2, _foolbox("cw_l2")),
    ({"attack": "apgd_ce", "steps": _STEPS}, "ART", _LINF, _art("apgd_ce")),
    ({"attack": "apgd_dlr", "steps": _STEPS}, "ART", _LINF, _art("apgd_dlr")),
    ({"attack": "square", "queries": _QUERIES}, "ART", _LINF, _art("square")),
    ({"attack": "auto", "steps": _STEPS, "queries": _QUERIES}, "ART", _LINF, _art("auto")),
)
"""Our attack, whose implementation it is held to, the budget, and that implementation."""


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="models that were trained for less time")
    parser.add_argument("--images", type=int, default=512, help="test images")
    parser.add_argument("--root", type=Path, default=Path("output/benchmarks"), help="where trained models are kept")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    print(machine())
    print("| model | attack | budget | reference | its robust accuracy | ours | in bfloat16 | difference in points |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    root = options.root / ("quick" if options.quick else "full")
    for victim in victims(28, options.images, quick=options.quick, root=root):
        for line in _lines(victim):
            print(line, flush=True)


def _lines(victim: Victim) -> Iterator[str]:
    exact = attack_target(victim.network)
    for attack, name, threat, peer in CASES:
        reference = victim.robust_accuracy(peer(victim, threat.radius)(victim.images, victim.labels))
        ours = _ours(victim, attack, threat, exact)
        fast = "–"
        if has_bfloat16():
            fast = f"{_ours(victim, attack, threat, attack_target(victim.network, precision='bfloat16')):.3f}"
        figures = f"{reference:.3f} | {ours:.3f} | {fast} | {100 * (ours - reference):+.1f}"
        yield f"| {victim.name} | {_described(attack)} | {threat} | {name} | {figures} |"


def _described(attack: Any) -> str:
    values = {"attack": attack} if isinstance(attack, str) else attack
    return ", ".join([values["attack"], *(f"{name} {value}" for name, value in values.items() if name != "attack")])


def _ours(victim: Victim, attack: Any, threat: ThreatModel, target: Target) -> float:
    seeds = np.arange(len(victim.images), dtype=np.uint64)
    found = attack_images(
        read_attack(attack), target, victim.images, victim.labels, seeds, threat=threat, stop_at_success=True
    )
    return victim.robust_accuracy(found)


if __name__ == "__main__":
    main()
