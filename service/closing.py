"""Closes connections so that clients can read the last answer, and in bounded time."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

SILENT_SECONDS = 5.0  # that a client may send nothing, after it was refused while it was sending


class ClosingTransport:
    """A transport whose `close` lets the client read what was written before.

    If a socket is closed while the client sends, the system resets the connection, and the client
    can lose the answer that it has not read yet (RFC 9112, section 9.6). So `close` ends our side
    only. What still comes is dropped until the client ends its side.

    Parameters
    ----------
    transport : of asyncio; has all methods that are not here
    sending : whether the client is still sending something
    seconds : that an end may take at most; afterwards the connection is aborted
    """

    def __init__(self, transport: asyncio.Transport, sending: Callable[[], bool], seconds: float):
        self._transport, self._sending, self._seconds = transport, sending, seconds
        self._loop = asyncio.get_running_loop()
        self._closed, self.dropping = False, False
        self._end: asyncio.TimerHandle | None = None
        self._silence: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str):
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._closed or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        if not self._closed:
            self._transport.write(data)

    def close(self) -> None:
        if self.is_closing():
            return
        self._closed = True
        # Also without anything to drop: a client that reads nothing would keep its answer here.
        self._end = self._loop.call_later(self._seconds, self._transport.abort)
        if self._sending() and self._transport.can_write_eof():
            self.dropping = True
            with suppress(OSError):  # the client is gone, which asyncio will notice
                self._transport.write_eof()  # after what was written
            self._transport.resume_reading()
            self.received()
        else:
            self._transport.close()

    def received(self) -> None:
        """The client has sent something that is dropped."""
        if self._silence is not None:
            self._silence.cancel()
        self._silence = self._loop.call_later(SILENT_SECONDS, self._transport.close)

    def hurry(self, seconds: float) -> None:
        """Drop what comes for at most `seconds` more."""
        self._end.cancel()
        self._end = self._loop.call_later(seconds, self._transport.abort)

    def lost(self) -> None:
        """The connection has ended."""
        self._closed = True
        for timer in (self._end, self._silence):
            if timer is not None:
                timer.cancel()
