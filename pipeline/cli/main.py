"""Command `dermrobust`. Its subcommands hold no logic, and import what is slow to import when they are called."""

from __future__ import annotations

import click

from dermrobust.components.garbage_collection import collect_rarely
from dermrobust.pipeline.cli import (
    auditing,
    certifying,
    configuration,
    doctor,
    inspection,
    reporting,
    running,
    serving,
    sweeping,
    trust,
    zoo,
)
from dermrobust.pipeline.cli.library_output import silence_libraries
from dermrobust.version import __version__


class _InOrder(click.Group):
    """Group whose help lists commands in the order in which they were added."""

    def list_commands(self, context: click.Context) -> list[str]:
        """See `click.Group.list_commands`."""
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="dermrobust")
def main() -> None:
    """Measure how robust an image classifier is to attacks, harden it, and export it only if it passes a gate.

    A research tool, not a medical device.
    """
    silence_libraries()
    collect_rarely()


main.add_command(running.run)
for stage_command in running.stage_commands():
    main.add_command(stage_command)
main.add_command(sweeping.sweep)
main.add_command(certifying.certify)
main.add_command(auditing.audit)
main.add_command(inspection.runs)
main.add_command(inspection.show)
main.add_command(trust.verify)
main.add_command(trust.sign)
main.add_command(inspection.gc)
main.add_command(reporting.report)
main.add_command(reporting.open_report)
main.add_command(reporting.compare)
main.add_command(reporting.track)
main.add_command(serving.serve)
main.add_command(zoo.zoo)
main.add_command(configuration.config)
main.add_command(doctor.doctor)
