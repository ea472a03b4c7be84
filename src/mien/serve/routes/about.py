"""What there is, and how the server is."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from mien.serve.problems import Problem
from mien.serve.query import only_known
from mien.serve.schema import ModelsBody, StateBody, problems
from mien.serve.state import state_of

router = APIRouter(tags=["about"], dependencies=[Depends(only_known)])


@router.get(
    "/v1/models",
    summary="The models served",
    response_model=ModelsBody,
    responses=problems(401, 403, 421, 429),
)
async def models(request: Request) -> JSONResponse:
    """List the models that `model` may name."""
    return JSONResponse(state_of(request).catalogue.to_dict())


@router.get("/healthz", summary="Is the process alive?", response_model=StateBody)
async def healthz() -> JSONResponse:
    """Answer as long as the process can."""
    return JSONResponse({"status": "ok"})


@router.get(
    "/readyz",
    summary="Will a request be answered now?",
    response_model=StateBody,
    responses=problems(503),
)
async def readyz(request: Request) -> JSONResponse:
    """Answer 200 where a request would be taken in, 503 where as many run as may."""
    if state_of(request).gate.full:
        raise Problem(503, "too many requests are being answered", "try again soon")
    return JSONResponse({"status": "ready"})


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=PlainTextResponse,
    responses=problems(401, 403, 421, 429),
)
async def metrics(request: Request) -> Response:
    """Return the numbers of all worker processes in Prometheus's text form."""
    text = state_of(request).metrics.text()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
