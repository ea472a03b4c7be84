"""Information about the server: models, health, metrics."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from mien.serve.parameters import reject_unknown
from mien.serve.problems import Problem
from mien.serve.schema import METRICS, HealthBody, ModelsBody, problems
from mien.serve.state import state_of

router = APIRouter(tags=["about"], dependencies=[Depends(reject_unknown)])


@router.get(
    "/v1/models",
    summary="List the models",
    response_model=ModelsBody,
    response_description="The served models",
    responses=problems(401, 403, 421, 422, 429),
)
async def models(request: Request) -> JSONResponse:
    """Return the models that the query parameter `model` may select; the default comes first."""
    return JSONResponse(state_of(request).catalog.to_dict())


@router.get(
    "/healthz",
    summary="Liveness check",
    response_model=HealthBody,
    response_description="The process responds",
    responses=problems(403, 421, 422),
)
async def healthz() -> JSONResponse:
    """Return 200 while the process responds."""
    return JSONResponse({"status": "ok"})


@router.get(
    "/readyz",
    summary="Readiness check",
    response_model=HealthBody,
    response_description="Uploads are accepted",
    responses=problems(403, 421, 422, 503),
)
async def readyz(request: Request) -> JSONResponse:
    """Return 200 while an upload would be accepted, 503 while the server is busy."""
    if state_of(request).admission.full:
        raise Problem(
            503,
            "the server is busy: too many requests are in progress",
            "retry after the number of seconds in Retry-After",
        )
    return JSONResponse({"status": "ready"})


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=PlainTextResponse,
    response_description="Metrics in text format 0.0.4",
    responses={
        **problems(401, 403, 421, 422, 429),
        200: {"content": {"text/plain": {"example": METRICS}}},
    },
)
async def metrics(request: Request) -> Response:
    """Return the metrics of all worker processes in Prometheus's text format."""
    text = state_of(request).metrics.text()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
