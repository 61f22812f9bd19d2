"""Self-checks of the records: parameters, stored images, worst case, clean figures, leakage."""

from __future__ import annotations

import statistics

from dermrobust.components.evaluation.checks import Status
from dermrobust.components.evaluation.names import CLEAN, WORST_CASE
from dermrobust.components.examples import Split
from dermrobust.components.measure.checks.check import Finding, passes
from dermrobust.components.measure.checks.evidence import Evidence

_PARAMETERS = ("attacks", "epsilons", "seed", "gradient_precision", "stop_at_success")
_VERSIONS = ("python", "tensorflow", "keras", "cleverhans")
_MANY_DUPLICATES = 0.01
_ROUNDING = 1e-9


def all_is_recorded(evidence: Evidence, model: str) -> Finding:
    """Check that the manifest of the predictions has threat model, seed, versions and attack parameters."""
    manifest = evidence.manifests[model]
    missing = [name for name in _PARAMETERS if name not in manifest.parameters]
    missing += [name for name in _VERSIONS if name not in manifest.versions]
    missing += [name for name in evidence.attacks if name not in manifest.parameters.get("attacks", {})]
    sentence = "Threat model, seed, versions and attack parameters are stored with the predictions."
    if missing:
        sentence = f"The predictions do not say {', '.join(missing)}: nobody can repeat them."
    figures = {
        "budgets": ", ".join(map(str, manifest.parameters.get("epsilons", ()))),
        "seed": manifest.parameters.get("seed"),
        **{name: manifest.versions.get(name) for name in _VERSIONS},
    }
    return passes(not missing), sentence, figures


def stored_images_are_in_budget(evidence: Evidence, model: str) -> Finding:
    """Check that every stored adversarial image lies inside its budget."""
    read = [row for row in evidence.stored if row["model"] == model]
    images, outside = sum(row["images"] for row in read), sum(row["outside"] for row in read)
    farthest: dict[str, float] = {}
    for row in read:
        key = f"farthest at {evidence.written(row['epsilon'])}"
        farthest[key] = max(row["farthest"], farthest.get(key, 0.0))
    bad = outside > 0 or not images
    sentence = f"All {images:,} adversarial images were read again and lie inside budget and bounds."
    if bad:
        sentence = f"{outside} of {images} stored adversarial images are outside their budget, or missing."
    return passes(not bad), sentence, {"images": images, "outside": outside, **farthest}


def worst_case_is_per_example(evidence: Evidence, model: str) -> Finding:
    """Check that robust accuracy is per example: a mean over attacks is no lower bound."""
    figures: dict[str, float] = {}
    worst = 0.0
    for epsilon in evidence.budgets:
        found = [evidence.accuracy(model, attack, epsilon) for attack in evidence.attacks]
        known = [value for value in found if value is not None]
        robust = evidence.worst_case(model, epsilon)
        if known:
            worst = max(worst, robust - min(known))
            budget = evidence.written(epsilon)
            figures[f"worst case at {budget}"] = robust
            figures[f"mean over attacks at {budget}"] = statistics.fmean(known)
    bad = worst > _ROUNDING or not figures
    sentence = "Robust accuracy is the share of images that nothing broke, not a mean over attacks."
    if bad:
        sentence = "The worst case is above the accuracy under an attack: it was not taken image by image."
    return passes(not bad), sentence, figures


def clean_beside_robust(evidence: Evidence) -> Finding:
    """Check that every robust figure has a clean one beside it."""
    places = {(row["model"], row["slice"], row["attack"]) for row in evidence.rows if row["metric"] == "accuracy"}
    robust = {(model, images) for model, images, attack in places if attack == WORST_CASE}
    alone = sorted(robust - {(model, images) for model, images, attack in places if attack == CLEAN})
    bad = bool(alone or not robust)
    sentence = "Every robust figure has the clean one beside it."
    if bad:
        sentence = f"{len(alone)} robust figures have no clean one: robustness that costs all accuracy would not show."
    return passes(not bad), sentence, {"robust figures": len(robust), "without a clean one": len(alone)}


def splits_do_not_leak(evidence: Evidence) -> Finding:
    """Check that no group, such as a patient, and no near-copy of an image is in two splits."""
    leakage, noun = evidence.leakage, evidence.group_noun
    tested = leakage.images.get(Split.TEST, 0)
    elsewhere = sum(leakage.images.values()) - tested
    copies = [copy for copy in leakage.near_duplicates if Split.TEST in (copy.first_split, copy.second_split)]
    status, sentence = Status.PASS, f"No {noun}, and no near-copy of an image, is in two splits."
    if leakage.shared_groups:
        status = Status.FAIL
        sentence = f"{len(leakage.shared_groups)} {noun}s are in two splits: the model has seen what it is tested on."
    elif leakage.near_duplicates:
        status = Status.FAIL if len(copies) > _MANY_DUPLICATES * tested else Status.WARN
        pairs = ", ".join(f"{copy.first} and {copy.second}" for copy in copies[:5])
        where = f", in the test split {pairs}" if copies else ", none of them in the test split"
        sentence = (
            f"{len(leakage.near_duplicates)} pairs of images in two splits are nearly the same{where}. "
            "A few of them change no figure; look at them."
        )
    # An audit may have validation images; training images it has none.
    if not leakage.images.get(Split.TRAIN, 0):
        unknown = "The training images are not known here, so that test images may be among them."
        status, sentence = (Status.WARN, unknown) if status is Status.PASS else (status, f"{sentence} {unknown}")
    figures = {
        f"shared {noun}s": len(leakage.shared_groups),
        "near-duplicates": len(leakage.near_duplicates),
        "in the test split": len(copies),
        "test images": tested,
        "other images": elsewhere,
    }
    return status, sentence, figures
