"""Ends the sessions of visitors who have left.

Streamlit itself forgets a session only when the next visitor comes.
"""

import threading
import time
from collections.abc import Callable

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

EVERY = 1.0  # seconds between looks
MORE = 1.0  # seconds after which Streamlit, too, has given up that a visitor comes back


class Watch:
    """Closes what was registered for a session, once its browser has been away for `seconds`."""

    def __init__(self, seconds: float, is_active: Callable[[str], bool]):
        self.seconds, self.is_active, self._lock = seconds, is_active, threading.Lock()
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
            for name, (session, last) in seen.items():
                now = time.monotonic()
                if self.is_active(name):
                    self.register(name, session)
                elif now - last > self.seconds + MORE:
                    with self._lock:
                        del self._seen[name]
                    session.close()


@st.cache_resource
def _watch() -> Watch:
    seconds = st.get_option("server.disconnectedSessionTTL")
    return Watch(seconds, runtime.get_instance().is_active_session)


def close_at_the_end(session) -> None:
    """Let `session.close()` be called after the end of the present session."""
    if runtime.exists():
        _watch().register(get_script_run_ctx().session_id, session)
