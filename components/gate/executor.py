"""Executor of gate: reads an evaluation, judges it, and writes the blessing."""

from __future__ import annotations

from dermrobust.attacks.threat import Norm
from dermrobust.components import storage
from dermrobust.components.component import Context
from dermrobust.components.evaluation import files
from dermrobust.components.evaluation.reading import read_evaluation
from dermrobust.components.gate.component import GateParams
from dermrobust.components.gate.judging import bless


def run(context: Context) -> None:
    """Write `blessing.json`; a refused candidate is a result, not an error.

    Raises:
        UserError: the gate names a model, a class, a slice or a rule that does not exist.
    """
    params = context.params
    assert isinstance(params, GateParams)
    evaluation = read_evaluation(context.input("evaluation").uri)
    blessing, norm = bless(params.gate, evaluation), Norm(evaluation.about.norm)
    content = blessing.model_dump_json(indent=1).encode()
    storage.write_bytes(storage.join(context.outputs["blessing"], files.BLESSING), content)
    verdict = "meets" if blessing.blessed else "does not meet"
    uncovered = ", ".join((*map(norm.written, blessing.uncovered), *blessing.uncovered_threats))
    silent = f"; no threshold covers {uncovered}" if uncovered else ""
    context.progress.line(f"gate: '{blessing.candidate}' {verdict} what the gate asks for{silent}")
