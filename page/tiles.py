"""A grid of pictures that can be clicked, with a button below each: a component of the page."""

import base64
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Tile:
    """
    id : what a click gives
    picture : a JPEG file
    name, note : texts below the picture
    mark, tone : a short text on the picture, and its colour: good, defective or plain
    action : text of the button; none if it is empty
    dim : whether the tile looks disabled
    """

    id: int
    picture: bytes
    name: str
    note: str = ""
    mark: str = ""
    tone: str = "plain"
    action: str = ""
    dim: bool = False

    def data(self) -> dict:
        uri = f"data:image/jpeg;base64,{base64.b64encode(self.picture).decode()}"
        return {**vars(self), "picture": uri}


def tiles(shown: list[Tile], key: str) -> int | None:
    """Show the tiles; the id of the one that was just clicked, or None."""
    # Their texts are set as text by the script, never as HTML.
    found = _component()(
        key=key, data=[tile.data() for tile in shown], on_clicked_change=lambda: None
    )
    return found.clicked


def source(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


@st.cache_resource
def _component():
    return st.components.v2.component("tiles", css=source("tiles.css"), js=source("tiles.js"))
