"""The routes of the service."""

from typing import Annotated, Literal

import msgspec
from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from common.calibration import LARGEST_FPR, SMALLEST_FPR
from service import openapi, schema
from service.answers import Wanted, described_model
from service.guard import INTERNAL
from service.inspecting import Inspecting
from service.metrics import Metrics
from service.models import Models
from service.refusals import RefusedRequestError
from service.reloading import Reloading

JSON = "application/json"
PARAMETERS = ("fpr", "map", "mask", "min_area")
Category = Annotated[str, Path(description="one of those that `GET /v1/models` lists")]
Fpr = Annotated[
    float | None,
    Query(
        ge=SMALLEST_FPR,
        le=LARGEST_FPR,
        description="false-alarm rate of the verdict (default: that of the service)",
        examples=[0.01],
    ),
]
Map = Annotated[Literal["none", "png", "npy"], Query(description="form of the anomaly map")]
Mask = Annotated[bool, Query(description="whether to answer with a mask of the defect")]
MinArea = Annotated[
    int | None,
    Query(
        ge=0,
        le=2**31,
        description="leave smaller regions out, in pixels (default: as the service was started)",
        examples=[20],
    ),
]


def build(
    models: Models, inspecting: Inspecting, reloading: Reloading, metrics: Metrics, token: bool
) -> FastAPI:
    """The application, without what `Guard` does. `token`: whether requests must bear one."""
    app = FastAPI(title="Visual anomaly detection", version="1", docs_url=None, redoc_url=None)
    app.openapi = lambda: openapi.describe(app, sorted(models.by_category), token)
    _add_errors(app)
    _add_inspection(app, models, inspecting)
    _add_state(app, models, reloading, metrics)
    openapi.add_page(app)
    return app


def _add_inspection(app: FastAPI, models: Models, inspecting: Inspecting) -> None:
    @app.post(
        "/v1/{category}/inspect",
        response_model=schema.Inspection,
        responses=openapi.refusals(400, 401, 404, 408, 411, 413, 415, 422, 503, 504),
        openapi_extra={"requestBody": openapi.BODY},
        tags=["inspection"],
    )
    async def inspect(
        request: Request,
        category: Category,
        fpr: Fpr = None,
        map: Map = "none",
        mask: Mask = False,
        min_area: MinArea = None,
    ):
        """Judge one or several pictures."""
        if unknown := [name for name in request.query_params if name not in PARAMETERS]:
            known = ", ".join(PARAMETERS)
            raise RefusedRequestError(422, f"{unknown[0][:80]}: unknown; expected {known}")
        if (model := models.by_category.get(category)) is None:
            raise RefusedRequestError(404, "no such category; GET /v1/models lists them")
        with model.used():
            found = await inspecting(request, model, Wanted(fpr, map, mask, min_area))
        return Response(found, media_type=JSON)

    @app.get(
        "/v1/models",
        response_model=schema.ServedModels,
        responses=openapi.refusals(401),
        tags=["inspection"],
    )
    async def list_models():
        """The models, one per category."""
        found = [described_model(model) for _, model in sorted(models.by_category.items())]
        return Response(msgspec.json.encode({"models": found}), media_type=JSON)


def _add_state(app: FastAPI, models: Models, reloading: Reloading, metrics: Metrics) -> None:
    @app.get("/healthz", response_model=schema.State, tags=["state"])
    async def alive():
        """Whether the process is alive."""
        return {"state": "alive"}

    @app.get(
        "/readyz",
        response_model=schema.State,
        responses={503: {"model": schema.State, "description": "Not ready"}},
        tags=["state"],
    )
    async def ready(request: Request):
        """Whether every model judges a test picture now, and the service does not stop."""
        if request.state.draining:
            return JSONResponse({"state": "stopping"}, 503)
        if not await models.ready():
            return JSONResponse({"state": "a model does not answer"}, 503)
        return {"state": "ready"}

    @app.get(
        "/metrics",
        response_class=PlainTextResponse,
        responses=openapi.NO_TOKEN,
        tags=["state"],
    )
    async def count():
        """Requests, latencies, queue, verdicts and scores, for Prometheus."""
        return Response(metrics.text(), media_type=metrics.content_type)

    @app.post(
        "/v1/reload",
        response_model=schema.State,
        responses=openapi.refusals(401) | openapi.RELOADS,
        tags=["state"],
    )
    async def reload():
        """Open the models anew. Only with a token; without one, send SIGHUP to the process."""
        await reloading.requested()
        return {"state": "reloaded"}


def _add_errors(app: FastAPI) -> None:
    """Every refusal is JSON: {"error": …}."""

    @app.exception_handler(RefusedRequestError)
    async def not_answered(request: Request, error: RefusedRequestError):
        return JSONResponse({"error": error.text}, error.status, error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception):
        return JSONResponse({"error": INTERNAL}, 500)  # the exception goes on to Guard's log

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException):
        text = {404: "no such address; see /docs", 405: "this method is not allowed here"}
        found = {"error": text.get(error.status_code, "the request was refused")}
        return JSONResponse(found, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError):
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse({"error": f"{name}: {first['msg']}"}, 422)
