"""Reports defective pictures to another service, signed, without delaying any answer."""

import hashlib
import hmac
import http.client
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from queue import Empty, Full, Queue

import msgspec

from service.settings import Webhook

WAITING = 1000  # reports that may wait
SECONDS = 5.0  # for one attempt
PAUSES = 0.0, 1.0, 5.0  # seconds before each attempt

logger = logging.getLogger(__name__)


class Reporter:
    """One thread that sends reports. `count` is called with `sent`, `failed` or `dropped`."""

    def __init__(self, webhook: Webhook, count: Callable[[str], None]):
        self.webhook, self.count = webhook, count
        self._waiting: Queue[bytes] = Queue(WAITING)
        self._stopping = threading.Event()
        self._opener = urllib.request.build_opener(_NoRedirects)
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()

    def report(self, found: dict) -> None:
        """Send `found` as JSON, later; it is dropped if too many wait."""
        try:
            self._waiting.put_nowait(msgspec.json.encode(found))
        except Full:
            self.count("dropped")

    def close(self, seconds: float) -> None:
        """Send what waits, for at most `seconds`; count the rest as dropped."""
        self._stopping.set()
        self._thread.join(seconds)
        while not self._waiting.empty():
            self._waiting.get_nowait()
            self.count("dropped")

    def _run(self) -> None:
        while not (self._stopping.is_set() and self._waiting.empty()):
            try:
                body = self._waiting.get(timeout=0.2)
            except Empty:
                continue
            self.count("sent" if self._sent(body) else "failed")

    def _sent(self, body: bytes) -> bool:
        for pause in PAUSES:
            if pause and self._stopping.wait(pause):
                return False
            try:
                with self._opener.open(self._signed(body), timeout=SECONDS) as answer:
                    answer.read(1)
                    return True
            except urllib.error.HTTPError as error:
                reason, again = f"status {error.code}", error.code >= 500 or error.code == 429
                error.close()
            except (OSError, http.client.HTTPException) as error:
                reason, again = type(error).__name__, True
            logger.warning("a webhook report was not accepted: %s", reason)
            if not again:
                return False
        return False

    def _signed(self, body: bytes) -> urllib.request.Request:
        now = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "X-Timestamp": now,
            "X-Signature": f"sha256={signature(self.webhook.secret, now, body)}",
        }
        return urllib.request.Request(self.webhook.url, body, headers, method="POST")


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 in hexadecimal digits of `<timestamp>.<body>`, so that neither can be changed."""
    return hmac.new(secret, timestamp.encode("ascii") + b"." + body, hashlib.sha256).hexdigest()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The address is the one that was given at the start, and no other."""

    def redirect_request(self, *_):
        return None
