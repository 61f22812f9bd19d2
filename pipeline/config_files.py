"""Config files and overrides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dermrobust.attacks.errors import UserError
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.config_errors import explain
from dermrobust.pipeline.config_sections import BeamConfig
from dermrobust.pipeline.strict_json import mistaken_booleans, parse_json

FILE_NAME = "pipeline_config.json"


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Read a config and apply overrides.

    Args:
        path: JSON file; None: `pipeline_config.json` in the current folder, otherwise the embedded default.
        overrides: texts `key.key=value`; a value that is not JSON is taken as a string.

    Raises:
        UserError: the file cannot be read, or the config is not valid.
    """
    source = path or _default_path()
    return validated(_read(source), overrides, str(source))


def load_beam(path: Path | None, overrides: Sequence[str]) -> BeamConfig:
    """Read the section `beam` of a config and apply overrides of it; see `load_config`.

    Args:
        path: JSON file; None: the default section.
        overrides: texts `beam.key=value`.

    Raises:
        UserError: the file cannot be read, the config is not valid, or an override is not of `beam`.
    """
    for override in overrides:
        if not override.startswith("beam."):
            raise UserError(f"--set {override}: only keys of beam can be set here, such as beam.runner=PortableRunner")
    return validated({} if path is None else _read(path), overrides, "--set" if path is None else str(path)).beam


def validated(values: dict[str, Any], overrides: Sequence[str], source: str) -> PipelineConfig:
    """Return the config of a mapping, which overrides change in place; see `load_config`.

    Args:
        values: keys of `pipeline_config.json`.
        overrides: texts `key.key=value`.
        source: name of the mapping in messages.

    Raises:
        UserError: the config is not valid.
    """
    for override in overrides:
        _override(values, override)
    try:
        config = PipelineConfig.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{source}:\n{explain(error, PipelineConfig)}") from error
    if mistaken := sorted(mistaken_booleans(values, config.model_dump(mode="json"))):
        raise UserError(f"{source}:\n" + "\n".join(f"  {path}: true and false are no value here" for path in mistaken))
    return config


def _default_path() -> Path:
    here = Path(FILE_NAME)
    if here.is_file():
        return here
    module = Path(__file__).resolve()
    # setup.py copies the default beside this module; in a checkout it lies at the top level.
    packaged = module.with_name(FILE_NAME)
    return packaged if packaged.is_file() else module.parents[1] / FILE_NAME


def _read(path: Path) -> dict[str, Any]:
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no config file '{path}'") from None
    except OSError as error:
        raise UserError(f"the config file '{path}' cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is not valid JSON: {error}") from error
    except UserError as error:
        raise UserError(f"'{path}': {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"'{path}' must hold a JSON object, but holds a {type(values).__name__}")
    return values


def _override(values: dict[str, Any], override: str) -> None:
    """Set the value of a key, creating the objects on its path."""
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UserError(f"--set {override}: expected key.key=value, such as evaluate.epsilons=[1,2]")
    try:
        value = parse_json(text)
    except json.JSONDecodeError:
        value = text
    except UserError as error:
        raise UserError(f"--set {key}: {error}") from None
    *path, last = key.split(".")
    place: Any = values
    for part in path:
        place = _step(place, part, key)
    if isinstance(place, list):
        place[_index(place, last, key)] = value
    else:
        place[last] = value


def _step(place: Any, part: str, key: str) -> Any:
    """Return the object or list that one part of a key names."""
    child = place[_index(place, part, key)] if isinstance(place, list) else place.setdefault(part, {})
    if not isinstance(child, dict | list):
        raise UserError(f"--set {key}: '{part}' is not an object, so it has no keys")
    return child


def _index(place: list[Any], part: str, key: str) -> int:
    if not part.isdecimal() or int(part) >= len(place):
        raise UserError(f"--set {key}: '{part}' is no index of a list of {len(place)}")
    return int(part)
