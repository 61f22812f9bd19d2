"""The work of evaluate: one TFMA run over the predictions of all models, the metrics as a table, and the gate."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from attacks.errors import UserError
from components import storage
from components.component import Context
from components.evaluate.adaptive import adaptive_losses
from components.evaluate.component import EvaluateParams
from components.evaluate.files import ADAPTIVE, BLESSING, METRICS, TFMA
from components.evaluate.gate import judge
from components.evaluate.predict import prediction_uris
from components.evaluate.table import metrics_table
from components.evaluate.tfma_run import build_eval_config, run_tfma


def run(context: Context) -> None:
    """Slice the metrics of all models with TFMA, and bless the candidate if it meets every threshold.

    Raises:
        UserError: the gate names a model that was not evaluated.
    """
    params = context.params
    assert isinstance(params, EvaluateParams)
    shards = {
        name: prediction_uris(artifact)
        for name, artifact in zip(params.models, context.inputs["predictions"], strict=True)
    }
    if params.gate.candidate not in shards:
        raise UserError(f"evaluate: the gate's candidate '{params.gate.candidate}' is none of {', '.join(shards)}")
    output = storage.join(context.outputs["evaluation"], TFMA)
    eval_config = build_eval_config(params.models, params.class_names, params.gate)
    with context.progress.task("evaluate: metrics by slice (TFMA)", 1, "run") as task:
        with context.beam.pipeline() as root:
            run_tfma(root, shards, eval_config, output)
        task.advance()
    table = metrics_table(output, params.models, params.norm)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    storage.write_bytes(storage.join(context.outputs["evaluation"], METRICS), sink.getvalue().to_pybytes())
    losses = adaptive_losses(table, params.transfers)
    storage.write_bytes(
        storage.join(context.outputs["evaluation"], ADAPTIVE), losses.model_dump_json(indent=1).encode()
    )
    blessing = judge(params.gate, output, table)
    storage.write_bytes(
        storage.join(context.outputs["blessing"], BLESSING), blessing.model_dump_json(indent=1).encode()
    )
    verdict = "blessed" if blessing.blessed else "not blessed"
    context.progress.line(f"evaluate: '{blessing.candidate}' is {verdict}")
