"""The section with files to take away: the model, its exported form, the report, the pictures."""

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import streamlit as st
from PIL import Image

from common.names import target_names
from evaluation.html import write_html
from evaluation.report import write_figures, write_scores
from evaluation.scale import scale_for
from evaluation.testing import ScoredPicture
from page.learning import Model, Tested
from page.session import current, t

MIME = "application/octet-stream"


def downloads() -> None:
    """Show the section."""
    session = current()
    model = session.model
    makers = {"model": _model, "export": _export}
    if model.tested:
        makers |= {"pictures": _pictures}
    if model.figures is not None:
        makers |= {"report": _report}
    for kind, make in makers.items():
        with st.container(border=True):
            st.markdown(f"**{t(f'file_{kind}')}**")
            st.caption(t(f"file_{kind}_help"))
            _offer(kind, make)
    if model.tested and model.figures is None:
        st.caption(t("report_needs"))


def _offer(kind: str, make: Callable[[Model, Path], Path]) -> None:
    """A button that makes the file, and then one that downloads it."""
    session = current()
    path = session.prepared.get(kind)
    if path is not None:
        size = f"{path.stat().st_size / 1e6:.1f} MB"
        st.download_button(
            t("download", name=path.name, size=size),
            path.read_bytes(),
            path.name,
            MIME,
            type="primary",
            key=f"download_{kind}",
            on_click="ignore",
        )
        return
    if st.button(t("prepare"), key=f"prepare_{kind}"):
        folder = session.root / "files" / kind
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        model = session.model

        def keep(path: Path) -> None:
            session.prepared[kind] = path

        session.start(t("preparing"), lambda: make(model, folder), keep)
        st.rerun()


def _model(model: Model, folder: Path) -> Path:
    path = folder / f"{model.inspector.record.category}.pdparams"
    model.inspector.save(path)
    return path


def _export(model: Model, folder: Path) -> Path:
    model.inspector.export(folder)
    return _packed(folder, f"{model.inspector.record.category}_exported.zip")


def _pictures(model: Model, folder: Path) -> Path:
    """Sheets, masks in the size of the original pictures, and the table of verdicts."""
    scored = _sheets(model, folder, model.tested)
    write_scores(folder / "scores.csv", scored, model.inspector.rule)
    (folder / "masks").mkdir()
    names = target_names([Path(f"{one.kind}_{one.path.name}") for one in scored], ".png")
    for one, name in zip(model.tested, names, strict=True):
        Image.fromarray(one.judgement.mask).save(folder / "masks" / name)
    return _packed(folder, f"{model.inspector.record.category}_pictures.zip")


def _report(model: Model, folder: Path) -> Path:
    """What train.py and val.py write: report.html and the files that it is made of."""
    from tasks.audit import write_audit

    record, rule = model.inspector.record, model.inspector.rule
    scored = _sheets(model, folder, [one for one in model.tested if one.labelled])
    more = {
        "seconds": {"fit": None, "picture": 0.0, **model.seconds},
        "skipped": len(model.skipped),
        "model": {"path": f"{record.category}.pdparams", **record.summary()},
    }
    write_figures(folder, record.category, scored, model.figures, rule, more)
    if model.audited:
        rows = [replace(row, source=Path(Path(row.source).name)) for row in model.audited]
        write_audit(rows, folder)
    write_html(folder)
    return _packed(folder, f"{record.category}_report.zip")


def _sheets(model: Model, folder: Path, tested: list[Tested]) -> list[ScoredPicture]:
    """Draw a sheet of each picture; the pictures, each with a path of its own."""
    from tasks.sheets import draw_sheets

    inspector = model.inspector
    found = [one.scored() for one in tested]
    numbers = {}  # of pictures with this path
    for i, one in enumerate(found):
        numbers[one.path] = number = numbers.get(one.path, 0) + 1
        if number > 1:
            found[i] = replace(one, path=one.path.with_stem(f"{one.path.stem}_{number}"))
    sources = {one.path: picture.sample.path for one, picture in zip(found, tested, strict=True)}
    pictures = {path: inspector.transform.picture(source) for path, source in sources.items()}
    scale = scale_for(inspector.rule, inspector.record.unit)
    draw_sheets(pictures, found, scale, folder / "pictures")
    return found


def _packed(folder: Path, name: str) -> Path:
    """A ZIP archive of the files in `folder`, beside them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    target = folder / name
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in files:
            archive.write(path, path.relative_to(folder))
    return target
