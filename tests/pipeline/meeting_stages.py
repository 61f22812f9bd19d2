"""Stages that tell which process they run in, and two that end only if both run at the same time."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from dermrobust.attacks.errors import UserError
from dermrobust.components.component import Component, Context, Params
from dermrobust.components.storage import join, write_bytes
from dermrobust.pipeline.nodes import Node
from tests.pipeline import small_stages

LONG = "x" * 50_000
_MEETING_SECONDS = 60.0


class Meeting(Params):
    """What a stage does, and a folder in which the stages leave signs for each other and for the test."""

    name: str
    folder: str
    meets: str = ""
    first_process: int = 0
    elsewhere: str = ""
    reports: int = 0


def work(context: Context) -> None:
    """Leave a sign with the id of the process, do what is asked for, and write a line of text."""
    params = context.params
    assert isinstance(params, Meeting)
    signs = Path(params.folder)
    (signs / params.name).write_text(str(os.getpid()))
    with context.progress.task(params.name, 2, "parts") as task:
        task.advance()
        task.note("half")
        if params.meets:
            _meet(signs / params.meets)
        # From several threads, as files are counted; so long that a pipe takes more than one write for it.
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: task.note(LONG), range(params.reports)))
        if os.getpid() != params.first_process:
            _elsewhere(params.elsewhere)
        task.advance()
    context.progress.line(f"{params.name}: written")
    for uri in context.outputs.values():
        write_bytes(join(uri, small_stages.TEXT), f"{params.name}\n".encode())
        write_bytes(join(uri, "saved_model", "saved_model.pb"), b"model")


def _meet(sign: Path) -> None:
    started = time.monotonic()
    while not sign.exists():
        if time.monotonic() - started > _MEETING_SECONDS:
            raise RuntimeError(f"'{sign.name}' does not run at the same time")
        time.sleep(0.01)


def _elsewhere(what: str) -> None:
    """What a stage does in the second process."""
    if what == "mistake":
        raise UserError("choose another number")
    if what == "error":
        raise ZeroDivisionError("nothing is left")
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "sleep":
        time.sleep(600)


def graph(folder: Path, *, meet: bool = True, elsewhere: str = "", reports: int = 0) -> list[Node]:
    """Return the small pipeline, whose trainings wait for each other."""
    needs = {"train[one]": "train[two]", "train[two]": "train[one]"} if meet else {}

    def changed(node: Node) -> Node:
        component: Component = replace(node.component, params=Meeting, executor=f"{__name__}:work", concurrent=True)
        if not node.id.startswith("train"):
            component = replace(component, concurrent=False)
        values: dict[str, Any] = {"first_process": os.getpid(), "elsewhere": elsewhere, "reports": reports}
        params = Meeting(name=node.id, folder=str(folder), meets=needs.get(node.id, ""), **values)
        return replace(node, component=component, params=params)

    return [changed(node) for node in small_stages.graph()]
