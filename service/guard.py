"""What happens to every request before and after its route: token, log, metrics, errors."""

import asyncio
import hmac
import logging
import time

import msgspec

from common.errors import shortened
from service.metrics import Metrics
from service.refusals import RefusedRequestError

OPEN = {"/healthz", "/readyz", "/openapi.json", "/docs", "/docs.js", "/docs.css"}
LONGEST_HEAD = 2**14  # bytes of request line and headers
INTERNAL = "internal error; the log of the service has the details"

logger = logging.getLogger(__name__)


class Guard:
    """ASGI application around `app`.

    token : that requests must bear, except those for OPEN
    draining : the service stops: connections are closed after their next answer
    unanswered : requests that the end of the grace time cut off
    """

    def __init__(self, app, token: bytes | None, metrics: Metrics):
        self.app, self.token, self.metrics = app, token, metrics
        self.draining, self.unanswered = False, 0

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})["draining"] = self.draining
        start, answered = time.perf_counter(), _Answered(send, self)
        try:
            await self._answer(scope, receive, answered)
        except asyncio.CancelledError:
            self.unanswered += 1
            raise
        finally:
            self._log(scope, answered.status, time.perf_counter() - start)

    async def _answer(self, scope, receive, answered: "_Answered") -> None:
        try:
            _require_short(scope)
            self._require_token(scope)
            await self.app(scope, receive, answered)
        except RefusedRequestError as error:
            await answered.refuse(error)
        except Exception:  # a defect: the client learns that, and nothing more
            logger.exception("a request failed")
            if answered.status is None:
                await answered.refuse(RefusedRequestError(500, INTERNAL))

    def _require_token(self, scope) -> None:
        if self.token is None or scope["path"] in OPEN:
            return
        given = dict(scope["headers"]).get(b"authorization", b"")
        kind, _, token = given.partition(b" ")
        # Compared in any case, so that the time tells nothing.
        if not hmac.compare_digest(token.strip(), self.token) or kind.lower() != b"bearer":
            raise RefusedRequestError(
                401,
                "expected the header Authorization: Bearer with the token of this service",
                {"WWW-Authenticate": "Bearer"},
            )

    def _log(self, scope, status: int | None, seconds: float) -> None:
        route, method = scope.get("route"), scope["method"]
        path = getattr(route, "path", "other")
        self.metrics.answered(path, method, status or 0)
        client = scope["client"][0] if scope["client"] else "-"
        names = (shortened(method, 20), shortened(scope["path"], 200))
        notes = scope.get("state", {}).get("notes", "")
        logger.info("%s %s %s %s %.0f ms%s", client, *names, status or "-", seconds * 1000, notes)


def _require_short(scope) -> None:
    """h11's own limit does not hold for a head that arrives as a whole."""
    length = len(scope["raw_path"]) + len(scope["query_string"])
    if length + sum(len(key) + len(value) for key, value in scope["headers"]) > LONGEST_HEAD:
        text = f"the head of the request has more than {LONGEST_HEAD} bytes"
        raise RefusedRequestError(431, text, close=True)


class _Answered:
    """`send` of a request; remembers the status, and adds headers."""

    def __init__(self, send, guard: Guard):
        self._send, self._guard, self.status = send, guard, None

    async def __call__(self, message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", []), (b"x-content-type-options", b"nosniff")]
            if self._guard.draining:
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        await self._send(message)

    async def refuse(self, error: RefusedRequestError) -> None:
        body = msgspec.json.encode({"error": error.text})
        headers = {"Content-Type": "application/json", "Content-Length": len(body), **error.headers}
        encoded = [(k.lower().encode(), str(v).encode("latin-1")) for k, v in headers.items()]
        await self({"type": "http.response.start", "status": error.status, "headers": encoded})
        await self({"type": "http.response.body", "body": body})
