"""The description of the API (OpenAPI), and the page that shows it without a network."""

from importlib.resources import files

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, Response

from service.schema import Error

DESCRIPTION = """
Send pictures to `/v1/{category}/inspect`, and get a score, a verdict and the defective regions of
each. `GET /v1/models` lists the categories.

    curl -H "Content-Type: image/png" --data-binary @a.png http://127.0.0.1:8000/v1/CATEGORY/inspect
    curl -F a=@a.png -F b=@b.png "http://127.0.0.1:8000/v1/CATEGORY/inspect?fpr=0.001&map=png"

If the service was started with a token, add `-H "Authorization: Bearer TOKEN"`.
"""
REFUSALS = {
    400: "the body is empty, incomplete or not well-formed",
    401: "the token is missing or wrong",
    404: "there is no such category",
    408: "the body did not arrive in time",
    411: "the body has no length and is not chunked",
    413: "the body is too long, or has too many pictures, or a picture has too many pixels",
    415: "the Content-Type is not one of those below",
    422: "a parameter is wrong, or a picture does not decode",
    503: "the service is busy; send the request again after Retry-After seconds",
    504: "the pictures were not judged in time",
}
NO_TOKEN = {  # where the answer itself is not JSON
    401: {
        "description": REFUSALS[401].capitalize(),
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
}
RELOADS = {
    403: {"model": Error, "description": "The service has no token"},
    409: {"model": Error, "description": "The models cannot be opened; the former ones stay"},
}
BINARY = {"schema": {"type": "string", "format": "binary"}}
FILES = {
    "type": "object",
    "properties": {
        "pictures": {"type": "array", "minItems": 1, "items": BINARY["schema"]},
    },
    "required": ["pictures"],
}
BODY = {
    "required": True,
    "description": "one picture, or several as the files of a form, whatever their field is called",
    "content": {
        "multipart/form-data": {"schema": FILES},
        **{f"image/{kind}": BINARY for kind in ("png", "jpeg", "bmp", "tiff", "webp")},
        "application/octet-stream": BINARY,
    },
}
ASSETS = {
    "/docs.js": ("swagger-ui-bundle.js", "text/javascript"),
    "/docs.css": ("swagger-ui.css", "text/css"),
}


def refusals(*statuses: int) -> dict:
    """For `responses` of a route."""
    return {
        status: {"model": Error, "description": REFUSALS[status].capitalize()}
        for status in statuses
    }


def describe(app: FastAPI, categories: list[str], token: bool) -> dict:
    """The OpenAPI document, with a category that exists as the example.

    With a `token`, no category is named: everyone may read the document.
    """
    found = get_openapi(
        title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes
    )
    for path in found["paths"].values():
        for operation in path.values():
            _complete(operation, categories, token)
    if token:
        schemes = found.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["token"] = {"type": "http", "scheme": "bearer"}
    return found


def _complete(operation: dict, categories: list[str], token: bool) -> None:
    for parameter in operation.get("parameters", []):
        # A parameter that may be left out is not one that may be null.
        for schema in parameter["schema"].pop("anyOf", []):
            parameter["schema"] |= schema if schema != {"type": "null"} else {}
        if parameter["name"] == "category" and not token:
            parameter["example"] = categories[0]
    if token and 401 in {int(code) for code in operation["responses"] if code.isdigit()}:
        operation["security"] = [{"token": []}]


def add_page(app: FastAPI) -> None:
    """`/docs`: Swagger UI from the package fastapi-swagger; nothing is loaded from elsewhere."""
    folder = files("fastapi_swagger") / "resources"
    for path, (name, kind) in ASSETS.items():
        _add_asset(app, path, (folder / name).read_bytes(), kind)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url="/docs.js",
            swagger_css_url="/docs.css",
            swagger_favicon_url="data:,",
        )


def _add_asset(app: FastAPI, path: str, content: bytes, kind: str) -> None:
    @app.get(path, include_in_schema=False)
    async def asset() -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "max-age=86400"})
