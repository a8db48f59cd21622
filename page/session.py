"""What the page knows of one visitor. It ends, with the visitor's files, when the session does."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import streamlit as st

from common.errors import UsageError, WorkError, printable, shortened
from page.ends import close_at_the_end
from page.learning import Model
from page.texts import LANGUAGES, text
from page.work import CancelledError, Work

MOST_MESSAGE = 300  # characters


@dataclass
class Session:
    """
    folder : of what the visitor uploaded; deleted with this object
    work : what runs at present, `then` takes its outcome
    excluded : training pictures to leave out of the next fit
    shapes : drawn region of interest, see page.region
    opened : index of the test picture that is shown alone, or None
    section : to show next, or None for the one that the visitor chose
    prepared : files to download, by their kind
    """

    folder: tempfile.TemporaryDirectory = field(
        default_factory=lambda: tempfile.TemporaryDirectory(prefix="visitor-")
    )
    model: Model | None = None
    work: Work | None = None
    then: Callable | None = None
    message: str = ""
    excluded: set[Path] = field(default_factory=set)
    shapes: list = field(default_factory=list)
    opened: int | None = None
    section: str | None = None
    prepared: dict[str, Path] = field(default_factory=dict)
    closed: bool = False

    def close(self) -> None:
        """Delete what the visitor uploaded, cancel work, and forget the model."""
        self.closed, self.model = True, None
        if self.work is not None:
            self.work.cancel()
        self.folder.cleanup()

    @property
    def root(self) -> Path:
        return Path(self.folder.name)

    def start(self, name: str, task: Callable, then: Callable) -> None:
        """Let `task()` run in a thread, and give `then` what it returns."""
        self.message, self.work, self.then = "", Work(name, task), then

    def finish(self) -> None:
        """Take the outcome of work that has ended."""
        if self.work is None or not self.work.status.ended.is_set():
            return
        status, then = self.work.status, self.then
        self.work = self.then = None
        if status.error is None:
            then(status.outcome)
        else:
            self.message = self.plain(status.error)

    def take(self, model: Model) -> None:
        """Show this model."""
        self.model, self.excluded = model, set(model.excluded)
        self.opened, self.prepared = None, {}
        self.section = "results" if model.tested else ("audit" if model.audited else "camera")

    def plain(self, error: Exception) -> str:
        """One sentence about `error` for the page, without folders of the server."""
        if isinstance(error, CancelledError):
            return t("cancelled")
        if not isinstance(error, UsageError | WorkError):
            return t("unexpected")
        setting = getattr(error, "setting", None)
        return self.hidden(error if setting is None else f"{setting}: {error}")

    def hidden(self, message: object) -> str:
        """A message of the library for the page: one line, without folders of the session."""
        return shortened(printable(message).replace(f"{self.root}/", ""), MOST_MESSAGE)


def current() -> Session:
    """The session of the visitor whose page is being made."""
    found = st.session_state.get("visitor")
    if found is None or found.closed:
        st.session_state["visitor"] = Session()
        close_at_the_end(st.session_state["visitor"])
    return st.session_state["visitor"]


def language() -> str:
    """The language that the visitor chose; before that, the browser's, if the page has it."""
    chosen = st.session_state.get("language")
    if chosen in LANGUAGES:
        return chosen
    return "中文" if (st.context.locale or "").lower().startswith("zh") else "English"


def t(key: str, **values) -> str:
    """A text of the page in the visitor's language."""
    return text(key, language(), **values)
