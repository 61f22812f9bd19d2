"""Conversion of the options of `dermrobust audit` to its settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dermrobust.attacks.errors import UserError
from dermrobust.pipeline.audit_settings import Audit
from dermrobust.pipeline.config_errors import explain
from dermrobust.pipeline.config_files import load_beam


def audit_settings(options: dict[str, Any]) -> Audit:
    """Return the settings that options stand for.

    Raises:
        UserError: the value of an option is not valid.
    """
    values = {
        **{name: options[name] for name in ("model", "data", "labels", "control", "root", "batch_size", "seed")},
        **{name: options[name] for name in ("limit", "outputs", "signature")},
        "beam": load_beam(options["config_path"], options["overrides"]),
        "attacks": options["suite"],
        "classes": _classes(options["classes"]),
        "malignant": _words(options["malignant"]),
        "image_size": _image_size(options["input_size"]),
        "input": _input(options),
    }
    if options["epsilons"]:
        values["epsilons"] = [float(text) if _is_number(text) else text for text in options["epsilons"]]
    try:
        return Audit.model_validate(values)
    except ValidationError as error:
        raise UserError(f"these options do not fit:\n{explain(error, Audit)}") from error


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
