"""Entry point of the command line: its process ends as the command did."""

import atexit
import contextlib
import logging
import os
import sys


def main() -> None:
    """Run the command line in a process of its own.

    The process ends without the destructors of C++ libraries, which abort it where a thread still runs, as Arrow's
    sometimes do (apache/arrow#34314): a run that had completed would end with SIGABRT.
    """
    ended = _Ended()
    # What is registered first is called last: after the functions that libraries register.
    atexit.register(ended.leave)
    from dermrobust.pipeline.cli.main import main as command

    try:
        command()
    except SystemExit as end:
        ended.code = end.code
        raise


class _Ended:
    """How the command ended.

    Attributes:
        code: exit code of the process; a text or None where the interpreter must end it.
    """

    def __init__(self) -> None:
        self.code: str | int | None = None

    def leave(self) -> None:
        """End the process, if the command has ended in an orderly way."""
        if not isinstance(self.code, int):
            return
        logging.shutdown()
        # A reader of the output may be gone, which the interpreter tells in its own way.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self.code)
