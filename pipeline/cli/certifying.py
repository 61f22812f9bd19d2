"""Command that certifies models by randomized smoothing."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dermrobust.pipeline.cli.options import config_from, config_option, json_option, set_option, user_errors
from dermrobust.pipeline.cli.terminal import echo_json

if TYPE_CHECKING:
    from dermrobust.components.progress import Progress
    from dermrobust.pipeline.outcomes import RunResult


@click.command(short_help="Certify every model by randomized smoothing.")
@config_option
@set_option
@click.option("--force", is_flag=True, help="Repeat the work even if nothing changed.")
@json_option
@user_errors
def certify(config_path: Path | None, overrides: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Certify the predictions of every model by randomized smoothing, and attack the smoothed models.

    `evaluate.certificates` names noise, radii and numbers of samples. Uses the models of earlier stages; `evaluate`
    then adds the figures to metrics, report and gate.
    """
    config = config_from(config_path, overrides)
    from dermrobust.pipeline.certifying import certified_models, run_certificates
    from dermrobust.pipeline.cli.progress import with_progress

    def work(progress: Progress) -> RunResult:
        return run_certificates(config, progress, force=force)

    result = with_progress(config, work)
    found = certified_models(config, result)
    if as_json:
        models = [asdict(summary) for summary in found]
        messages = {node.node: node.message for node in result.nodes if not node.ok}
        echo_json({"run": result.run, "certificates": models, "failed": messages})
    else:
        from dermrobust.pipeline.cli.certificates_table import certificates_table
        from dermrobust.pipeline.cli.console import Console

        if found:
            Console().print(certificates_table(found))
    sys.exit(result.exit_code)
