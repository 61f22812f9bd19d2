"""Registry of attacks and suites. Adding one is its line here, and for an attack its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dermrobust.attacks.plugins import Registry

ATTACKS = Registry(
    "attack",
    {
        "fgsm": "dermrobust.attacks.cleverhans.fgsm:FGSM",
        "bim": "dermrobust.attacks.cleverhans.bim:BIM",
        "pgd": "dermrobust.attacks.cleverhans.pgd:PGD",
        "mim": "dermrobust.attacks.cleverhans.mim:MIM",
        "cw_l2": "dermrobust.attacks.cleverhans.carlini_wagner:CarliniWagnerL2",
        "spsa": "dermrobust.attacks.cleverhans.spsa:SPSA",
        "apgd_ce": "dermrobust.attacks.apgd:APGDCE",
        "apgd_dlr": "dermrobust.attacks.apgd:APGDDLR",
        "apgd_t": "dermrobust.attacks.apgd:APGDTargeted",
        "square": "dermrobust.attacks.square:Square",
        "sparse_rs": "dermrobust.attacks.sparse_rs:SparseRS",
        "fab": "dermrobust.attacks.fab:FAB",
        "fab_t": "dermrobust.attacks.fab:FABTargeted",
        "ead": "dermrobust.attacks.ead:EAD",
        "hop_skip_jump": "dermrobust.attacks.hop_skip_jump:HopSkipJump",
        "auto": "dermrobust.attacks.auto:Auto",
        "auto_screened": "dermrobust.attacks.auto_screened:AutoScreened",
        "auto_standard": "dermrobust.attacks.autoattack:AutoStandard",
        "auto_plus": "dermrobust.attacks.autoattack:AutoPlus",
        "auto_rand": "dermrobust.attacks.auto_rand:AutoRand",
        "escalated": "dermrobust.attacks.escalated:Escalated",
        "minimal": "dermrobust.attacks.minimal:Minimal",
        "ensemble": "dermrobust.attacks.ensemble:Ensemble",
        "universal": "dermrobust.attacks.universal:Universal",
        "noise": "dermrobust.attacks.noise:Noise",
        "transfer": "dermrobust.attacks.transfer:Transfer",
    },
)
"""Subclasses of `dermrobust.attacks.attack.Attack` by the name that a config selects them by."""

SUITES: Mapping[str, Mapping[str, Any]] = {
    "paper": {"fgsm": "fgsm", "pgd": {"attack": "pgd", "steps": 20}},
    "standard": {
        "noise": "noise",
        "fgsm": "fgsm",
        "pgd": {"attack": "pgd", "steps": 20, "restarts": 3},
        "mim": {"attack": "mim", "steps": 20},
    },
    "auto": {"auto": "auto"},
    "auto-screened": {"auto_screened": "auto_screened"},
    "auto-standard": {"auto_standard": "auto_standard"},
    "auto-plus": {"auto_plus": "auto_plus"},
    "auto-rand": {"auto_rand": "auto_rand"},
    "minimal": {"minimal": "minimal"},
    "black-box": {"square": "square", "hop_skip_jump": "hop_skip_jump"},
    "sparse": {"sparse_rs": "sparse_rs"},
}
"""Attacks, as a config writes them, by the name that they have in results; by the name of their suite."""
