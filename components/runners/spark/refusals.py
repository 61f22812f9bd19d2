"""What the Spark runner does not support; a pipeline with any of it is refused before its job starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.worker.bundle_processor import BeamTransformFactory
from apache_beam.utils import proto_utils

from dermrobust.attacks.errors import UserError

_RUNNER_URNS = frozenset(
    {
        common_urns.primitives.IMPULSE.urn,
        common_urns.primitives.FLATTEN.urn,
        common_urns.primitives.GROUP_BY_KEY.urn,
        common_urns.composites.RESHUFFLE.urn,
        common_urns.composites.COMBINE_PER_KEY.urn,
    }
)
_TRIGGERS = ("default", "always")
"""Triggers of the global window that one firing at the end of the input satisfies."""


def refuse_unsupported(pipeline: beam_runner_api_pb2.Pipeline) -> None:
    """Check a pipeline.

    Raises:
        UserError: it has something that this runner does not support; the message names it, and where it is.
    """
    found = list(dict.fromkeys(_unsupported(pipeline.root_transform_ids, pipeline.components, reading=False)))
    if found:
        raise UserError(
            f"beam.runner: PySparkRunner does not support {'; '.join(found)}. "
            "Choose another runner for this pipeline, such as DirectRunner"
        )


def _unsupported(ids: Iterable[str], components: beam_runner_api_pb2.Components, *, reading: bool) -> Iterator[str]:
    """Yield what is not supported in transforms and their parts; `reading`: they are parts of a bounded read."""
    for transform in (components.transforms[name] for name in ids):
        urn, place = transform.spec.urn, f" ({transform.unique_name})"
        known = urn in _RUNNER_URNS or urn == common_urns.primitives.PAR_DO.urn
        if urn == common_urns.primitives.PAR_DO.urn:
            yield from (what + place for what in _of_par_do(transform.spec.payload, reading=reading))
        elif transform.subtransforms and not known:
            inside = reading or urn == common_urns.deprecated_primitives.READ.urn
            yield from _unsupported(transform.subtransforms, components, reading=inside)
        elif set(transform.outputs.values()) - set(transform.inputs.values()) and not (
            known or urn in BeamTransformFactory._known_urns
        ):
            yield f"the transform {urn or 'without a URN'}{place}"
        yield from (what + place for what in _of_outputs(transform, components))


def _of_par_do(payload: bytes, *, reading: bool) -> Iterator[str]:
    par_do = proto_utils.parse_Bytes(payload, beam_runner_api_pb2.ParDoPayload)
    if par_do.timer_family_specs:
        yield "timers"
    elif par_do.state_specs:
        yield "state"
    if par_do.restriction_coder_id and not reading:
        yield "a splittable DoFn other than a bounded read"
    if par_do.requests_finalization:
        yield "bundle finalization"
    if par_do.requires_stable_input:
        yield "stable input"


def _of_outputs(transform: beam_runner_api_pb2.PTransform, components: beam_runner_api_pb2.Components) -> Iterator[str]:
    for name in transform.outputs.values():
        collection = components.pcollections[name]
        windowing = components.windowing_strategies[collection.windowing_strategy_id]
        if collection.is_bounded == beam_runner_api_pb2.IsBounded.UNBOUNDED:
            yield "an unbounded source"
        elif windowing.window_fn.urn != common_urns.global_windows.urn:
            yield "windows other than the global one"
        elif windowing.HasField("trigger") and windowing.trigger.WhichOneof("trigger") not in _TRIGGERS:
            yield "triggers"
