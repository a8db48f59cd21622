"""HTTP connections with limits on their number, on the length of heads and on waiting."""

import json
import logging

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.closing import ClosingTransport
from service.guard import LONGEST_HEAD
from service.metrics import Metrics
from service.refusals import RETRY_SECONDS

STOP_SECONDS = 2.0  # that a stop waits for clients that were refused and still send
TOO_LONG = f"not a valid HTTP request, or a head longer than {LONGEST_HEAD} bytes"

logger = logging.getLogger(__name__)


def connections(most: int, seconds: float, metrics: Metrics) -> type[H11Protocol]:
    """The protocol class for uvicorn.

    most : open connections; what comes beyond is answered with 503
    seconds : that a connection may take to send a head, or the rest of a request that was refused,
        or to receive an answer
    """

    class Connection(H11Protocol):
        _given_up = None  # the timer of what the client sends
        _unread = None  # the timer of an answer that the client does not read
        _ended = False  # the client has closed its side
        _refused = False

        def connection_made(self, transport):
            super().connection_made(ClosingTransport(transport, self._sending, seconds))
            if len(self.connections) > 2 * most:
                metrics.answered("other", "other", 503)
                transport.abort()
            elif len(self.connections) > most:
                self._refuse(503, "Service Unavailable", "too many connections")
            else:
                self._watch()

        def data_received(self, data):
            if self.transport.dropping:
                self.transport.received()
                return
            super().data_received(data)
            self._watch()

        def eof_received(self):
            """Answer also a client that has closed its side, but not in the middle of a request."""
            self._ended = True
            if self.cycle is None or self.cycle.response_complete:
                if self._has_part_of_a_head():
                    self._refuse(400, "Bad Request", "the head of the request is incomplete")
                return False
            if self.cycle.more_body:
                self._refuse(400, "Bad Request", "the body ended too early")
                return False
            self.cycle.keep_alive = False
            return True

        def connection_lost(self, exc):
            self.transport.lost()
            self._unwatch()
            self.resume_writing()
            super().connection_lost(exc)

        def pause_writing(self):
            super().pause_writing()
            self._unread = self.loop.call_later(seconds, self.transport.abort)

        def resume_writing(self):
            super().resume_writing()
            if self._unread is not None:
                self._unread.cancel()
                self._unread = None

        def send_400_response(self, msg):
            """Answer what is not HTTP, in the form of all refusals."""
            self._refuse(400, "Bad Request", TOO_LONG)

        def shutdown(self):
            if self.transport.dropping:
                self.transport.hurry(STOP_SECONDS)
            else:
                super().shutdown()

        def _refuse(self, status, phrase, text):
            """Answer without the application, and close."""
            self._refused = True
            under_way = self.cycle is not None and not self.cycle.response_complete
            if not under_way:  # else the application counts and logs it
                metrics.answered("other", "other", status)
                client = self.client[0] if self.client else "-"
                logger.info("%s refused: %s %d", client, text, status)
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # nothing answered yet
                self.transport.write(_raw(status, phrase, text))
            self.transport.close()
            if under_way:
                self.cycle.disconnected = True
                self.cycle.message_event.set()

        def _has_part_of_a_head(self):
            idle = self.conn.their_state is h11.IDLE and not self.transport.is_closing()
            return idle and self.conn.trailing_data[0] != b""

        def _sending(self):
            """Whether the client may still send a part of something."""
            sends = self._refused or self.conn.their_state in (h11.SEND_BODY, h11.ERROR)
            return sends and not self._ended

        def _watch(self):
            """While no request is under way, what the client sends has a limit of time."""
            if self.cycle is not None and not self.cycle.response_complete:
                self._unwatch()
            elif self._given_up is None:
                self._given_up = self.loop.call_later(seconds, self._give_up)

        def _give_up(self):
            if self._has_part_of_a_head():
                self._refuse(408, "Request Timeout", "the head did not arrive in time")
            self.transport.close()

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
