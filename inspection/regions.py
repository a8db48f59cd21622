"""From an anomaly map of the crop to regions and masks of the original picture."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from evaluation.scale import CONNECTED, tops

MARGIN = 2  # pixels of the crop around a region, so that upsampling finds its border


@dataclass(frozen=True)
class Region:
    """A connected part of the mask of a defect, in the original picture.

    box : left, top, right, bottom in pixels; right and bottom are the first pixels outside
    area : number of pixels
    peak : the highest pixel score of the region
    """

    box: tuple[int, int, int, int]
    area: int
    peak: float


def original_mask(
    anomaly_map: np.ndarray,
    cut: float,
    crop: tuple[float, float, float, float],
    size: tuple[int, int],
    min_area: int = 0,
    usual: float = -np.inf,
) -> tuple[np.ndarray, list[Region]]:
    """The mask bool [H,W] of a picture, and its regions, largest first.

    Parameters
    ----------
    anomaly_map : float32 [h,w] of the crop
    cut : least pixel score of a defect
    crop : left, top, right, bottom of the crop in the picture; outside it nothing is defective
    size : (width, height) of the picture
    min_area : smaller regions, in pixels, are removed
    usual : a usual pixel score; see evaluation.scale.tops
    """
    mask = np.zeros(size[::-1], bool)
    marked = np.argwhere(anomaly_map >= cut)
    if len(marked) == 0:
        return mask, []
    left, top, right, bottom = _window(marked, anomaly_map.shape, crop, size)
    scores = _upsampled(anomaly_map, crop, (left, top, right, bottom))
    cut = min(cut, float(scores.max()))  # a peak between two pixels is higher than both
    found, regions = _regions(scores, tops(scores, cut, usual), (left, top), min_area)
    mask[top:bottom, left:right] = found
    return mask, regions


def _window(
    marked: np.ndarray, shape: tuple[int, int], crop: tuple, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The pixels of the picture that `marked` (row, column) positions of the map can reach."""
    sides = []
    for axis, (start, end) in ((1, (crop[0], crop[2])), (0, (crop[1], crop[3]))):
        scale = (end - start) / shape[axis]
        first = marked[:, axis].min() - MARGIN
        last = marked[:, axis].max() + 1 + MARGIN
        low = max(round(start), int(start + first * scale))
        high = min(round(end), int(np.ceil(start + last * scale)))
        sides.append((min(max(low, 0), size[1 - axis] - 1), min(high, size[1 - axis])))
    (left, right), (top, bottom) = sides
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _upsampled(anomaly_map: np.ndarray, crop: tuple, window: tuple) -> np.ndarray:
    """The scores of the pixels in `window` of the picture, bilinear between those of the crop."""
    left, top, right, bottom = window
    height, width = anomaly_map.shape
    x_scale, y_scale = width / (crop[2] - crop[0]), height / (crop[3] - crop[1])
    # Pillow maps the middle of each pixel; a pixel half inside the crop must not fall outside it.
    affine = (x_scale, 0, (left - crop[0]) * x_scale, 0, y_scale, (top - crop[1]) * y_scale)
    padded = np.pad(np.asarray(anomaly_map, np.float32), 1, mode="edge")
    affine = (affine[0], 0, affine[2] + 1, 0, affine[4], affine[5] + 1)
    image = Image.fromarray(padded)
    size = right - left, bottom - top
    found = image.transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    return np.asarray(found)


def _regions(
    scores: np.ndarray, mask: np.ndarray, corner: tuple[int, int], min_area: int
) -> tuple[np.ndarray, list[Region]]:
    """`mask` without small regions, and its regions; `corner`: left, top of the window."""
    from scipy import ndimage

    labels, count = ndimage.label(mask, CONNECTED)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    regions, removed = [], [0]
    for i, place in enumerate(ndimage.find_objects(labels)):
        if areas[i] < min_area:
            removed.append(i + 1)
            continue
        rows, columns = place
        box = (columns.start + corner[0], rows.start + corner[1])
        box += (columns.stop + corner[0], rows.stop + corner[1])
        peak = float(scores[place][labels[place] == i + 1].max())
        regions.append(Region(tuple(map(int, box)), int(areas[i]), peak))
    regions.sort(key=lambda region: -region.area)
    return ~np.isin(labels, removed), regions
