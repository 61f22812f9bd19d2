"""ASGI application: TensorFlow Serving's REST interface for one exported model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dermrobust.pipeline.serving.metadata import signature_defs
from dermrobust.pipeline.serving.requests import (
    BadRequest,
    PredictRequest,
    Signature,
    answer,
    parse_request,
)


@dataclass(frozen=True)
class Limits:
    """Limits of a server.

    Attributes:
        bytes: size of a request.
        instances: number of images in a request.
        seconds: time in which the body of a request must arrive, and time that a client waits for an answer.
        at_once: number of requests that are answered or waiting; further ones are turned away.
    """

    bytes: int = 32_000_000
    instances: int = 64
    seconds: float = 30.0
    at_once: int = 16


class Model(Protocol):
    """Model that is served; see `served.ServedModel`."""

    version: int
    signatures: Mapping[str, Signature]
    description: Mapping[str, Any]

    def predict(self, request: PredictRequest) -> dict[str, npt.NDArray[Any]]:
        """Return the outputs by name."""


_CLOSE = {"Connection": "close"}
"""Header of an answer to a request of which the rest is not read."""


class _TooLarge(Exception):
    pass


class RestService:
    """Handlers of the routes; one thread computes, since TensorFlow uses all cores for one request."""

    def __init__(self, model: Model, name: str, limits: Limits) -> None:
        self._model, self._name, self._limits = model, name, limits
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="predict")
        self._pending = 0

    def app(self) -> Starlette:
        """Return the application."""
        path = f"/v1/models/{self._name}"
        versioned = f"{path}/versions/{self._model.version}"
        routes = [Route("/healthz", self._health)]
        for base in (path, versioned):
            routes += [
                Route(base, self._status),
                Route(f"{base}/metadata", self._metadata),
                Route(f"{base}:predict", self._predict, methods=["POST"]),
            ]
        return Starlette(routes=routes, exception_handlers={404: self._not_found, 405: _not_allowed})

    async def _health(self, request: Request) -> Response:
        del request
        return JSONResponse({"status": "ok"})

    async def _status(self, request: Request) -> Response:
        del request
        state = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        return JSONResponse({"model_version_status": [{"version": str(self._model.version), **state}]})

    async def _metadata(self, request: Request) -> Response:
        del request
        spec = {"name": self._name, "signature_name": "", "version": str(self._model.version)}
        described = self._model.description
        found = {"signature_def": signature_defs(described["signatures"]), "dermrobust": described}
        return JSONResponse({"model_spec": spec, "metadata": found})

    async def _not_found(self, request: Request, error: Exception) -> Response:
        del error
        known = f"/v1/models/{self._name}"
        return _error(404, f"there is no '{request.url.path}'; the model is at {known}, version {self._model.version}")

    async def _predict(self, request: Request) -> Response:
        if self._pending >= self._limits.at_once:
            return _error(503, "too many requests are waiting; try again", {"Retry-After": "1"})
        self._pending += 1
        try:
            return await self._answered(request)
        finally:
            self._pending -= 1

    async def _answered(self, request: Request) -> Response:
        try:
            async with asyncio.timeout(self._limits.seconds):
                content = await _body(request, self._limits.bytes)
        except _TooLarge:
            return _error(413, f"the request is larger than {self._limits.bytes} bytes", _CLOSE)
        except TimeoutError:
            return _error(408, f"the request did not arrive within {self._limits.seconds:g} s", _CLOSE)
        try:
            body = _parsed(content)
            parsed = parse_request(body, self._model.signatures, self._limits.instances)
            working = asyncio.get_running_loop().run_in_executor(self._thread, self._model.predict, parsed)
            outputs = await asyncio.wait_for(working, self._limits.seconds)
            return JSONResponse(answer(parsed, outputs))
        except BadRequest as error:
            return _error(400, str(error))
        except TimeoutError:
            return _error(504, f"no answer within {self._limits.seconds:g} s")


def create_app(model: Model, name: str, limits: Limits | None = None) -> Starlette:
    """Return an ASGI application that serves a model under a name.

    `GET /v1/models/NAME` tells the version, `GET /v1/models/NAME/metadata` the signatures and classes, and
    `POST /v1/models/NAME:predict` the predictions for `instances` or `inputs`. An image that cannot be used makes the
    request fail with status 400 and the reason; TensorFlow Serving would return NaN for it.

    Args:
        model: loaded model.
        name: name in the routes.
        limits: limits of requests; None: the defaults.
    """
    return RestService(model, name, limits or Limits()).app()


async def _body(request: Request, most: int) -> bytes:
    """Return the body, of which no more than `most` bytes are read."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise _TooLarge
        parts.append(part)
    return b"".join(parts)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from None


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


async def _not_allowed(request: Request, error: Exception) -> Response:
    del error
    return _error(405, f"{request.method} is not possible here")


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status, headers=headers)
