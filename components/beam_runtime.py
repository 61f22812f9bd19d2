"""Beam engine of the data-parallel work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dermrobust.attacks.errors import UserError
from dermrobust.components.runners.registry import RUNNERS

if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions


@dataclass(frozen=True)
class BeamRuntime:
    """Runner and options of Beam pipelines.

    Attributes:
        runner: name of a runner, of `RUNNERS` or of Beam.
        options: options in the form of Beam's command line, such as "--job_endpoint=localhost:8099".
        root: folder or URI of the files that workers read and write; None: they share none.
    """

    runner: str = "DirectRunner"
    options: tuple[str, ...] = ()
    root: str | None = None

    @property
    def on_this_machine(self) -> bool:
        """Whether workers are processes of this machine, with the same disks and temporary files."""
        return self.runner == "DirectRunner"

    def pipeline_options(self) -> PipelineOptions:
        """Return Beam's options."""
        from apache_beam.options.pipeline_options import PipelineOptions, TypeOptions

        options = PipelineOptions(list(self.options))
        # Beam takes the annotations of `process` for type hints, and rejects `*side: Any` for side inputs.
        options.view_as(TypeOptions).pipeline_type_check = False
        return options

    def create_runner(self) -> Any:
        """Return the runner.

        Raises:
            UserError: there is no such runner, or it cannot be imported.
        """
        if self.runner in RUNNERS.entries:
            return RUNNERS.resolve(self.runner)(self.options, self.root)
        from apache_beam.runners.runner import create_runner

        try:
            return create_runner(self.runner)
        except (ValueError, ImportError, AttributeError) as error:
            raise UserError(f"beam.runner: '{self.runner}' cannot be used: {error}") from error

    def pipeline(self) -> beam.Pipeline:
        """Return a new Beam pipeline on this runner."""
        import apache_beam as beam

        return beam.Pipeline(runner=self.create_runner(), options=self.pipeline_options())
