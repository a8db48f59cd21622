"""Keeps the text of exceptions away from the page."""

import functools
import logging
from collections.abc import Callable

import streamlit as st

from common.errors import UsageError, WorkError
from page.session import current

logger = logging.getLogger(__name__)


def guarded(show: Callable) -> Callable:
    """`show`, whose errors become one sentence on the page; unexpected ones are logged."""

    @functools.wraps(show)
    def shown(*arguments, **settings):
        try:
            return show(*arguments, **settings)
        except Exception as error:
            if not isinstance(error, UsageError | WorkError):
                logger.exception("unexpected error")
            st.error(current().plain(error))

    return shown
