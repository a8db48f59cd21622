"""Figures and speed of exported files: `python -m benchmarks.exported --data_path D --category C
--model_dir DIR…`.

The files of each folder score the test pictures, int8 graphs with int8. Times are medians in
milliseconds per picture; the folders run alternately.
"""

from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.parts import median_ms
from common.errors import UsageError, run
from common.logs import start_logging
from common.options import Parser
from common.progress import progress
from datasets import mvtec
from datasets.loader import Loader
from datasets.transforms import Preprocessing
from evaluation.figures import measure
from evaluation.report import table
from evaluation.testing import score_all
from models.deployed import Deployed, open_deployed
from models.extractor import Engine, is_quantized
from models.options import GRAPHS


def open_folder(folder: Path) -> tuple[str, Deployed]:
    """The precision of the graph in `folder`, and the detector."""
    found = [path for suffix in GRAPHS if (path := folder / f"model{suffix}").exists()]
    if not found:
        raise UsageError(f"{folder}: no graph in it", "model_dir")
    model = found[0]
    precision = "int8" if is_quantized(model) else "fp32"
    params = None if model.suffix == ".onnx" else model.with_suffix(".pdiparams")
    engine = Engine(device="cpu", precision=precision)
    return precision, open_deployed(model, params, folder / "distribution", engine)


def main() -> None:
    parser = Parser(__doc__.partition(":")[0])
    parser.add_argument("--data_path", type=Path, required=True, help="MVTec AD's layout")
    parser.add_argument("--category", required=True, help="a category folder in it")
    parser.add_argument("--model_dir", type=Path, nargs="+", required=True, help="exported files")
    options = parser.parse_args()
    start_logging()
    category = mvtec.open_category(options.data_path, options.category)
    opened = {folder: open_folder(folder) for folder in options.model_dir}
    for folder, (precision, detector) in opened.items():
        preprocessing = Preprocessing.from_record(detector.record["preprocessing"])
        test = Loader(category.test, preprocessing, masks=True)
        size = {"size": lambda batch: len(batch.samples)}
        batches = progress(test, len(test), f"validate {folder}", **size)
        tested = score_all(detector.score, batches, lambda batch: None)
        print(f"{folder}, {precision}\n{table(measure(tested))}", flush=True)
    for batch in (1, 8, 32):
        graphs, whole = {}, {}
        for folder, (_, detector) in opened.items():
            images = np.full((batch, 3, *detector.size), 0.1, np.float32)
            graphs[folder] = partial(detector.graph, images)
            whole[folder] = partial(detector.score, images)
        for what, works in (("graph", graphs), ("score", whole)):
            taken = median_ms(works, batch, runs=32 // batch + 9)
            text = ", ".join(f"{folder} {ms:.1f}" for folder, ms in taken.items())
            print(f"{what}, batch {batch}: {text}", flush=True)


if __name__ == "__main__":
    run(main)
