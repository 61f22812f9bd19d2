"""Beam's graph as a sequence of stages, each of which Spark runs as a job.

Beam's own optimizer fuses transforms into stages that exchange their elements through named buffers.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from apache_beam.coders import Coder
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_fn_api_pb2, beam_runner_api_pb2
from apache_beam.runners import pipeline_context
from apache_beam.runners.portability.fn_api_runner import translations
from apache_beam.runners.worker import bundle_processor
from apache_beam.utils import proto_utils

BufferId = bytes
IMPULSE = translations.IMPULSE_BUFFER
GROUP, SHUFFLE = "group", "shuffle"
"""Kinds of buffers; all others keep their elements as they are."""

_RUNNER_URNS = frozenset(
    {
        common_urns.primitives.FLATTEN.urn,
        common_urns.primitives.GROUP_BY_KEY.urn,
        common_urns.composites.RESHUFFLE.urn,
    }
)


@dataclass(frozen=True)
class SideInput:
    """Side input of a stage.

    Attributes:
        transform: name of the transform that reads it.
        tag: its name in that transform.
        pcollection: its elements.
        access_pattern: how it is read.
    """

    transform: str
    tag: str
    pcollection: str
    access_pattern: beam_runner_api_pb2.FunctionSpec

    @property
    def buffer(self) -> BufferId:
        """Buffer of the elements."""
        return translations.create_buffer_id(self.pcollection)


@dataclass(frozen=True)
class Stage:
    """Fused transforms.

    Attributes:
        name: name for logs and metrics.
        descriptor: the transforms as Beam's workers take them.
        inputs: buffer that each reading transform reads.
        outputs: buffer that each writing transform writes, and the PCollection that it is.
        side_inputs: side inputs of all transforms.
    """

    name: str
    descriptor: beam_fn_api_pb2.ProcessBundleDescriptor
    inputs: Mapping[str, BufferId]
    outputs: Mapping[str, tuple[BufferId, str]]
    side_inputs: tuple[SideInput, ...]


class Graph:
    """A pipeline in stages.

    Attributes:
        stages: stages in an order in which they can run.
    """

    def __init__(self, pipeline: beam_runner_api_pb2.Pipeline) -> None:
        phases = [
            translations.annotate_downstream_side_inputs,
            translations.fix_side_input_pcoll_coders,
            translations.lift_combiners,
            translations.expand_sdf,
            _expand_reshuffle,
            translations.expand_gbk,
            translations.sink_flattens,
            translations.greedily_fuse,
            translations.read_to_impulse,
            translations.impulse_to_input,
            translations.sort_stages,
            translations.add_impulse_to_dangling_transforms,
            translations.populate_data_channel_coders,
        ]
        self._context, stages = translations.create_and_optimize_stages(
            copy.deepcopy(pipeline), phases=phases, known_runner_urns=_RUNNER_URNS
        )
        self._components = self._context.components
        self._coders = pipeline_context.PipelineContext(self._components).coders
        self.stages = [self._stage(number, stage) for number, stage in enumerate(stages)]

    def coder(self, pcollection: str) -> Coder:
        """Return the coder of the windowed elements of a PCollection in its buffer."""
        return self._coders[self._context.data_channel_coders[pcollection]]

    def safe_coder(self, pcollection: str) -> Coder:
        """Return a coder of the same bytes that leaves types of the user encoded."""
        return self._coders[self._context.safe_coders[self._context.data_channel_coders[pcollection]]]

    def ends(self, buffer: BufferId) -> tuple[str, str]:
        """Return the PCollections that are written to and read from a buffer of kind GROUP or SHUFFLE."""
        transform = self._components.transforms[translations.split_buffer_id(buffer)[1]]
        (written,), (read,) = transform.inputs.values(), transform.outputs.values()
        return written, read

    def _stage(self, number: int, stage: translations.Stage) -> Stage:
        made = Stage(stage.name, beam_fn_api_pb2.ProcessBundleDescriptor(id=f"stage-{number}"), {}, {}, ())
        transforms = {transform.unique_name: transform for transform in stage.transforms}
        for name, transform in transforms.items():
            buffer = transform.spec.payload
            if transform.spec.urn == bundle_processor.DATA_INPUT_URN:
                (pcollection,) = transform.outputs.values()
                made = replace(made, inputs={**made.inputs, name: buffer})
            elif transform.spec.urn == bundle_processor.DATA_OUTPUT_URN:
                (pcollection,) = transform.inputs.values()
                made = replace(made, outputs={**made.outputs, name: (buffer, pcollection)})
            else:
                made = replace(made, side_inputs=(*made.side_inputs, *_side_inputs(transform)))
                continue
            port = beam_fn_api_pb2.RemoteGrpcPort(coder_id=self._context.data_channel_coders[pcollection])
            transform.spec.payload = port.SerializeToString()
        self._describe(made.descriptor, transforms)
        return made

    def _describe(self, descriptor: beam_fn_api_pb2.ProcessBundleDescriptor, transforms: Mapping[str, Any]) -> None:
        """Fill in a descriptor, with as much of the graph as the transforms refer to."""
        components = self._components
        used = {name for each in transforms.values() for name in (*each.inputs.values(), *each.outputs.values())}
        for field, source in {
            "transforms": transforms,
            "pcollections": {name: components.pcollections[name] for name in used},
            "coders": components.coders,
            "windowing_strategies": components.windowing_strategies,
            "environments": components.environments,
        }.items():
            for name, message in source.items():
                getattr(descriptor, field)[name].CopyFrom(message)


def kind_of(buffer: BufferId) -> str:
    """Return the kind of a buffer."""
    return translations.split_buffer_id(buffer)[0]


def _side_inputs(transform: beam_runner_api_pb2.PTransform) -> Iterator[SideInput]:
    for tag, pcollection in translations.side_inputs(transform).items():
        payload = proto_utils.parse_Bytes(transform.spec.payload, beam_runner_api_pb2.ParDoPayload)
        yield SideInput(transform.unique_name, tag, pcollection, payload.side_inputs[tag].access_pattern)


def _expand_reshuffle(
    stages: Iterable[translations.Stage], context: translations.TransformContext
) -> Iterator[translations.Stage]:
    """Turn each Reshuffle into a write followed by a read, as Beam's `expand_gbk` does with GroupByKey."""
    for stage in stages:
        (transform,) = stage.transforms
        if transform.spec.urn != common_urns.composites.RESHUFFLE.urn:
            yield stage
            continue
        for pcollection in (*transform.inputs.values(), *transform.outputs.values()):
            context.length_prefix_pcoll_coders(pcollection)
        name = translations.unique_name(context.components.transforms, f"{transform.unique_name}/Shuffle")
        context.components.transforms[name].CopyFrom(transform)
        buffer = translations.create_buffer_id(name, kind=SHUFFLE)

        def end(urn: str, part: str, buffer: bytes = buffer, **sides: Any) -> beam_runner_api_pb2.PTransform:
            spec = beam_runner_api_pb2.FunctionSpec(urn=urn, payload=buffer)
            return beam_runner_api_pb2.PTransform(unique_name=part, spec=spec, **sides)

        write = translations.Stage(
            f"{name}/Write",
            [end(bundle_processor.DATA_OUTPUT_URN, f"{name}/Write", inputs=transform.inputs)],
            downstream_side_inputs=frozenset(),
            must_follow=stage.must_follow,
        )
        yield write
        yield translations.Stage(
            f"{name}/Read",
            [end(bundle_processor.DATA_INPUT_URN, f"{name}/Read", outputs=transform.outputs)],
            downstream_side_inputs=stage.downstream_side_inputs,
            must_follow=translations.union(frozenset([write]), stage.must_follow),
        )
