"""One judged picture: outline, heat map, regions."""

import io
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

from datasets.transforms import read_picture
from evaluation import canvas
from evaluation.heat import OPACITY, overlay
from evaluation.pictures import OUTLINE
from page.learning import Model, Tested, with_range
from page.limits import MOST_PIXELS
from page.session import current, t

QUALITY = 92  # of JPEG
HEAT_SIDE = 900  # pixels of the longer side of the heat map shown
PER_PIXEL = 500  # the outline is one pixel thick for so many pixels of the longer side


def detail(model: Model, index: int) -> None:
    """The section for the picture `index` of the model's, with buttons to its neighbours."""
    session, last = current(), len(model.tested) - 1
    row = st.container(horizontal=True)
    if row.button(t("back"), key="back"):
        session.opened = None
        st.rerun()
    for name, step, ends in (("previous", -1, 0), ("next", 1, last)):
        if row.button(t(name), key=name, disabled=index == ends):
            session.opened = index + step
            st.rerun()
    show_one(model.tested[index], key="one")


def show_one(one: Tested, key: str) -> None:
    """Verdict, outline, heat map and regions of a judged picture."""
    _headline(one)
    outline, crop = _drawn(one)
    left, right = st.columns(2)
    with left:
        st.image(outline, caption=t("outline"), width="stretch")
        name = f"{Path(one.name).stem}_outline.png"
        # The file is made when the button is pressed.
        st.download_button(
            t("save_outline"), lambda: _png(one), name, "image/png", key=f"{key}_save"
        )
    with right:
        _heat(one, crop, key)
    _regions(one)


def _drawn(one: Tested) -> tuple[bytes, Image.Image]:
    """The outline at full resolution as JPEG, and the crop under the heat map.

    Those of the last picture are kept: the sliders make the page again, but not these.
    """
    found = one.judgement
    known = one.sample.path, found.score, found.rule
    kept = st.session_state.get("drawn")
    if kept is None or kept[0] != known:
        picture = np.asarray(read_picture(one.sample.path, MOST_PIXELS))
        box = tuple(map(round, found.transform.preprocessing.box(found.size)))
        crop = Image.fromarray(picture).crop(box)
        crop.thumbnail((HEAT_SIDE, HEAT_SIDE))
        file = io.BytesIO()
        Image.fromarray(outlined(picture, found.mask)).save(file, "JPEG", quality=QUALITY)
        kept = st.session_state["drawn"] = known, (file.getvalue(), crop)
    return kept[1]


def _headline(one: Tested) -> None:
    found = one.judgement
    color = {"good": "blue", "defective": "red"}.get(found.verdict, "gray")
    kind = f"{one.sample.kind}/" if one.labelled else ""
    st.subheader(_plain(f"{kind}{one.name}"), anchor=False)
    parts = [f":{color}-badge[{t(f'verdict_{found.verdict}')}]", f"{t('score')} {found.score:.4g}"]
    if found.threshold is not None:
        parts.append(f"{t('threshold')} {found.threshold:.4g}")
    if found.p_value is not None:
        parts.append(f"{t('p_value')} {found.p_value:.2g}")
    if found.normalised is not None:
        parts.append(f"{t('normalised')} {found.normalised:.3f}")
    st.markdown(" · ".join(parts))


def _heat(one: Tested, crop: Image.Image, key: str) -> None:
    found, scale = one.judgement, one.judgement.scale
    place = st.empty()
    opacity = st.slider(t("opacity"), 0.0, 1.0, OPACITY[1], 0.05, key=f"{key}_opacity")
    highest = max(float(found.map.max()), scale.high) * 1.1
    low, high = st.slider(
        t("colors"), 0.0, highest, (max(scale.low, 0.0), scale.high), key=f"{key}_colors"
    )
    values = canvas.resized_map(found.map, *crop.size)
    shown = overlay(np.asarray(crop), values, with_range(scale, low, high), opacity / OPACITY[1])
    place.image(shown, caption=t("heat_caption"), width="stretch")


def _regions(one: Tested) -> None:
    regions = one.judgement.regions
    if not regions:
        st.caption(t("no_regions"))
        return
    st.markdown(f"**{t('regions')}**")
    names = t("left_top"), t("size"), t("area"), t("peak")
    rows = []
    for region in regions[:20]:
        left, top, right, bottom = region.box
        values = f"{left}, {top}", f"{right - left} × {bottom - top}"
        rows.append(
            dict(zip(names, (*values, f"{region.area}", f"{region.peak:.4g}"), strict=True))
        )
    st.table(rows)


def outlined(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture uint8 [H,W,3] with a line around `mask`, bool [H,W], of its own resolution."""
    if not mask.any():
        return picture
    from scipy import ndimage

    thick = max(1, round(max(mask.shape) / PER_PIXEL))
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    part = tuple(slice(max(0, r[0] - thick), r[-1] + 1 + thick) for r in (rows, columns))
    border = ndimage.binary_dilation(mask[part], iterations=thick) & ~mask[part]
    drawn = picture.copy()
    drawn[part][border] = OUTLINE
    return drawn


def _png(one: Tested) -> bytes:
    file, picture = io.BytesIO(), np.asarray(read_picture(one.sample.path, MOST_PIXELS))
    image = Image.fromarray(outlined(picture, one.judgement.mask))
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _plain(text: str) -> str:
    """`text` without the characters that Markdown gives a meaning."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+-.!|<>~:$" else c for c in text)
