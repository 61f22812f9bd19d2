"""Server of an exported model, whose connections are bounded in time: a client cannot hold one byte by byte."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dermrobust.pipeline.serving.app import Limits, Model, create_app

_ARRIVING = (h11.IDLE, h11.SEND_BODY)
"""States of a client whose request is not complete."""


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 connection that is closed if the head of a request is not complete in time.

    uvicorn bounds the time between two requests, and the application that of a body; while a head arrives, neither
    does. A body that goes on after its answer is bounded here as well.
    """

    seconds: float
    """Time for a request to arrive, from the first byte on, or from the connection on for the first request."""
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.BaseProtocol.connection_made`."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol.data_received`."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol.connection_lost`."""
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Start the time of a request that has begun to arrive, or stop that of one that is complete."""
        if self.conn.their_state not in _ARRIVING:
            self._stop()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.seconds, self._expired)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expired(self) -> None:
        self._deadline = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            # The application waits for the body, for a time of its own.
            self._watch()


def new_server(model: Model, name: str, limits: Limits) -> uvicorn.Server:
    """Return a server of a model under a name; `run` it on sockets that listen.

    Args:
        model: loaded model.
        name: name in the routes.
        limits: limits of requests; `seconds` bounds how long one may take to arrive, too.
    """
    protocol = type("Protocol", (BoundedProtocol,), {"seconds": limits.seconds})
    app = create_app(model, name, limits)
    return uvicorn.Server(uvicorn.Config(app, http=protocol, ws="none", log_level="warning"))
