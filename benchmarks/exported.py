"""Figures and speed of exported files: `python -m benchmarks.exported --data_path D --category C
--model_dir DIR…`.

The files of each folder score the test pictures, int8 graphs with int8, others with --precision.
Times are medians in milliseconds per picture; the folders run alternately.
"""

from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.parts import median_ms
from common.errors import run
from common.logs import start_logging
from common.options import Parser
from common.progress import progress
from datasets import mvtec
from datasets.loader import Loader
from datasets.transforms import Transform
from evaluation.figures import measure
from evaluation.report import table
from evaluation.testing import score_all
from models import checkpoint
from models.checkpoint import DISTRIBUTION
from models.deployed import ExportedFiles, open_exported
from models.detector import Detector
from models.engine import Engine


def open_folder(folder: Path, other: str) -> tuple[str, Detector]:
    """The precision of the graph in `folder` (int8, or `other`), and the detector."""
    files = ExportedFiles.within(folder)
    record = checkpoint.load_record(files.distribution, DISTRIBUTION)
    precision = "int8" if any(graph.int8 for graph in record.exported.graphs) else other
    return precision, open_exported(files, Engine(device="cpu", precision=precision), batch_size=32)


def main() -> None:
    parser = Parser(__doc__.partition(":")[0])
    parser.add_argument("--data_path", type=Path, required=True, help="MVTec AD's layout")
    parser.add_argument("--category", required=True, help="a category folder in it")
    parser.add_argument("--model_dir", type=Path, nargs="+", required=True, help="exported files")
    help = "of graphs that are not int8 (default: %(default)s)"
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help=help)
    options = parser.parse_args()
    start_logging()
    category = mvtec.open_category(options.data_path, options.category)
    opened = {folder: open_folder(folder, options.precision) for folder in options.model_dir}
    for folder, (precision, detector) in opened.items():
        test = Loader(category.test, Transform(detector.record.preprocessing), masks=True)
        size = {"size": lambda batch: len(batch.samples)}
        batches = progress(test, len(test), f"validate {folder}", **size)
        tested = score_all(detector.score, batches, lambda batch: None)
        print(f"{folder}, {precision}\n{table(measure(tested))}", flush=True)
    for batch in (1, 8, 32):
        graphs, whole = {}, {}
        for folder, (_, detector) in opened.items():
            images = np.full((batch, 3, *detector.size), 0.1, np.float32)
            graphs[folder] = partial(detector.features.predictor, images)
            whole[folder] = partial(detector.score, images)
        for what, works in (("graph", graphs), ("score", whole)):
            taken = median_ms(works, batch, runs=32 // batch + 9)
            text = ", ".join(f"{folder} {ms:.1f}" for folder, ms in taken.items())
            print(f"{what}, batch {batch}: {text}", flush=True)


if __name__ == "__main__":
    run(main)
