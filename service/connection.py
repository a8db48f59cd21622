"""HTTP connections with limits on their number, on the length of heads and on waiting."""

import json
import logging

from uvicorn.protocols.http.h11_impl import H11Protocol

from service.guard import LONGEST_HEAD
from service.metrics import Metrics
from service.refusals import RETRY_SECONDS

logger = logging.getLogger(__name__)


def connections(most: int, seconds: float, metrics: Metrics) -> type[H11Protocol]:
    """The protocol class for uvicorn.

    most : open connections; what comes beyond is answered with 503
    seconds : that a connection may take to send a head, or the rest of a request that was refused
    """

    class Connection(H11Protocol):
        _given_up = None

        def connection_made(self, transport):
            super().connection_made(transport)
            if len(self.connections) > most:
                metrics.answered("other", "other", 503)
                transport.write(_raw(503, "Service Unavailable", "too many connections"))
                transport.close()
                return
            self._watch()

        def data_received(self, data):
            super().data_received(data)
            self._watch()

        def eof_received(self):
            """Answer also a client that has closed its side after a whole request."""
            cycle = self.cycle
            if cycle is None or cycle.response_complete or cycle.more_body:
                return False
            cycle.keep_alive = False
            return True

        def connection_lost(self, exc):
            self._unwatch()
            super().connection_lost(exc)

        def send_400_response(self, msg):
            """Answer what is not HTTP, in the form of all refusals."""
            metrics.answered("other", "other", 400)
            logger.info("%s malformed request 400", self.client[0] if self.client else "-")
            text = f"not a valid HTTP request, or a head longer than {LONGEST_HEAD} bytes"
            self.transport.write(_raw(400, "Bad Request", text))
            self.transport.close()

        def _watch(self):
            """While no request is under way, what the client sends has a limit of time."""
            if self.cycle is not None and not self.cycle.response_complete:
                self._unwatch()
            elif self._given_up is None:
                self._given_up = self.loop.call_later(seconds, self.transport.close)

        def _unwatch(self):
            if self._given_up is not None:
                self._given_up.cancel()
                self._given_up = None

    return Connection


def _raw(status: int, phrase: str, text: str) -> bytes:
    body = json.dumps({"error": text})
    lines = (
        f"HTTP/1.1 {status} {phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *([f"Retry-After: {RETRY_SECONDS}"] if status == 503 else []),
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode("ascii")
