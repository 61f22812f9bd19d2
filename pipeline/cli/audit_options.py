"""Conversion of the options of `dermrobust audit` to its settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.threat import Norm, ThreatModel
from dermrobust.models.foreign.spec import InputFormat, OutputKind, is_black_box
from dermrobust.pipeline.audit_settings import Audit
from dermrobust.pipeline.config_errors import explain
from dermrobust.pipeline.config_files import load_beam
from dermrobust.pipeline.zoo.catalog import PREFIX, model_folder, read_card, zoo_folder
from dermrobust.pipeline.zoo.reproducing import audited_attacks
from dermrobust.pipeline.zoo.verifying import verified_model

_MODELS = ("model", "control")
"""Options that may name a model of the zoo."""
_SPARSE = "sparse"
"""Suite under L0."""


def audit_settings(options: dict[str, Any]) -> Audit:
    """Return the settings that options stand for.

    Raises:
        UserError: the value of an option is not valid.
    """
    values = {
        **{name: options[name] for name in ("model", "data", "labels", "control", "root", "batch_size", "seed")},
        **{name: options[name] for name in ("limit", "outputs", "signature", "trust_model")},
        **{name: options[name] for name in ("validation_data", "validation_labels")},
        "beam": load_beam(options["config_path"], options["overrides"]),
        "attacks": options["suite"] or _suite(options),
        "classes": _classes(options["classes"]),
        "malignant": _words(options["malignant"]),
        "image_size": _image_size(options["input_size"]),
        "input": _input(options),
    }
    if options["epsilons"]:
        values["epsilons"] = [float(text) if _is_number(text) else text for text in options["epsilons"]]
    if options["threats"]:
        values["threats"] = options["threats"]
    if options["gradient_precision"]:
        values["gradient_precision"] = options["gradient_precision"]
    if options["sigmas"]:
        values["certificates"] = {"sigmas": options["sigmas"]}
    if options["rates"]:
        values["referral"] = {"rates": options["rates"]}
    values |= _of_zoo(options, values)
    try:
        return Audit.model_validate(values)
    except ValidationError as error:
        raise UserError(f"these options do not fit:\n{explain(error, Audit)}") from error


def _suite(options: dict[str, Any]) -> str:
    """Return the suite that is run unless an option names one."""
    # Under L0 no attack of the other suites is defined.
    if any(text.strip().startswith(Norm.L0) for text in options["epsilons"]):
        return _SPARSE
    return "black-box" if is_black_box(options["model"]) else "auto"


def _of_zoo(options: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that the card of a model of the zoo gives, but for those that an option gives."""
    names = {key: str(options[key]).removeprefix(PREFIX) for key in _MODELS if str(options[key]).startswith(PREFIX)}
    if not names:
        return {}
    zoo = zoo_folder(options["zoo_path"])
    found: dict[str, Any] = {key: verified_model(model_folder(zoo, name)) for key, name in names.items()}
    if "model" not in found:
        return found
    card = read_card(found["model"].parent)
    if options["input_size"] is None:
        found["preprocessing"] = card.preprocessing
    stated = {"classes": card.task.class_names, "input": InputFormat(), "outputs": OutputKind.LOGITS}
    found |= {name: value for name, value in stated.items() if values[name] is None}
    # The attacks of the card are not defined for L0.
    if not options["suite"] and values["attacks"] != _SPARSE:
        found["attacks"] = audited_attacks(card)
    if not options["gradient_precision"]:
        found["gradient_precision"] = card.evaluation.settings.get("gradient_precision", "float32")
    if not options["threats"] and card.evaluation.threats:
        found |= {"threats": card.evaluation.threats, "searches": card.evaluation.searches}
    if not options["epsilons"]:
        found["epsilons"] = [ThreatModel(epsilon, Norm(card.evaluation.norm)) for epsilon in card.epsilons]
    return found


def _input(options: dict[str, Any]) -> dict[str, Any] | None:
    """Return the range and scaling of the model's input, or None to detect them."""
    given, mean, std = options["input_range"], _numbers("--mean", options["mean"]), _numbers("--std", options["std"])
    if given is None and mean is None and std is None:
        return None
    # Means of images in [0, 1] or normalized ones are below 2, those of images in [0, 255] far above.
    bytes_meant = mean is not None and max(mean) > 2.0
    return {"range": given or ("0..255" if bytes_meant else "0..1"), "mean": mean, "std": std}


def _image_size(text: str | None) -> int | list[int | str] | None:
    """Return a side, or height and width; parts that are not numbers are left to validation."""
    if text is None or text.isdecimal():
        return None if text is None else int(text)
    return [int(part) if part.isdecimal() else part for part in text.split("x")]


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"{option} {text}: expected one number, or three with commas between them") from None


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(","))


def _classes(text: str | None) -> tuple[str, ...] | None:
    """Return the class names of a comma-separated list, or of a JSON file."""
    if text is None or not text.endswith(".json"):
        return _words(text)
    try:
        names = json.loads(Path(text).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--classes: '{text}' cannot be read as JSON: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"--classes: '{text}' must hold a list of names in the order of the model's outputs")
    return tuple(names)
