"""Ends the sessions of visitors who have left, and a server that does not stop.

Streamlit itself forgets a session only when the next visitor comes, and a connection that does not
close keeps a server that was told to stop.
"""

import logging
import os
import threading
import time
from collections.abc import Callable

import streamlit as st
from streamlit import runtime
from streamlit.runtime import RuntimeState
from streamlit.runtime.scriptrunner import get_script_run_ctx

logger = logging.getLogger(__name__)

EVERY = 1.0  # seconds between looks
MORE = 1.0  # seconds after which Streamlit, too, has given up that a visitor comes back
STOP = 10.0  # seconds that a server has to stop


class Watch:
    """Closes what was registered for a session, once its browser has been away for `seconds`.

    Ends the process when `is_stopping` has been true for STOP seconds.
    """

    def __init__(
        self, seconds: float, is_active: Callable[[str], bool], is_stopping: Callable[[], bool]
    ):
        self.seconds, self.is_active, self.is_stopping = seconds, is_active, is_stopping
        self._lock, self._stopping = threading.Lock(), None
        self._seen: dict[str, tuple[object, float]] = {}
        threading.Thread(target=self._look, name="sessions", daemon=True).start()

    def register(self, name: str, session) -> None:
        """`session.close()` is called after the end of the session `name`."""
        with self._lock:
            self._seen[name] = session, time.monotonic()

    def _look(self) -> None:
        while True:
            time.sleep(EVERY)
            with self._lock:
                seen = dict(self._seen)
            if self.is_stopping():
                self._stop([session for session, _ in seen.values()])
            for name, (session, last) in seen.items():
                now = time.monotonic()
                if self.is_active(name):
                    self.register(name, session)
                elif now - last > self.seconds + MORE:
                    with self._lock:
                        del self._seen[name]
                    session.close()

    def _stop(self, sessions: list) -> None:
        """End the process if it has had its time to stop."""
        self._stopping = self._stopping or time.monotonic()
        if time.monotonic() - self._stopping > STOP:
            logger.warning("the server did not stop within %.0f s and is ended", STOP)
            for session in sessions:
                session.close()
            os._exit(0)


@st.cache_resource
def _watch() -> Watch:
    seconds, instance = st.get_option("server.disconnectedSessionTTL"), runtime.get_instance()
    ending = RuntimeState.STOPPING, RuntimeState.STOPPED
    return Watch(seconds, instance.is_active_session, lambda: instance.state in ending)


def close_at_the_end(session) -> None:
    """Let `session.close()` be called after the end of the present session."""
    if runtime.exists():
        _watch().register(get_script_run_ctx().session_id, session)
