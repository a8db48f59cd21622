"""Figures on subtler defects than those of the test set: `python -m benchmarks.pasted --data_path D
--category C [model options of train.py]`.

Each defect is a rectangle of a good picture that is pasted at another place of the same picture, as
in CutPaste (Li et al. 2021, arXiv 2104.04015). The first two thirds of the training pictures are
learned; the others and the good test pictures are judged, each once as it is and once per size of
defect. The same category always gives the same pictures.
"""

from pathlib import Path

import numpy as np

from common.errors import run
from common.logs import start_logging
from common.options import Parser
from datasets import mvtec
from datasets.samples import Sample
from datasets.transforms import Transform
from evaluation.figures import measure
from evaluation.report import table
from evaluation.testing import ScoredPicture
from models.factory import build_detector
from models.options import add_model_options, engine_from
from tasks.settings import model_from

BATCH = 32
SIDES = {"small": (6, 14), "large": (18, 44)}  # pixels of the crop
VISIBLE = 12  # mean difference of grey values, of 255
TRIES = 50


def pasted(picture: np.ndarray, size: str, rng: np.random.Generator) -> tuple:
    """`picture` uint8 [H,W,3] with a defect of this size, and its mask, bool [H,W]."""
    h, w = rng.integers(*SIDES[size], 2)
    height, width = (side - length for side, length in zip(picture.shape, (h, w), strict=False))
    for _ in range(TRIES):  # where the rectangle looks like what it covers, another is tried
        (y, top), (x, left) = rng.integers(height, size=2), rng.integers(width, size=2)
        patch = picture[top : top + h, left : left + w] * rng.uniform(0.6, 1.4)
        place = slice(y, y + h), slice(x, x + w)
        if abs(patch - picture[place]).mean() > VISIBLE:
            break
    changed, mask = picture.copy(), np.zeros(picture.shape[:2], bool)
    changed[place], mask[place] = patch.clip(0, 255), True
    return changed, mask


def judged(detector, transform: Transform, pictures: list, masks: list, kind: str) -> list:
    found = []
    for start in range(0, len(pictures), BATCH):
        part = slice(start, start + BATCH)
        scores = detector.score(np.stack([transform.normalize(p) for p in pictures[part]]))
        found += [
            ScoredPicture(Path(kind), kind, kind != "good", float(score), pixels, mask)
            for score, pixels, mask in zip(scores.image, scores.map, masks[part], strict=True)
        ]
    return found


def main() -> None:
    parser = Parser(__doc__.partition(":")[0])
    parser.add_argument("--data_path", type=Path, required=True, help="MVTec AD's layout")
    parser.add_argument("--category", required=True, help="a category folder in it")
    add_model_options(parser)
    options = parser.parse_args()
    start_logging()
    category = mvtec.open_category(options.data_path, options.category)
    detector = build_detector(engine=engine_from(options), **vars(model_from(options)))
    transform = Transform(detector.record.preprocessing)

    def crops(samples: list[Sample]) -> list[np.ndarray]:
        return [transform.picture(sample.path) for sample in samples]

    learned = 2 * len(category.train) // 3
    train = [transform.normalize(crop) for crop in crops(category.train[:learned])]
    detector.fit(np.stack(train[i : i + BATCH]) for i in range(0, learned, BATCH))
    held = crops([*category.train[learned:], *(s for s in category.test if not s.defective)])
    good = judged(detector, transform, held, [np.zeros(detector.size, bool)] * len(held), "good")
    rng = np.random.default_rng(0)
    for size in SIDES:
        changed = [pasted(picture, size, rng) for picture in held]
        bad = judged(detector, transform, *map(list, zip(*changed, strict=True)), size)
        print(f"{size}\n{table(measure(good + bad))}", flush=True)


if __name__ == "__main__":
    run(main)
