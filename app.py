"""A page to try the methods on: `make app`, or `streamlit run app.py -- --data_root data`."""

import sys

import streamlit as st

from common.logs import start_logging
from page.guard import guarded
from page.main import show
from page.options import parse


@st.cache_resource
def prepare() -> None:
    """What the process does once."""
    start_logging()


prepare()
guarded(show)(parse(tuple(sys.argv[1:])))
