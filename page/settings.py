"""Widgets for the method, the network, the false-alarm rate, and all other settings."""

import dataclasses
from typing import Any

import streamlit as st

from common.calibration import FPR
from models.backbones.catalogue import BACKBONES, DEFAULT, PATCH_SIZES, REDUCTIONS
from models.methods import DEFAULT_METHOD, METHODS
from page.choice import Choice
from page.session import t

RATES = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
WEIGHTS = ("auto", "embedded")


def percent(rate: float) -> str:
    return f"{100 * rate:g} %"


def choose() -> tuple[Choice, float]:
    """Show the widgets; what they say, and the false-alarm rate."""
    usual = Choice()
    left, middle, right = st.columns(3)
    method = left.selectbox(
        t("method"),
        list(METHODS),
        list(METHODS).index(DEFAULT_METHOD),
        key="method",
    )
    backbone = middle.selectbox(
        t("backbone"), BACKBONES, BACKBONES.index(DEFAULT), help=t("backbone_help"), key="backbone"
    )
    fpr = right.selectbox(
        t("fpr"), RATES, RATES.index(FPR), format_func=percent, help=t("fpr_help"), key="first_fpr"
    )
    with st.expander(t("advanced")):
        st.caption(t("advanced_help"))
        settings = _settings(method)
        more = _sizes(usual) | _features() | _rest(usual)
    return Choice(method, backbone, settings, **more), fpr


def _settings(method: str) -> dict[str, Any]:
    """Of the method; those that the visitor did not change are left out."""
    found, columns = {}, st.columns(3)
    for i, setting in enumerate(dataclasses.fields(METHODS[method].settings)):
        about, key = setting.metadata, f"set_{method}_{setting.name}"
        with columns[i % 3]:
            if about["choices"]:
                choices = list(about["choices"])
                first = choices.index(setting.default)
                value = st.selectbox(setting.name, choices, first, help=about["help"], key=key)
            elif about["kind"] is bool:
                value = st.toggle(setting.name, setting.default, help=about["help"], key=key)
            else:
                value = _number(setting.name, setting.default, about["kind"], about["help"], key)
        if value is not None and value != setting.default:
            found[setting.name] = value
    return found


def _number(name: str, default, kind: type, help: str, key: str):
    """A field for a number, empty for the default; its limits are those of the settings' class."""
    shown = t("default") if default is None else f"{default:g}"
    how = {"step": 1} if kind is int else {"format": "%g", "step": 0.01}
    return st.number_input(name, value=None, placeholder=shown, help=help, key=key, **how)


def _sizes(usual: Choice) -> dict[str, Any]:
    columns, size = st.columns(3), {"key": "set_img_size", "help": t("img_size_help")}
    return {
        "resize": columns[0].text_input(
            "resize", usual.resize, help=t("resize_help"), key="set_resize"
        ),
        "img_size": columns[1].text_input("img_size", usual.img_size, **size),
        "layers": columns[2].text_input("layers", "", placeholder=t("default"), key="set_layers"),
    }


def _features() -> dict[str, Any]:
    """Numbers and choices that are empty for the default."""
    columns, empty = st.columns(4), {"placeholder": t("default")}
    found = {}
    for column, name, least in ((0, "dims", 1), (2, "seed", 0)):
        found[name] = columns[column].number_input(
            name, least, value=None, step=1, key=f"set_{name}", **empty
        )
    for column, name, known in ((1, "reduction", REDUCTIONS), (3, "patch_size", PATCH_SIZES)):
        found[name] = columns[column].selectbox(name, known, None, key=f"set_{name}", **empty)
    return found


def _rest(usual: Choice) -> dict[str, Any]:
    columns = st.columns(3)
    area = {"help": t("min_area_help"), "key": "set_min_area"}
    return {
        "pretrained_backbone": columns[0].selectbox(
            "pretrained_backbone", WEIGHTS, help=t("weights_help"), key="set_weights"
        ),
        "batch_size": columns[1].number_input(
            "batch_size", 1, 256, usual.batch_size, key="set_batch_size"
        ),
        "min_area": columns[2].number_input("min_area", 0, 10**6, usual.min_area, **area),
    }
