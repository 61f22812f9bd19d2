"""The Beam engine that data-parallel work runs on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dermrobust.attacks.errors import UserError

if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

LOCAL_RUNNER = "DirectRunner"
UNSAFE_RUNNERS = {"DaskRunner": "it loses data silently (Beam 2.77: only the last branch of a pipeline runs)"}


@dataclass(frozen=True)
class BeamRuntime:
    """A runner's name and the options for it, as Beam's command line takes them."""

    runner: str = LOCAL_RUNNER
    options: tuple[str, ...] = ()

    def pipeline_options(self) -> PipelineOptions:
        """Return Beam's options."""
        from apache_beam.options.pipeline_options import PipelineOptions, TypeOptions

        options = PipelineOptions(list(self.options))
        options.view_as(TypeOptions).pipeline_type_check = False
        return options

    def create_runner(self) -> Any:
        """Return the runner: for DirectRunner Beam's in-process engine itself.

        Beam's own DirectRunner first tries to download another engine, and falls back to this one.

        Raises:
            UserError: Beam knows no such runner.
        """
        if self.runner == LOCAL_RUNNER:
            from apache_beam.runners.portability.fn_api_runner import FnApiRunner

            return FnApiRunner()
        from apache_beam.runners.runner import create_runner

        try:
            return create_runner(self.runner)
        except (ValueError, ImportError, AttributeError) as error:
            raise UserError(f"beam.runner: '{self.runner}' cannot be used: {error}") from error

    def pipeline(self) -> beam.Pipeline:
        """Return a new Beam pipeline on this engine."""
        import apache_beam as beam

        return beam.Pipeline(runner=self.create_runner(), options=self.pipeline_options())
