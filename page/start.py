"""The section in which a visitor chooses pictures and a model, and starts learning."""

from collections.abc import Callable, Iterator

import streamlit as st

from common.calibration import FPR
from datasets.samples import Category
from page.choice import Choice
from page.data import DEMO, demo_category, demo_picture, folder_category, folders_below
from page.learning import Model, learn, opened, require
from page.limits import (
    LEAST_TRAIN,
    MOST_FILE,
    MOST_PICTURE,
    MOST_PIXELS,
    MOST_TEST,
    MOST_TOTAL,
    MOST_TRAIN,
)
from page.options import Options
from page.region import draw_region
from page.session import current, t
from page.settings import choose
from page.shapes import rasterized
from page.uploads import Upload, category_of

MEGA = 2**20
PICTURES = ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "zip"]


def start(options: Options) -> None:
    """Show the section."""
    kinds = ["demo", "upload", *(["folder"] if options.data_root else []), "model"]
    kind = st.segmented_control(
        t("source"),
        kinds,
        format_func=lambda name: t(f"source_{name}"),
        default="demo",
        required=True,
        key="source",
    )
    if kind == "model":
        _trained()
        return
    open_category, first = {"demo": _demo, "upload": _uploaded, "folder": _folder}[kind](options)
    choice, fpr = choose()
    _region(first, choice)
    if st.button(t("learn"), type="primary", disabled=open_category is None, key="learn"):
        begin(open_category, choice, fpr)


def begin(
    open_category: Callable[[], Category], choice: Choice, fpr: float = FPR, name: str = ""
) -> None:
    """Start to learn; the page shows the model when it is ready."""
    session = current()
    choice.arguments()  # an error appears beside what was chosen
    roi = rasterized(session.shapes, choice.preprocessing.crop)

    def task() -> Model:
        return learn(open_category(), choice, roi, fpr=fpr)

    session.start(name or t("learning"), task, session.take)
    st.rerun()


def again() -> None:
    """Learn again, without the pictures that the visitor left out."""
    session, model = current(), current().model
    excluded, rule = frozenset(session.excluded), model.inspector.rule

    def task() -> Model:
        return learn(model.category, model.choice, model.roi, excluded, rule.fpr or FPR)

    session.start(t("learning"), task, session.take)
    st.rerun()


def _demo(options: Options) -> tuple[Callable, Callable]:
    name = st.radio(
        t("demo"), DEMO, format_func=lambda name: t(f"demo_{name}"), horizontal=True, key="demo"
    )
    return lambda: demo_category(name, options.demo_path), lambda: demo_picture(name)


def _folder(options: Options) -> tuple[Callable | None, Callable | None]:
    found = folders_below(options.data_root)
    if not found:
        st.info(t("folder_none"))
        return None, None
    place = found[st.selectbox(t("folder"), list(found), key="folder")]
    category = folder_category(place, MOST_TRAIN, MOST_TEST)
    st.caption(t("counts", train=len(category.train), test=len(category.test)))
    return lambda: category, (lambda: category.train[0].path) if category.train else None


def _uploaded(options: Options) -> tuple[Callable | None, Callable | None]:
    limits = {"train": MOST_TRAIN, "test": MOST_TEST, "least": LEAST_TRAIN}
    limits |= {"picture": MOST_PICTURE // MEGA, "zip": MOST_FILE // MEGA}
    limits |= {"total": MOST_TOTAL // MEGA, "pixels": MOST_PIXELS // 10**6}
    st.caption(t("upload_help", **limits))
    left, right = st.columns(2)
    good = left.file_uploader(t("upload_train"), PICTURES, True, key="good")
    test = right.file_uploader(t("upload_test"), PICTURES, True, key="test")
    category = stored(good, test) if good else st.session_state.get("uploaded")
    if category is None:
        return None, None
    st.session_state["uploaded"] = category  # its fields are empty when the section comes back
    st.caption(t("counts", train=len(category.train), test=len(category.test)))
    require(category)
    return lambda: category, lambda: category.train[0].path


def _trained() -> None:
    session = current()
    st.caption(t("model_help"))
    left, right = st.columns(2)
    model = left.file_uploader(t("upload_model"), ["pdparams"], key="model")
    test = right.file_uploader(t("upload_test"), PICTURES, True, key="model_test")
    if st.button(t("open_model"), type="primary", disabled=model is None, key="open"):
        path = session.root / "model" / "best.pdparams"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(model.getvalue())
        category = stored([], test)
        session.start(t("judging"), lambda: opened(path, category), session.take)
        st.rerun()


def stored(train: list, test: list, name: str = "upload") -> Category:
    """The category of uploaded files, written once in a folder of the session."""
    session = current()
    files = tuple(file.file_id for file in (*train, *test))
    kept = st.session_state.setdefault("stored", {})
    if kept.get(name, (None,))[0] != (files, len(train)):
        category = category_of(_read(train), _read(test), session.root / name)
        kept[name] = (files, len(train)), category
    return kept[name][1]


def _read(files: list) -> Iterator[Upload]:
    return (Upload(file.name, file.getvalue()) for file in files)


def _region(first: Callable | None, choice: Choice) -> None:
    if first is not None and st.toggle(t("roi"), key="roi"):
        draw_region(first(), choice.preprocessing)
