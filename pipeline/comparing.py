"""Finding the two runs that a user wants to see side by side."""

from __future__ import annotations

from pathlib import Path

from dermrobust.attacks.errors import UserError
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.report.comparing import Compared, Side, compare, render_comparison
from dermrobust.pipeline.reporting import evaluated_run


def compare_runs(config: PipelineConfig, first: str, second: str) -> Compared:
    """Return two runs side by side.

    Args:
        config: of the pipeline; it says where runs are that come without a root.
        first: the id of a run, `ROOT:ID` for a run of another root, or a root for its latest evaluation.
        second: likewise.

    Raises:
        UserError: there is no such run, or it has not evaluated anything.
    """
    return compare(_side(config, first), _side(config, second))


def write_comparison(compared: Compared, path: Path) -> None:
    """Write a comparison as an HTML page.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render_comparison(compared), encoding="utf-8")
    except OSError as error:
        raise UserError(f"'{path}' cannot be written: {error.strerror}") from error


def _side(config: PipelineConfig, name: str) -> Side:
    root, separator, run = name.rpartition(":")
    if _is_root(name):
        found = evaluated_run(config.model_copy(update={"root": name}), None)
    elif separator and not run.startswith("//"):
        if not _is_root(root):
            raise UserError(f"'{name}': there are no runs in '{root}'; give a run as ID, ROOT:ID, or a root by itself")
        found = evaluated_run(config.model_copy(update={"root": root}), run or None)
    else:
        found = evaluated_run(config, name)
    return Side(name if separator else found.run, found.evaluation, found.lineage)


def _is_root(name: str) -> bool:
    return Path(name, "ledger.sqlite").is_file()
